"""Publishing over HTTP to real servers, from real clients, and with faults of each."""

import asyncio
import json
import re
import subprocess
import time

import pytest

from apps.publishing import TOKENS
from servers.processes import TESTS, command
from servers.proxies import KINDS, Site, ask
from servers.sse import get
from sse_edge import Publisher

PAGE = (TESTS.parent / "docs" / "PUBLISHING.md").read_text()
TOKEN = TOKENS.issue(["*"], name="tests")
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
HI = json.dumps({"channel": "news", "data": "hi"}).encode()


def snippet(language):
    """The page's code in this language."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return code


async def post(url, body=HI, **options):
    """One request to publish; its answer, and what that says."""
    answer = await get(f"{url}/publish", method="POST", **{"headers": HEADERS, "body": body} | options)
    return answer, json.loads(answer.body)


async def talk(server, *parts, timeout=10):
    """Send the parts of raw requests, each as soon as the one before was taken; all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for part in parts:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await part(reader)
        async with asyncio.timeout(timeout):
            return await reader.read()
    finally:
        writer.close()


def head(*lines, version="1.1", close=True):
    """The head of a request to publish."""
    end = ["Connection: close"] if close else []
    given = [f"{name}: {value}" for name, value in HEADERS.items()]
    return "\r\n".join(
        [f"POST /publish HTTP/{version}", "Host: localhost", *given, *lines, *end, "", ""]
    ).encode()


async def answered(reader):
    """The body of the next answer on a connection."""
    whole = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(re.search(rb"content-length: (\d+)", whole)[1]))


# ---- Clients


@pytest.mark.parametrize(
    ("language", "run"),
    [("sh", ["sh", "-c"]), ("js", ["node", "--input-type=module", "--eval"])],
    ids=["curl", "node"],
)
async def test_what_the_page_says(serve_app, redis_url, language, run):
    """The lines on the page do it, as they stand there."""
    server = serve_app("apps.publishing:edge", env={"BACKEND": redis_url})
    code = snippet(language).replace("https://app.example.com", server.url)
    assert server.url in code
    env = {"TOKEN": TOKEN, "PATH": command("curl").removesuffix("/curl") + ":/usr/bin:/bin"}
    arguments = [command(run[0]), *run[1:], code]
    done = await asyncio.to_thread(
        subprocess.run, arguments, env=env, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr.count("rror")) == (0, 0), done.stderr
    async with Publisher(redis_url) as events:
        (event,) = await events.recent("order:123", 5)
    expected = {"sh": ("status", "<b>Shipped</b>"), "js": ("message", '{"state":"shipped"}')}[language]
    assert (event.event, event.data) == expected
    if language == "sh":
        assert json.loads(done.stdout) == {"id": event.id}


async def test_curl_fails_with_what_is_wrong(serve_app):
    """A script sees that it failed, and why."""
    server = serve_app("apps.publishing:edge")
    code = snippet("sh").replace("https://app.example.com", server.url)
    run = [command("sh"), "-c", code]
    done = await asyncio.to_thread(
        subprocess.run, run, env={"TOKEN": "x", "PATH": "/usr/bin:/bin"}, capture_output=True
    )
    assert done.returncode == 22
    assert json.loads(done.stdout)["error"] == "unauthenticated"


@pytest.mark.parametrize(
    ("server", "options"),
    [
        ("uvicorn", ["--http", "httptools"]),
        ("uvicorn", ["--http", "h11"]),
        ("hypercorn", []),
        ("granian", []),
    ],
    ids=["uvicorn httptools", "uvicorn h11", "hypercorn", "granian"],
)
async def test_servers(serve_app, server, options):
    """Each server brings a body in its own pieces, and each gets the answer to one that is too large."""
    server = serve_app("apps.publishing:edge", server=server, options=options)
    answer, told = await post(server.url)
    assert (answer.status, list(told)) == (200, ["id"])
    events = [{"channel": f"order:{n}", "data": "x" * 1500} for n in range(500)]
    answer, told = await post(server.url, json.dumps(events).encode())
    assert (answer.status, len(told["ids"])) == (200, 500)
    for body, headers, status in (
        (b"x" * 1_100_000, HEADERS, 413),
        (HI, {**HEADERS, "Authorization": "Bearer x"}, 401),
        (b"x" * 200_000, {**HEADERS, "Content-Type": "text/plain"}, 415),
        (b"{", HEADERS, 400),
    ):
        answer, told = await post(server.url, body, headers=headers)
        assert (answer.status, answer.header("content-type")) == (status, "application/json")
    assert "Traceback" not in server.log


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_what_http_allows(serve_app, redis_url, http):
    """Chunks, HTTP/1.0, 100-continue, several requests on one connection: each is one publish."""
    env = {"BACKEND": redis_url}
    server = serve_app("apps.publishing:edge", env=env, options=["--http", http])
    length = f"Content-Length: {len(HI)}"

    async def is_told_to_go_on(reader):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (HI[:7], HI[7:])]
    said = [
        await talk(server, head("Transfer-Encoding: chunked"), *chunks, b"0\r\n\r\n"),
        await talk(server, head(length, version="1.0"), HI),
        await talk(server, head(length, "Expect: 100-continue"), is_told_to_go_on, HI),
        await talk(
            server,
            head(length, close=False),
            HI,
            answered,
            head("Content-Length: 1", close=False),
            b"{",
            answered,
            head(length) + HI,
        ),
    ]
    for each in said:
        assert re.match(rb"HTTP/1\.[01] 200 ", each), each
    async with Publisher(redis_url) as events:
        assert len(await events.recent("news", 10)) == 5


async def test_nobody_is_told_to_go_on_who_may_not(serve_app):
    """Whoever asks before it sends a body is refused before it sends it."""
    server = serve_app("apps.publishing:edge")
    asked = head("Content-Length: 1000000", "Expect: 100-continue").replace(TOKEN.encode(), b"x")
    assert (await talk(server, asked)).startswith(b"HTTP/1.1 401 ")
    too_large = head("Content-Length: 2000000", "Expect: 100-continue")
    assert (await talk(server, too_large)).startswith(b"HTTP/1.1 413 ")


async def test_a_byte_at_a_time(serve_app):
    """A body that trickles is not waited for for ever, and others are served meanwhile."""
    server = serve_app("apps.publishing:edge", env={"BODY_TIME": "1"})
    slow = [asyncio.open_connection("127.0.0.1", server.port) for _ in range(50)]
    connections = await asyncio.gather(*slow)
    began = time.monotonic()
    for _, writer in connections:
        writer.write(head("Content-Length: 100000") + b"{")

    async def trickle():
        while True:
            for _, writer in connections:
                writer.write(b" ")
            await asyncio.sleep(0.1)

    trickling = asyncio.create_task(trickle())
    try:
        assert (await post(server.url))[0].status == 200
        assert time.monotonic() - began < 1
        async with asyncio.timeout(20):
            said = await asyncio.gather(*(reader.read() for reader, _ in connections))
    finally:
        trickling.cancel()
        for _, writer in connections:
            writer.close()
    assert {each.partition(b"\r\n")[0] for each in said} == {b"HTTP/1.1 408 Request Timeout"}
    assert time.monotonic() - began < 15


async def test_clients_that_leave_in_mid_body(serve_app, redis_url):
    """Nothing of what they began is published, and nothing is logged as a failure."""
    server = serve_app("apps.publishing:edge", env={"BACKEND": redis_url})
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head(f"Content-Length: {len(HI) + 1}") + HI)
        await writer.drain()
        writer.transport.abort()
    assert (await post(server.url, HI.replace(b"hi", b"after")))[0].status == 200
    async with Publisher(redis_url) as events:
        assert [event.data for event in await events.recent("news", 10)] == ["after"]
    assert "Traceback" not in server.log


# ---- Faults


async def test_redis_is_down(serve_app, private_redis):
    """A 503 comes at once and says that nothing is out; when Redis is back publishing goes on."""
    redis = private_redis(appendonly=True)
    server = serve_app("apps.publishing:edge", env={"BACKEND": redis.url, "RATE": "10000/minute"})
    assert (await post(server.url))[0].status == 200
    redis.kill()
    for _ in range(3):
        began = time.monotonic()
        answer, told = await post(server.url)
        assert (answer.status, answer.header("retry-after"), told["published"]) == (503, "5", [])
        assert told["error"] == "backend-down"
        assert time.monotonic() - began < 5
    assert told["may_have_happened"] is False
    redis.start()
    async with asyncio.timeout(20):
        while (await post(server.url))[0].status != 200:
            await asyncio.sleep(0.05)


async def test_redis_hangs(serve_app, private_redis):
    """Nobody waits for longer than the backend's timeout, twice; what was sent may be out."""
    redis = private_redis()
    server = serve_app("apps.publishing:edge", env={"BACKEND": redis.url, "RATE": "10000/minute"})
    key = json.dumps({"channel": "news", "data": "hi", "dedupe_key": "k1"}).encode()
    assert (await post(server.url))[0].status == 200
    redis.pause()
    try:
        answers = await asyncio.gather(*(post(server.url, key, timeout=30) for _ in range(10)))
    finally:
        redis.resume()
    assert {answer.status for answer, _ in answers} == {503}
    assert {type(told["may_have_happened"]) for _, told in answers} == {bool}
    ids = {(await post(server.url, key))[1]["id"] for _ in range(3)}
    assert len(ids) == 1
    async with Publisher(redis.url) as events:
        assert len(await events.recent("news", 10)) == 2


async def test_redis_is_full(serve_app, private_redis):
    """What Redis does not take is refused with what it means for the caller; why is for the log."""
    redis = private_redis()
    server = serve_app("apps.publishing:edge", env={"BACKEND": redis.url})
    assert (await post(server.url))[0].status == 200
    redis.cli("CONFIG", "SET", "maxmemory", "1")
    answer, told = await post(server.url)
    assert (answer.status, told["may_have_happened"], told["published"]) == (503, False, [])
    assert b"OOM" not in answer.body
    assert "OOM" in server.log
    redis.cli("CONFIG", "SET", "maxmemory", "0")
    assert (await post(server.url))[0].status == 200


async def test_a_thousand_at_once(serve_app, redis_url):
    """A thousand requests on a hundred connections are a thousand events, each with an id of its own."""
    server = serve_app("apps.publishing:edge", env={"BACKEND": redis_url, "RATE": "10000/minute"})

    async def ten(first):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        told = []
        for n in range(first, first + 10):
            body = json.dumps({"channel": f"order:{n % 10}", "data": str(n)}).encode()
            writer.write(head(f"Content-Length: {len(body)}", close=False) + body)
            told.append(json.loads(await answered(reader)))
        writer.close()
        return told

    told = await asyncio.gather(*(ten(10 * n) for n in range(100)))
    assert len({each["id"] for some in told for each in some}) == 1000
    async with Publisher(redis_url) as events:
        kept = [event for n in range(10) for event in await events.recent(f"order:{n}", 1000)]
    assert {event.data for event in kept} == {str(n) for n in range(1000)}


async def test_a_rate_over_all_workers(serve_app, redis_url):
    """A token's rate is one, however many workers there are, and none of it is in Redis."""
    env = {"BACKEND": redis_url, "RATE": "10/minute"}
    servers = [serve_app("apps.publishing:edge", env=env) for _ in range(2)]
    statuses = [(await post(servers[n % 2].url))[0].status for n in range(14)]
    assert sorted(statuses) == [200] * 10 + [429] * 4
    async with Publisher(redis_url) as events:
        assert len(await events.recent("news", 100)) == 10


# ---- Proxies


def closed_to_the_outside(text, file, language):
    """A proxy's file with the page's lines where the page's sentence has them, which is one place."""
    (line,) = re.findall(rf"^In (?:the )?{re.escape(file)} above the line `(.+)`:$", PAGE, re.MULTILINE)
    places = [at for at, each in enumerate(text.split("\n")) if each.strip() == line]
    assert len(places) == 1, (line, places)
    lines = text.split("\n")
    return "\n".join([*lines[: places[0]], snippet(language), *lines[places[0] :]])


@pytest.mark.parametrize(
    ("kind", "file", "language"), [("nginx", "nginx.conf", "nginx"), ("caddy", "Caddyfile", "caddyfile")]
)
async def test_closed_to_the_outside(serve, serve_app, certificate, tmp_path, kind, file, language):
    """Through the shipped files one publishes from outside, unless the page's lines are in them."""
    app = serve_app("apps.publishing:edge", env={"TRUSTED": "127.0.0.1/32"})
    sites = []
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        proxy = KINDS[kind](tmp_path / name, certificate, [f"127.0.0.1:{app.port}"], {})
        if name == "closed":
            proxy.config.write_text(closed_to_the_outside(proxy.config.read_text(), file, language))
        proxy.start(serve)
        sites.append(Site(proxy, [app]))
    opened, closed = sites
    options = {"method": "POST", "headers": {**HEADERS, "Host": "localhost"}, "body": HI}
    bare = {"method": "POST", "headers": {"Host": "localhost"}}  # as the page looks whether it is closed
    assert [(await ask(site, "/publish", **bare)).status for site in sites] == [401, 404]
    answer = await ask(opened, "/publish", **options)
    assert (answer.status, list(json.loads(answer.body))) == (200, ["id"])
    wrong = await ask(
        opened, "/publish", **options | {"headers": {**options["headers"], "Authorization": "Bearer x"}}
    )
    assert wrong.status == 401
    for path in (
        "/publish",
        "/publish?x",
        "/%70ublish",
        "//publish",
        "/publish%3F",
        "/x/../publish",
        "/./publish",
        "/PUBLISH",
    ):
        answer = await ask(closed, path, **options)
        assert b'"id"' not in answer.body, path
        assert answer.status in (400, 404) or b"<title>page" in answer.body, path
    assert (await ask(closed, "/")).status == 200
    assert (await post(app.url))[0].status == 200
