"""Compressed streams between real processes: every client reads each event at once, and all of them."""

import asyncio
import json
import signal
import time

import httpx
import pytest

from apps.edge import AUTH
from servers.browser import wait_for
from servers.processes import command
from servers.sse import get
from sse_edge import Publisher
from sse_edge.delivery.compression import MANY

pytestmark = pytest.mark.live

ME = {"session": AUTH.issue("u42")}
GZIP = {"Accept-Encoding": "gzip"}
CARD = (
    '<div id="order-{0}" hx-swap-oob="true" class="card card--order"><h3 class="card__title">Order {0}</h3>'
    '<p class="card__state">packed</p><a class="button button--small" href="/orders/{0}">Open</a></div>'
)


@pytest.fixture
def edge(serve_app, redis_url):
    """``edge(**env)`` starts apps.edge with all channels compressed."""

    def start(server="uvicorn", options=(), **env):
        env = {"BACKEND": redis_url, "COMPRESS": "1", **env}
        return serve_app("apps.edge:edge", server=server, options=list(options), env=env)

    return start


async def placed(client):
    while not client.last_event_id:
        await asyncio.sleep(0.01)
        assert not client.over, client.error
    return client


SERVERS = [
    pytest.param("uvicorn", ["--http", "httptools"], {}, id="uvicorn"),
    pytest.param("uvicorn", ["--http", "h11", "--loop", "asyncio"], {}, id="uvicorn-h11-asyncio"),
    pytest.param("uvicorn", [], {"SSE_EDGE_SINK": "task"}, id="uvicorn-task"),
    pytest.param("hypercorn", [], {}, id="hypercorn"),
]


@pytest.mark.parametrize(("server", "options", "env"), SERVERS)
async def test_a_compressed_stream(edge, connect, redis_url, server, options, env):
    """Events, a burst, keep-alives and the end: all is read at once, it is one gzip file, and it is small."""
    process = edge(server, options, KEEP_ALIVE="1", MAX_DURATION="4", **env)
    client = await placed(await connect(f"{process.url}/events/me", cookies=ME, headers=GZIP))
    assert client.header("content-encoding") == "gzip"
    assert "accept-encoding" in " ".join(value.lower() for key, value in client.headers if key == "vary")
    async with Publisher(redis_url) as events:
        sent = []
        for number in range(20):
            sent.append(await events.publish("news", CARD.format(number)))
            assert (await client.next()).id == sent[-1]
        sent = await events.publish_many([("news", CARD.format(number)) for number in range(100)])
        assert [event.id for event in await client.take(100)] == sent
        assert "keep-alive" in await client.comment()
        id = await events.publish("user:u42", "for one")
        assert await client.next() == ("message", "for one", id)
        await events.publish("news", CARD.format(7))
        assert (await client.next()).data == CARD.format(7)
    assert (await client.next()).event == "edge-close"
    assert await client.ended()  # the client has checked that the file ends with it
    assert client.coded * 4 < len(client.raw)


async def test_who_takes_no_gzip_gets_none(edge, connect):
    """Without Accept-Encoding the stream is plain; caches are told that it depends."""
    process = edge()
    for headers in ({"Accept-Encoding": "identity"}, {"Accept-Encoding": "br, gzip;q=0"}):
        client = await placed(await connect(f"{process.url}/events/me", cookies=ME, headers=headers))
        assert client.header("content-encoding") is None
        assert client.raw.startswith(b": stream open\n")
        assert any(key == "vary" and "accept-encoding" in value.lower() for key, value in client.headers)


async def test_what_is_no_stream_is_plain(edge, connect):
    """Refusals are what they were, also those that are told as a stream; HEAD says what GET would."""
    process = edge(PER_USER="1")
    refused = await get(f"{process.url}/events/me", headers=GZIP)
    assert (refused.status, json.loads(refused.body)["error"]) == (401, "unauthenticated")
    head = await get(f"{process.url}/events/me", method="HEAD", cookies=ME, headers=GZIP)
    assert head.header("content-encoding") == "gzip"
    await placed(await connect(f"{process.url}/events/me", cookies=ME, headers=GZIP))
    told = await get(f"{process.url}/events/me", cookies=ME, headers=GZIP)
    assert (told.status, told.header("content-encoding")) == (200, None)
    assert b"event: edge-refused\n" in told.body


async def test_a_compressed_stream_resumes(edge, connect, redis_url):
    """What was missed, and a reset, are read from the first bytes on; then it goes on live."""
    process = edge()
    async with Publisher(redis_url) as events:
        first = await events.publish("news", CARD.format(0))
        missed = await events.publish_many([("news", CARD.format(number)) for number in range(90)])
        client = await connect(f"{process.url}/events/me", cookies=ME, headers=GZIP, last_event_id=first)
        assert [event.id for event in await client.take(90)] == missed
        id = await events.publish("news", CARD.format(91))
        assert (await client.next()).id == id
        foreign = await connect(
            f"{process.url}/events/me", cookies=ME, headers=GZIP, last_event_id="1-0.zzzz"
        )
        assert (await foreign.next()).event == "edge-reset"


async def test_hundreds_come_back_at_once(edge, connect, redis_url):
    """From the same place and from others, with gzip and without: each gets all that it missed, once and in
    order, and what is published meanwhile."""
    process = edge(options=["--http", "httptools"])
    async with Publisher(redis_url) as events:
        first = await events.publish("news", CARD.format(0))
        missed = await events.publish_many([("news", CARD.format(number)) for number in range(50)])
        places = [first] * 3 + missed[:49:7]
        opened = [
            connect(
                f"{process.url}/events/me",
                cookies=ME,
                headers=GZIP if number % 2 else {},
                last_event_id=places[number % len(places)],
            )
            for number in range(300)
        ]
        opening = asyncio.ensure_future(asyncio.gather(*opened))
        last = await events.publish("news", "meanwhile")
        for number, client in enumerate(await opening):
            after = places[number % len(places)]
            expected = [*(missed if after == first else missed[missed.index(after) + 1 :]), last]
            assert [event.id for event in await client.take(len(expected))] == expected
            assert client.header("content-encoding") == ("gzip" if number % 2 else None)


async def test_what_everybody_hears_is_one_size_for_all(edge, connect, redis_url):
    """Streams that were opened at different times read the same events, whatever each was given before."""
    process = edge(KEEP_ALIVE="1")
    clients = []
    async with Publisher(redis_url) as events:
        for number in range(12):
            clients.append(await placed(await connect(f"{process.url}/events/me", cookies=ME, headers=GZIP)))
            for _ in range(number):
                await events.publish("news", CARD.format(number))
            if number % 4 == 3:
                await clients[0].comment()
        last = await events.publish("news", "the last")
        for client in clients:
            await client.until(lambda event: event.id == last)
    expected = [event.id for event in clients[0].events]
    for client in clients:
        got = [event.id for event in client.events]
        assert got == expected[len(expected) - len(got) :]


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
async def test_through_a_proxy(behind, stream, redis_url, kind):
    """The shipped files leave it as it is, and hold nothing back."""
    site = behind(kind, env={"COMPRESS": "1"})
    client = await stream(site, headers=GZIP)
    assert client.header("content-encoding") == "gzip"
    async with Publisher(redis_url) as events:
        for number in range(10):
            id = await events.publish("news", CARD.format(number))
            assert (await client.next()).id == id
    assert client.coded < len(client.raw)


async def test_in_a_browser(edge, page, redis_url):
    """Chromium's EventSource and its fetch read each event as it comes, and come back after the end."""
    process = edge(MAX_DURATION="3", RETRY="0.2", KEEP_ALIVE="1")
    await asyncio.to_thread(page.get, process.url)
    page.add_cookie({"name": "session", "value": ME["session"]})
    page.execute_script(
        """
        window.heard = []; window.opened = 0
        window.source = new EventSource("/events/me")
        source.onopen = () => opened++
        source.onmessage = event => heard.push(event.data)
        """
    )
    await asyncio.to_thread(wait_for, page, "opened === 1")
    async with Publisher(redis_url) as events:
        began, sent = time.monotonic(), []
        while time.monotonic() < began + 5:
            sent.append(str(len(sent)))
            await events.publish("news", sent[-1])
            await asyncio.sleep(0.05)
    await asyncio.to_thread(wait_for, page, f"heard.length >= {len(sent)}")
    assert page.execute_script("return heard") == sent
    assert page.execute_script("return opened") >= 2
    encoding = page.execute_async_script(
        """
        const done = arguments[0], stop = new AbortController()
        fetch("/events/me", {signal: stop.signal}).then(async response => {
            const {value} = await response.body.getReader().read()
            done([response.headers.get("content-encoding"), new TextDecoder().decode(value)]); stop.abort()
        })
        """
    )
    assert encoding[0] == "gzip"
    assert encoding[1].startswith(": stream open")


async def lines_of(edge, connect, redis_url, *program):
    """What another program reads of events that come one by one, among streams enough that they refer back
    to each other, and of a drain; its exit.  It is given the address last."""
    process = edge()
    url = f"{process.url}/events/me"
    for _ in range(MANY):
        await placed(await connect(url, cookies=ME, headers=GZIP))
    client = await asyncio.create_subprocess_exec(
        *program, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(20), Publisher(redis_url) as events:
            while b"id: " not in await client.stdout.readline():
                pass
            for number in range(5):
                for channel, data in (("news", CARD.format(number)), ("user:u42", f"for one: {number}")):
                    await events.publish(channel, data)
                    while (line := await client.stdout.readline()).strip() != f"data: {data}".encode():
                        assert line, await client.stderr.read()
            process.signal(signal.SIGTERM)
            rest, errors = await client.communicate()
            assert b"edge-close" in rest
            return client.returncode, errors.decode()
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()


async def test_with_curl(edge, connect, redis_url):
    """curl --compressed writes each event as it comes, and is content with the end."""
    cookie = f"Cookie: session={ME['session']}"
    run = [command("curl"), "-sSN", "--compressed", "-H", cookie]
    assert await lines_of(edge, connect, redis_url, *run) == (0, "")


FETCH = """
const [cookie, url] = process.argv.slice(1)
const response = await fetch(url, {headers: {cookie}})
for await (const piece of response.body) process.stdout.write(piece)
process.exitCode = response.headers.get("content-encoding") === "gzip" ? 0 : 1
"""


async def test_with_node(edge, connect, redis_url):
    """node's fetch reads each event as it comes, and is content with the end."""
    quiet = ["--no-warnings", "--input-type=module"]  # node 18 warns of its fetch
    run = [command("node"), *quiet, "--eval", FETCH, f"session={ME['session']}"]
    assert await lines_of(edge, connect, redis_url, *run) == (0, "")


async def test_with_httpx(edge, redis_url):
    """httpx reads each event as it comes, to the end."""
    process = edge(MAX_DURATION="4")
    heard, asked = [], 0
    async with (
        Publisher(redis_url) as events,
        httpx.AsyncClient(cookies=ME, timeout=10) as client,
        client.stream("GET", f"{process.url}/events/me") as response,
    ):
        assert response.headers["content-encoding"] == "gzip"
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                heard.append(line.removeprefix("data: "))
            if line.startswith(("id: ", "data: ")) and len(heard) == asked + 1 < 6:
                await events.publish("news", str(asked))
                asked += 1
    assert heard[:6] == ["{}", "0", "1", "2", "3", "4"]  # the place where it begins
    assert json.loads(heard[-1]) == {"reason": "max-duration"}
