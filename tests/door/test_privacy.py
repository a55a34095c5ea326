"""What is written to logs and terminals holds no secret, cookie, token or payload, at any level."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from servers.privacy import MARK, leaks, spellings
from servers.processes import TESTS, free_port
from servers.sse import get
from sse_edge import Event, Publisher, PublishToken, RedisBackend, SignedCookie
from sse_edge.backends.base import CONTROL, Outgoing
from sse_edge.cli import main
from sse_edge.outcome import REFUSALS

SSE_EDGE = Path(sys.executable).with_name("sse-edge")
SECRET = f"secret/of the cookie-{MARK}"
PASSWORD = f"p@ss/word {MARK}"
TOKEN = f"token-{MARK}"
AUTH = SignedCookie(SECRET, secure=False)
PUBLISH = PublishToken(SECRET).issue(["news"], name="billing")
SAID = {"channel": "news", "data": f"payload over HTTP {MARK}", "dedupe_key": f"key-{MARK}"}


def payload(name):
    return f"payload {name} {MARK}"


def test_it_would_be_found():
    """In every spelling, wherever it begins; and cookies that nobody marked."""
    for text in (b"x %s y", b"%s", b"ab%sc"):
        for way in spellings(SECRET):
            assert leaks(text % way, [SECRET])
    assert leaks(f"session={AUTH.issue('u42')}; x")
    assert leaks("a log line of 2026-01-01 12:00:00 [123] sse_edge.access: ended.reason.like-this") == []


def cookies(user):
    return {"session": AUTH.issue(user, session=f"session-{user}-{MARK}")}


async def ask(server, path, user=None, *, address="192.0.2.1", **options):
    """One request, with secrets wherever there can be one; its answer."""
    headers = {
        "Accept": "*/*",
        "X-Forwarded-For": address,
        "Authorization": f"Bearer {TOKEN}",
        **options.pop("headers", {}),
    }
    cookie = cookies(user) if user else {"session": f"junk-{MARK}", "other": MARK}
    return await get(server.url + path, headers=headers, cookies=cookie, **options)


async def meet_every_refusal(server, connect, redis):
    """Be refused in every way; the codes that were met."""
    codes = set()

    async def refused(path, user=None, **options):
        answer = await ask(server, path, user, **options)
        codes.add(json.loads(answer.body)["error"])

    async def opened(path, user, address):
        headers = {"X-Forwarded-For": address}
        return await connect(server.url + path, headers=headers, cookies=cookies(user))

    async with Publisher(redis.url) as events:
        last = await events.finish("room:open", payload("the end"))
        over = await ask(server, "/events/room/open", "u1", headers={"Last-Event-ID": last})
        assert (over.status, over.body) == (204, b"")
        codes.add("finished")
        await events.reopen("room:open")
    await refused("/events/me")
    await refused(f"/events/me?token={TOKEN}x&password={MARK}")
    await refused("/events/me?fail=1", "u1")
    await refused("/events/none", "u1")
    await refused("/events/broken", "u1")
    await refused("/events/page/x", "u1")
    for number in range(12):
        await refused("/events/room/broken", "u1", address=f"192.0.2.{100 + number}")
    await refused("/events/room/closed", "u1")
    await refused("/events/me", "u1", method="POST")
    await refused("/events/me", "u1", headers={"Origin": "https://evil.example"})
    await refused("/events/me", "u1", body=MARK.encode())
    for query, header in (("", MARK * 100), (f"?last_event_id={MARK * 100}", "")):
        await ask(server, f"/events/me{query}", "u1", method="HEAD", headers={"Last-Event-ID": header})
    for _ in range(35):
        await refused("/events/me", address="192.0.2.9")
    for method in ("HEAD", "OPTIONS"):
        await ask(server, f"/events/me?token={TOKEN}", method=method, address="192.0.2.2")
    first = await opened("/events/me", "u1", "192.0.2.3")
    await refused("/events/me", "u1", address="192.0.2.4")
    streams = [first, await opened("/events/room/open", "u2", "192.0.2.3")]
    await refused("/events/me", "u3", address="192.0.2.3")
    redis.kill()
    await refused("/events/me", "u3", address="192.0.2.5")
    codes.add(await post(server, SAID))
    redis.start()
    server.wait_for_log("connected to Redis again")
    streams += [
        await opened(path, user, "192.0.2.6")
        for path, user in ((f"/events/me?token={TOKEN}", "u4"), ("/events/me", "u5"))
    ]
    await refused("/events/me", "u6", address="192.0.2.7")
    return codes, streams


async def post(server, event, *, token=PUBLISH, **headers):
    """Publish over HTTP; the code of the refusal, or None."""
    body = json.dumps(event).encode() if isinstance(event, dict | str) else event
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
    path = f"/publish?token={TOKEN}"
    answer = await ask(server, path, address="192.0.2.20", method="POST", headers=headers, body=body)
    return json.loads(answer.body).get("error")


async def publish_in_every_way(server):
    """Be refused in every way, with secrets wherever there can be one; the codes that were met."""
    bad = (
        {**SAID, "event": f"{MARK}\n"},
        {**SAID, "dedupe_key": f"{MARK}\n"},
        {**SAID, MARK: payload("a field")},
        {**SAID, "data": {"card": payload("no text")}},
        {**SAID, "channel": "user:u1"},
        payload("no object"),
        b'{"channel": "news", "json": {"%b": 1, "%b": 1}}' % (MARK.encode(), MARK.encode()),
        payload("no JSON").encode(),
        payload("large").encode() * 100_000,
    )
    assert await post(server, SAID) is None
    codes = {await post(server, event) for event in bad}
    codes.add(await post(server, SAID, **{"Content-Type": "text/plain"}))
    codes.add(await post(server, SAID, Origin=f"https://{MARK}.example"))
    codes.add(await post(server, None, **{"Content-Length": "9"}))
    for token in (f"{PUBLISH}x", TOKEN, AUTH.issue("u1")):
        codes.add(await post(server, SAID, token=token))
    assert None not in codes
    return codes


async def publish_all_sorts(redis, streams):
    """Events, announcements and orders, well-formed and not; every stream hears the last event."""
    backend = RedisBackend(redis.url)
    events = Publisher(backend)
    try:
        await events.publish("news", payload("plain"))
        await events.publish("news", json={"card": payload("json")}, event="card", dedupe_key=f"key-{MARK}")
        for order in (b'data: "%s"\n\n', b"data: %s\xff\n\n", b'data: {"user": 1, "x": "%s"}\n\n'):
            await backend.publish([Outgoing(CONTROL, order % MARK.encode())])
        client = redis.client()
        plain = {"data": payload("reserved"), "event": f"edge-{MARK}"}
        for message in (
            json.dumps(plain),
            json.dumps({"payload": MARK}),
            "{" + MARK,
            f"seal 1-1 -\ndata: {MARK}\n\n",
            f"seal {MARK} -\ndata: x\n\n",
            MARK.encode() + b"\xff",
            json.dumps({"data": payload("large") * 50_000}),
        ):
            client.publish("sse:news", message)
        await events.disconnect(session=f"session-u5-{MARK}")
        await events.revoke(f"session-u2-{MARK}")
        for stream in (streams[1], streams[3]):
            await stream.until(lambda event: event.event == "edge-close")
        await events.publish("news", Event(payload("last"), event="last"))
        for stream in (streams[0], streams[2]):
            await stream.until(lambda event: event.event == "last")
    finally:
        await backend.close()


def serve_edge(serve, serve_app, server, redis):
    """The app in one of the servers, at the lowest level that it has."""
    env = {"BACKEND": redis.url, "SECRET": SECRET, "TOKEN": TOKEN}
    if server == "uvicorn":
        # Its own access log has the whole request line; docs/SETTINGS.md says to switch it off.
        options = ["--log-level", "debug", "--no-access-log", "--no-proxy-headers"]
        return serve_app("apps.private:edge", env=env, options=options)
    port = free_port()
    command = [SSE_EDGE, "serve", "apps.private:edge", "--app-dir", TESTS, "--port", port]
    process = serve([*command, "--log-level", "debug"], port=port, env=env)
    process.url = f"http://127.0.0.1:{port}"
    return process


@pytest.mark.parametrize("server", ["sse-edge serve", "uvicorn"])
async def test_a_server_that_meets_everything(serve, serve_app, connect, private_redis, server):
    """Every refusal, failing callbacks, Redis away, malformed messages, orders, a drain: nothing is said
    but who, where and why."""
    redis = private_redis(password=PASSWORD, appendonly=True)
    process = serve_edge(serve, serve_app, server, redis)
    codes = await publish_in_every_way(process)
    more, streams = await meet_every_refusal(process, connect, redis)
    codes |= more
    await publish_all_sorts(redis, streams)
    for probe in ("live", "ready", "metrics"):
        await get(f"{process.url}/status/{probe}?token={TOKEN}")
    await ask(process, f"/page?token={TOKEN}")
    await get(process.url + "/drain")
    answer = await ask(process, "/events/me", "u7", address="192.0.2.8")
    codes.add(json.loads(answer.body)["error"])
    assert codes == {refusal.code for refusal in REFUSALS}
    assert process.terminate() in (0, -signal.SIGTERM)  # uvicorn dies of it when it has finished
    log = process.log
    for expected in (
        "refused: connect-rate (",
        "refused: connect-rate, ",  # and those that had no line
        "user=u1 address=192.0.2.4",
        "refused: media-type",
        "user=billing address=192.0.2.20",
        "auth is broken",
        "authorize is broken",
        "channels is broken",
        "authorize failed, 7 more times in",
        "a malformed order to all workers was dropped: UnicodeDecodeError",
        "a malformed message was dropped",
        "no connection to Redis",
        "ended: revoked",
        "ended: drain",
    ):
        assert expected in log, log
    assert leaks(log, [SECRET, PASSWORD, TOKEN]) == []
    assert "/status/" not in log


def run(*arguments):
    """A command; all that it writes."""
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


NOBODY = f"redis://u:{quote(PASSWORD, safe='')}@127.0.0.1:1/0"
URLS = {
    "nobody there": NOBODY,
    "not encoded": f"redis://:{PASSWORD}@127.0.0.1:1/0",
    "in the query": f"redis://127.0.0.1:1/0?password={quote(PASSWORD, safe='')}",
    "for sentinels": f"redis+sentinel://127.0.0.1:1/s?sentinel_password={quote(PASSWORD, safe='')}",
    "no port": f"redis://:{quote(PASSWORD, safe='')}@h:port/0",
    "unknown option": f"redis://h/0?passwort={quote(PASSWORD, safe='')}",
    "http": f"http://:{quote(PASSWORD, safe='')}@h/0",
    "encoded": quote(NOBODY, safe=""),
    "a slash is missing": NOBODY.replace("//", "/"),
    "no scheme": NOBODY.removeprefix("redis://"),
}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_a_url_on_the_command_line(url):
    """Whatever is wrong with it, and wherever it is given, its password is not repeated."""
    said = run("publish", "news", payload("cli"), "--redis", url)
    said += run("publish", "news", "x", url, "--redis", NOBODY)
    said += run("publish", "news", "x", "--prefix", f"{url}{{", "--redis", NOBODY)
    said += run(url)
    assert "Error: " in said
    assert leaks(said, [SECRET, PASSWORD, quote(PASSWORD, safe="")]) == []


def test_commands(tmp_path):
    """What fails with a secret or an event in it says neither."""
    app = "from sse_edge import SSEMiddleware, SignedCookie\nmap = {'/events': 'a'}\n"
    auth = f"SignedCookie({SECRET!r})"
    apps = {
        "auth": f"SSEMiddleware(auth={SECRET!r}, channels=map)",
        "rotated": f"SSEMiddleware(auth=['old', {SECRET!r}], channels=map)",
        "secret": f"SignedCookie([{SECRET!r}, 5])",
        "backend": f"SSEMiddleware(backend={URLS['no port']!r}, auth={auth}, channels=map)",
        "object": f"SSEMiddleware(backend={NOBODY.encode()!r}, auth={auth}, channels=map)",
        "origin": f"SSEMiddleware(auth={auth}, channels=map, origins=[{NOBODY!r}])",
        "proxy": f"SSEMiddleware(auth={auth}, channels=map, trusted_proxies=[{NOBODY!r}])",
        "map": f"SSEMiddleware(auth={auth}, channels={{{NOBODY!r}: 'a'}})",
    }
    said = ""
    for name, text in apps.items():
        (tmp_path / f"app_{name}.py").write_text(f"{app}app = {text}\n")
        said += run("serve", f"app_{name}:app", "--app-dir", tmp_path, "--port", 0, "--log-level", "debug")
    said += run("publish", "news", f'{{"card": "{MARK}', "--json", "--redis", NOBODY)
    said += run("publish", "news", MARK * 50_000, "--redis", NOBODY)
    said += run("token", "u" * 300, "--secret", SECRET)
    said += run("token", "u42", "--secret", SECRET, "--name", "a b")
    said += run("demo", "--redis", NOBODY, "--secret", SECRET, "--port", 0)
    url = f"http://127.0.0.1:{free_port()}/events/me?token={TOKEN}"
    for options in ([], ["--json"], ["--cookie", f"session={AUTH.issue('u42')}"]):
        secret = [] if "--cookie" in options else ["--secret", SECRET]
        said += run("doctor", url, *secret, "--redis", NOBODY, *options)
    said += run("doctor", f"http://u:{MARK}@127.0.0.1:1/events/me", "--secret", SECRET)
    assert said.count("Error: ") >= len(apps) + 5
    assert leaks(said, [SECRET, PASSWORD, TOKEN]) == []


def test_a_command_as_a_process():
    """The same as in a shell, with a log level of its own and the secret in the environment."""
    env = {**os.environ, "SSE_EDGE_REDIS": NOBODY, "SSE_EDGE_SECRET": SECRET, "PYTHONASYNCIODEBUG": "1"}
    command = [SSE_EDGE, "publish", "news", payload("process"), "--dedupe-key", f"key-{MARK}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: redis://u:***@127.0.0.1:1/0: Redis: ")
    assert leaks(done.stdout + done.stderr, [SECRET, PASSWORD]) == []
