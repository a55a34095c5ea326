"""What observations mean.  Pure: no I/O, no clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

from ..backends.redis.inspection import RedisState
from .finding import Finding, found, ok, unknown
from .machine import Machine
from .wire import Answer, End, Heard, Target

SLOW = 2.0
"""Seconds until a first byte, or until an event arrives, that nobody would call at once."""

IDLE_TIMEOUTS = {
    "CloudFront": 30,
    "Google Cloud load balancer": 30,
    "event-source-polyfill": 45,
    "Heroku": 55,
    "AWS ALB": 60,
    "nginx as it comes": 60,
    "Traefik": 60,
    "Cloudflare": 120,
}
"""Seconds of silence after which each cuts a stream, as their documentation says."""

SLACK = 0.8
"""A keep-alive that comes after more than this share of a time-out will miss it some day."""

HITS = ("x-cache", "x-cache-status", "cf-cache-status", "x-proxy-cache", "cache-status")
PORTS = 28_000
BACKLOG = 4096
MIB = 1 << 20
Replies = Sequence[Answer]


def answer(  # noqa: PLR0911 - one return for each kind of answer
    seen: Answer, patience: float, *, cookie: bool, responsive: bool
) -> list[Finding]:
    """Status, type and headers of the first answer.  ``responsive``: whether a HEAD was answered at once."""
    if seen.head_at is None:
        return [_no_head(seen, patience, responsive)]
    status, kind = seen.status, seen.header("content-type")
    if status in (301, 302, 303, 307, 308):
        return [found("status", "redirected", f"status {status} to {seen.header('location') or 'nowhere'}")]
    if status == 401:
        said = "status 401" + (
            " although a cookie was sent" if cookie else ", and no --secret or --cookie given"
        )
        return [found("status", "unauthenticated", said), *_basic(seen)]
    if status in (502, 504) or (status == 503 and "json" not in kind):
        return [found("status", "app-away", f"status {status}{_by(seen)}")]
    if status in (429, 503):
        return [found("status", "refused", f"status {status}: {_short(seen.body)}")]
    if status != 200:
        return [found("status", "no-stream", f"status {status}: {_short(seen.body)}")]
    if kind.partition(";")[0].strip().lower() != "text/event-stream":
        return [found("type", "wrong-type", f"Content-Type is {kind or 'missing'}")]
    if b"event: edge-refused" in seen.body:
        return [found("status", "refused", f"no stream but {_short(seen.body)}")]
    if seen.end is End.CLEAN and b"event:" not in seen.body:
        return [found("status", "app-away", f"an empty stream{_by(seen)}, as when the app is away")]
    return [ok("status", f"200 {kind}")]


def is_stream(findings: Sequence[Finding]) -> bool:
    """Whether ``answer`` found a stream, however it comes."""
    return not any(each.fault for each in findings)


def _no_head(seen: Answer, patience: float, responsive: bool) -> Finding:
    if seen.end is not End.OPEN:
        return found(
            "status", "app-away", f"the connection was closed after {seen.end_at:.1f} s without an answer"
        )
    if responsive:
        return found("buffering", "buffered", f"HEAD is answered at once, and GET not within {patience:g} s")
    return found("status", "app-away", f"no answer within {patience:g} s")


def _basic(seen: Answer) -> list[Finding]:
    value = seen.header("www-authenticate")
    return [found("status", "www-authenticate", f"WWW-Authenticate: {value}")] if value else []


def caching(seen: Answer) -> Finding:
    """Whether a cache may keep the answer, or did."""
    for name in HITS:
        if "hit" in seen.header(name).lower():
            return found("caching", "cached", f"{name}: {seen.header(name)}")
    if seen.header("age") not in ("", "0"):
        return found("caching", "cached", f"Age: {seen.header('age')}")
    value = seen.header("cache-control")
    words = {word.strip().lower() for word in value.split(",")}
    missing = sorted({"no-store", "no-transform"} - words)
    extra = [word for word in words if word.startswith(("public", "max-age", "s-maxage"))]
    if missing or extra:
        return found("caching", "cacheable", f"Cache-Control is {value or 'missing'}")
    return ok("caching", f"Cache-Control: {value}")


def first_byte(seen: Answer, patience: float) -> Finding:
    """When headers and the greeting came."""
    if seen.head_at is None or not seen.pieces:
        head = f"headers came after {seen.head_at:.2f} s, " if seen.head_at is not None else ""
        return found("first byte", "buffered", f"{head}nothing of the stream within {patience:g} s")
    first = seen.pieces[0][0]
    if first > SLOW:
        return found("first byte", "slow-first-byte", f"after {first:.1f} s")
    return ok("first byte", f"after {1000 * first:.0f} ms")


def compression(seen: Answer) -> Finding:
    """Whether the stream is compressed."""
    if seen.coded:
        return found("compression", "compressed", f"Content-Encoding: {seen.coded}")
    return ok("compression", "gzip, by the edge itself" if seen.by_edge else "none")


def http_version(target: Target, protocol: str | None) -> Finding:
    """``protocol``: what the server chose from h2 and http/1.1."""
    if protocol == "h2":
        return ok("http version", "HTTP/2")
    if target.scheme == "http":
        return found("http version", "http1", "HTTP/1.1 without TLS (as usual in development)")
    return found("http version", "http1", "HTTP/1.1: the server does not offer h2")


def events(times: Sequence[tuple[float, float | None]]) -> Finding:
    """``times``: when each event was published, and when it was heard or None; seconds, one clock."""
    missing = sum(at is None for _, at in times)
    delays = [at - published for published, at in times if at is not None]
    if missing == len(times):
        return found("buffering", "events-missing", f"none of {len(times)} published events arrived")
    if missing:
        return found("buffering", "buffered", f"{missing} of {len(times)} published events did not arrive")
    # Late is what arrives only after the next one was published: together with it.
    late = [
        published for (published, at), (following, _) in pairwise(times) if at is not None and at > following
    ]
    if max(delays) > SLOW:
        together = ", some of them together" if late else ""
        return found("buffering", "buffered", f"published events arrived {max(delays):.1f} s late{together}")
    return ok("buffering", f"{len(times)} events, each within {1000 * max(delays):.0f} ms")


def keep_alive(seen: Answer, watched: float) -> Finding:  # noqa: PLR0911 - likewise
    """A stream to which nothing was published, watched for ``watched`` seconds."""
    times = [at for at, _ in seen.pieces]
    last = times[-1] if times else 0.0
    over = seen.end_at if seen.end is not End.OPEN else watched
    silences = [after - before for before, after in pairwise(times)]
    if seen.end is not End.OPEN:
        if b"event: edge-close" in seen.body:
            return unknown("keep-alive", f"the app itself ended the stream after {over:.1f} s")
        if over - last >= 1:
            return found(
                "keep-alive", "idle-timeout", f"the stream was cut after {over - last:.1f} s of silence"
            )
        return found(
            "keep-alive", "cut-short", f"the stream was cut after {over:.1f} s, in the midst of talk"
        )
    longest = max([*silences, over - last])
    if longest > 60:
        return found("keep-alive", "no-keep-alive", f"{longest:.0f} s of silence")
    if longest > SLACK * watched:
        return unknown("keep-alive", f"none within {watched:.0f} s; --long waits longer")
    missed = [f"{name} ({limit} s)" for name, limit in IDLE_TIMEOUTS.items() if longest > SLACK * limit]
    if missed:
        seen_text = f"up to {longest:.0f} s of silence, too long for {', '.join(missed)}"
        return found("keep-alive", "rare-keep-alive", seen_text)
    return ok("keep-alive", f"at most {longest:.1f} s of silence in {watched:.0f} s")


def retry(told: str | None) -> Finding:
    """The reconnection time that the greeting tells."""
    if told is None:
        return found("retry", "no-retry", "the stream does not say when to come back")
    if not told.isdecimal() or int(told) == 0:
        return found("retry", "no-retry", f"retry: {told}")
    return ok("retry", f"come back after {int(told) / 1000:.1f} s")


def ending(seen: Answer, blocks: Sequence[Heard]) -> Finding:
    """A stream that the app was told to end."""
    closing = next((block for block in blocks if block.event == "edge-close"), None)
    if seen.end is End.OPEN:
        what = "its goodbye came, but not its end" if closing else "it did not end"
        return found("ending", "unclean-end", f"{what} when the app was told to end it")
    if seen.end is End.CUT or closing is None:
        return found(
            "ending", "unclean-end", "cut, without the last chunk" if closing else "no goodbye before it"
        )
    if not closing.retry:
        return found("ending", "no-retry", "edge-close without retry:")
    return ok("ending", f"a goodbye, retry: {closing.retry}, and a clean end")


def foreign_origin(foreign: Answer, null: Answer) -> Finding:
    """Requests with another site's Origin, and with ``null``; each should be refused."""
    for name, reply in (("https://foreign.invalid", foreign), ("null", null)):
        if reply.status < 400:
            return found("foreign origin", "origin-accepted", f"Origin: {name} gets {reply.status}")
    return ok("foreign origin", f"refused ({foreign.status})")


def cross_site(reply: Answer) -> Finding:
    """A request without Origin that says Sec-Fetch-Site: cross-site."""
    if reply.status < 400:
        return found("cross-site", "cross-site-accepted", f"Sec-Fetch-Site: cross-site gets {reply.status}")
    return ok("cross-site", f"refused ({reply.status})")


def upgrade(reply: Answer) -> Finding:
    """A request with ``H2C``."""
    offered = reply.header("upgrade")
    if reply.status == 101:
        return found("upgrade", "upgrade-passed", "Upgrade: h2c gets 101 Switching Protocols")
    if "h2c" in offered.lower():
        return found("upgrade", "upgrade-passed", f"the answer offers Upgrade: {offered}")
    return ok("upgrade", f"Upgrade: h2c gets {reply.status}, and no tunnel")


def own_origin(reply: Answer, origin: str) -> Finding:
    """A request with the URL's own origin."""
    if reply.status == 403:
        return found("own origin", "own-origin-refused", f"Origin: {origin} gets 403")
    if reply.status != 200:
        return found("own origin", "no-stream", f"HEAD with Origin: {origin} gets {reply.status}")
    return ok("own origin", f"{origin} is known as its own")


def page_origin(reply: Answer, origin: str) -> Finding:
    """A request of a page of another origin that should be served."""
    allowed, credentials = (
        reply.header(f"access-control-allow-{name}") for name in ("origin", "credentials")
    )
    if reply.status != 200:
        return found("page origin", "page-refused", f"Origin: {origin} gets {reply.status}")
    if allowed != origin or credentials != "true":
        return found(
            "page origin", "page-refused",
            f"Access-Control-Allow-Origin: {allowed or 'missing'}, -Credentials: {credentials or 'missing'}",
        )  # fmt: skip
    return ok("page origin", f"{origin} may read")


def without_cookie(reply: Answer) -> Finding:
    """The same request without a cookie."""
    if basic := _basic(reply):
        return basic[0]
    if reply.status == 200:
        return ok("no cookie", "served: everybody may listen (Anonymous)")
    return ok("no cookie", f"refused ({reply.status})")


def cookies(replies: Replies, name: str, path: str, *, https: bool) -> Finding:
    """The attributes of the session cookie wherever it was set."""
    lines = [line for reply in replies for line in reply.all("set-cookie") if line.startswith(f"{name}=")]
    if not lines:
        return unknown("cookie", f"no answer set {name!r}; --page names a path that does, --name the cookie")
    attributes = {
        key.strip().lower(): value.strip()
        for key, _, value in (part.partition("=") for part in lines[-1].split(";")[1:])
    }
    wrong = [
        f"no {flag}"
        for flag in ("HttpOnly", *(["Secure"] if https else []))
        if flag.lower() not in attributes
    ]
    if attributes.get("samesite", "").lower() not in ("lax", "strict"):
        wrong.append(f"SameSite={attributes.get('samesite') or 'missing'}")
    covered = attributes.get("path", "/")
    if not (path == covered or path.startswith(covered.rstrip("/") + "/")):
        wrong.append(f"Path={covered} does not cover {path}")
    if wrong:
        return found("cookie", "cookie-attributes", f"{name}: {', '.join(wrong)}")
    return ok("cookie", f"{name}: HttpOnly{'; Secure' if https else ''}; SameSite={attributes['samesite']}")


def cursor(reply: Answer) -> Finding:
    """A poll with a Last-Event-ID that nobody gave out, of which the app says so if it sees it.

    By a reset of each channel; of a source's stream, and by edges of before, by a 400.
    """
    if reply.status == 400 or (reply.status == 200 and _resets(reply.body)):
        return ok("cursor", "Last-Event-ID reaches the app")
    if reply.status == 200:
        return found("cursor", "cursor-stripped", "a foreign Last-Event-ID is not answered by a reset")
    return unknown("cursor", f"a poll with a foreign Last-Event-ID gets status {reply.status}")


def _resets(body: bytes) -> bool:
    try:
        return bool(json.loads(body)["resets"])
    except (ValueError, TypeError, LookupError):
        return False


def resume(missed: Sequence[str], blocks: Sequence[Heard]) -> Finding:
    """``missed`` are the ids that a client had to be given when it came back."""
    resets = [block.data for block in blocks if block.event == "edge-reset"]
    if resets:
        return found("resume", "resume-incomplete", f"edge-reset {resets[0]}")
    ids = [block.id for block in blocks if block.data]
    if [id for id in ids if id in missed] != list(missed):
        given = sum(id in ids for id in missed)
        return found(
            "resume", "resume-incomplete", f"{given} of {len(missed)} missed events, or in another order"
        )
    return ok("resume", f"{len(missed)} missed events, in order")


def spoofing(attempts: int, refused: Answer | None, other: Answer | None) -> Finding:
    """``refused``: the 429 after ``attempts``; ``other``: the next answer, another address being claimed."""
    if refused is None or other is None:
        return unknown("spoofing", f"no limit was met in {attempts} attempts: is connects_per_ip off?")
    if "json" not in refused.header("content-type"):
        return unknown(
            "spoofing", "the proxy's own limit came before the app's; its log has the address it counts"
        )
    if other.status != 429:
        return found(
            "spoofing", "spoofable",
            f"refused after {attempts} attempts, and served ({other.status}) with another X-Forwarded-For",
        )  # fmt: skip
    return ok("spoofing", f"refused after {attempts} attempts, whatever X-Forwarded-For claims")


def down(event_source: Replies, other: Answer) -> list[Finding]:
    """What an EventSource and another client get while the app is away."""
    for reply in event_source:
        kind = reply.header("content-type").partition(";")[0]
        told = [line[6:].strip() for line in reply.body.split(b"\n") if line.startswith(b"retry:")]
        wrong = (
            (reply.status != 200 and f"status {reply.status or 'none'}")
            or (kind != "text/event-stream" and f"Content-Type {kind or 'missing'}")
            or (reply.end is not End.CLEAN and "no end")
            or ((not told or not told[-1].isdigit() or not int(told[-1])) and "no retry:")
        )
        if wrong:
            return [found("app away", "strands-browsers", f"an EventSource gets {wrong}{_by(reply)}")]
    times = {reply.body for reply in event_source}
    findings = [
        found(
            "app away",
            "herd",
            f"{len(event_source)} clients were told the same: {_short(event_source[0].body)}",
        )
        if len(times) == 1 and len(event_source) > 1
        else ok("app away", "an EventSource gets 200, a varied retry: and a clean end")
    ]
    if other.status < 500:
        findings.append(found("real status", "hides-failure", f"other clients get {other.status}"))
    else:
        findings.append(ok("real status", f"other clients get {other.status}"))
    return findings


def machine(seen: Machine, streams: int) -> list[Finding]:
    """Whether this machine has room for ``streams`` streams through the proxy."""
    findings = []
    if not seen.files:
        findings.append(unknown("open files", "the process that listens cannot be seen; try as root"))
    elif sum(seen.files) < 2 * streams:
        text = f"{sum(seen.files):,} in {_processes(seen.files)}; {streams:,} streams need {2 * streams:,}"
        findings.append(found("open files", "few-files", text))
    else:
        findings.append(ok("open files", f"{sum(seen.files):,} in {_processes(seen.files)}"))
    if seen.ports is not None:
        few = found("ports", "few-ports", f"{seen.ports:,} for outgoing connections")
        findings.append(
            few if seen.ports < PORTS else ok("ports", f"{seen.ports:,} to each address of the app")
        )
    short = [
        f"{name} {value}"
        for name, value in (("somaxconn", seen.somaxconn), ("tcp_max_syn_backlog", seen.syn_backlog))
        if value is not None and value < (BACKLOG if name == "somaxconn" else BACKLOG // 8)
    ]
    if short:
        findings.append(found("backlog", "short-backlog", ", ".join(short)))
    elif seen.somaxconn is not None:
        findings.append(ok("backlog", f"somaxconn {seen.somaxconn}"))
    return findings


def redis(state: RedisState, *, durable: bool) -> list[Finding]:
    """One Redis server.  ``durable``: whether RedisBackend(durable=True) is promised."""
    info, config = state.info, state.config
    findings = [_version(info)]
    if state.denied:
        findings.append(found("redis permissions", "redis-denied", ", ".join(state.denied)))
    elif state.denied_limits:
        findings.append(found("redis permissions", "redis-denied-limits", ", ".join(state.denied_limits)))
    else:
        findings.append(ok("redis permissions", "all that is needed"))
    for key in ("rdb_last_bgsave_status", "aof_last_write_status"):
        if info.get(key, "ok") != "ok":
            findings.append(found("redis disk", "redis-not-writing", f"{key}: {info[key]}"))
    if config is None:
        return [
            *findings,
            unknown("redis settings", "this user may not use CONFIG GET; look into redis.conf"),
        ]
    policy, most = config.get("maxmemory-policy", "noeviction"), int(config.get("maxmemory", "0"))
    if most and policy != "noeviction":
        findings.append(found("redis memory", "redis-evicts", f"{policy} at {most // MIB} MiB"))
    else:
        findings.append(ok("redis memory", f"{policy}, {f'{most // MIB} MiB' if most else 'no limit'}"))
    findings += _output_buffer(config.get("client-output-buffer-limit", ""))
    log, sync = config.get("appendonly"), config.get("appendfsync")
    kept = f"appendonly {log}, appendfsync {sync}" if log == "yes" else "appendonly no"
    if durable and (log, sync) != ("yes", "always"):
        findings.append(found("redis history", "redis-not-durable", kept))
    else:
        means = "" if durable else "; after a restart of Redis clients get edge-reset"
        findings.append(ok("redis history", kept + means))
    return findings


def _version(info: dict[str, str]) -> Finding:
    if "valkey_version" in info:
        return ok("redis version", f"Valkey {info['valkey_version']}")
    version = info.get("redis_version", "unknown")
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < 7:
        return found("redis version", "redis-old", f"Redis {version}")
    return ok("redis version", f"Redis {version}")


def _output_buffer(value: str) -> list[Finding]:
    words = value.split()
    if "pubsub" not in words:
        return []
    hard, soft, seconds = (int(word) for word in words[words.index("pubsub") + 1 :][:3])
    shown = f"pubsub {hard / MIB:g}mb {soft / MIB:g}mb {seconds}"
    if 0 < hard < 32 * MIB or 0 < soft < 8 * MIB:
        return [found("redis buffer", "redis-buffer", shown)]
    return [ok("redis buffer", shown)]


def _processes(files: Sequence[int]) -> str:
    return f"{len(files)} process{'es' if len(files) > 1 else ''}"


def _by(seen: Answer) -> str:
    return f" from {seen.header('server')}" if seen.header("server") else ""


def _short(body: bytes) -> str:
    text = " ".join(body[:200].decode(errors="replace").split())
    return text[:120] or "no body"
