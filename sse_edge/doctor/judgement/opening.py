"""The first answer: whether it is a stream, how it begins, and what has handled it."""

from __future__ import annotations

from collections.abc import Sequence

from ...outcome import FORBIDDEN
from ..finding import Finding, found, ok, unknown
from ..target import Target
from ..wire import Answer, End, heard
from .delivery import SLOW
from .verdict import BUSY, is_edge, is_event_stream, is_refusal, neither, refusal

NOBODY_THERE = (
    b"No server is available",
    b"no available server",
    b"no healthy upstream",
    b"upstream connect error",
)
"""What HAProxy, Traefik and Envoy say by 503 where the app is away."""

WANTS_TLS = (
    b"plain HTTP request was sent to HTTPS port",
    b"HTTP request to an HTTPS",
    b"plain HTTP to an SSL-enabled",
)
"""What nginx, Caddy and Apache say by 400 to plain HTTP."""

HITS = ("x-cache", "x-cache-status", "cf-cache-status", "x-proxy-cache", "cache-status")


def answer(
    seen: Answer, patience: float, *, cookie: bool, responsive: bool, late: bool = False
) -> list[Finding]:
    """Status, type and headers of the first answer.  ``responsive``: whether a HEAD was answered at once;
    ``late``: whether the server's clock is so far behind that a cookie signed here is from the future.
    """
    if seen.head_at is None:
        return [_no_head(seen, patience, responsive)]
    if seen.status == 200:
        return [_stream(seen)]
    if asked := asks_password(seen):
        return asked
    if is_refusal(seen):
        return [_refusal(seen, cookie=cookie, late=late)]
    return [_by_another(seen)]


def _stream(seen: Answer) -> Finding:
    """Status 200."""
    kind = seen.header("content-type")
    if not is_event_stream(seen):
        return found("type", "wrong-type", f"Content-Type is {kind or 'missing'}")
    if b"event: edge-refused" in seen.body:
        why = next((block.data for block in heard(seen) if block.event == "edge-refused"), "")
        return found("status", "refused", f"no stream but {_said(why) or seen.excerpt}")
    if seen.end is End.CLEAN and b"event:" not in seen.body:
        return found("status", "app-away", f"an empty stream{seen.by}, as when the app is away")
    if not is_edge(seen):
        begins = seen.excerpt if seen.pieces else "nothing"
        return found("status", "not-an-edge", f"200 {kind}{seen.by}, which begins with {begins}")
    return ok("status", f"200 {kind}")


def _refusal(seen: Answer, *, cookie: bool, late: bool) -> Finding:
    """The app's own word."""
    status, detail = seen.status, _detail(seen)
    if status == 401:
        said = " although a cookie was sent" if cookie else ", and no --secret or --cookie given"
        code = "cookie-from-future" if late and cookie else "unauthenticated"
        return found("status", code, f"status 401{said}")
    if status == 403 and "Host " in detail:
        return found("status", "host-refused", f"status {status}: {detail}")
    if status == 403 and refusal(seen.body).get("error") == FORBIDDEN.code:
        return found("status", "forbidden", detail)
    if status in BUSY:
        return found("status", "refused", f"status {status}: {_said(seen.body) or seen.excerpt}")
    return found("status", "no-stream", f"status {status}: {seen.excerpt}")


def _by_another(seen: Answer) -> Finding:
    """The word of something in front, or of the app around the edge."""
    status, said = seen.status, f"status {seen.status}{seen.by}: {seen.excerpt}"
    if status in (301, 302, 303, 307, 308):
        return found("status", "redirected", f"status {status} to {seen.header('location') or 'nowhere'}")
    if status == 421:
        return found("status", "host-refused", said)
    if status in (502, 504) or (status == 503 and any(word in seen.body for word in NOBODY_THERE)):
        return found("status", "app-away", f"status {status}{seen.by}")
    if status == 400 and any(word in seen.body for word in WANTS_TLS):
        return found("status", "wants-https", said)
    if status in (401, 403, *BUSY):
        return found("status", "refused-in-front", said)
    return found("status", "fails" if status >= 500 else "no-stream", said)


def second(reply: Answer) -> Finding:
    """An answer that is no stream, where a first one was."""
    if reply.status in (401, 403, *BUSY) and not is_refusal(reply):
        return found("resume", "refused-in-front", f"a second stream gets status {reply.status}{reply.by}")
    return unknown("resume", neither(reply))


def is_stream(findings: Sequence[Finding]) -> bool:
    """Whether ``answer`` found a stream, however it comes."""
    return not any(each.fault for each in findings)


def _detail(seen: Answer) -> str:
    return str(refusal(seen.body).get("detail", ""))


def _said(body: bytes | str) -> str:
    """A refusal of the edge's, as code and sentence; "" for none."""
    why = refusal(body)
    return f"{why['error']}: {why.get('detail', '')}" if "error" in why else ""


def _no_head(seen: Answer, patience: float, responsive: bool) -> Finding:
    if seen.end is not End.OPEN:
        return found(
            "status", "app-away", f"the connection was closed after {seen.end_at:.1f} s without an answer"
        )
    if responsive:
        return found("buffering", "buffered", f"HEAD is answered at once, and GET not within {patience:g} s")
    return found("status", "app-away", f"no answer within {patience:g} s")


def asks_password(seen: Answer) -> list[Finding]:
    """Whether something in front asks for a name and a password."""
    value = seen.header("www-authenticate")
    return [found("status", "www-authenticate", f"WWW-Authenticate: {value}")] if value else []


def stream(seen: Answer, patience: float) -> list[Finding]:
    """How a stream begins."""
    return [first_byte(seen, patience), compression(seen), caching(seen)]


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
    if target.scheme == "http" and target.is_loopback:
        return ok("http version", "HTTP/1.1 without TLS, as usual on one's own machine: six tabs at most")
    if target.scheme == "http":
        return found("http version", "http1", "HTTP/1.1 without TLS")
    return found("http version", "http1", "HTTP/1.1: the server does not offer h2")
