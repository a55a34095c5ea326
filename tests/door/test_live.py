"""Real servers, real clients, real Redis: what only shows between processes."""

import asyncio
import functools
import json
import os
import shutil
import subprocess
import sys
import time

import pytest
import websockets

from apps.edge import AUTH
from servers.processes import command
from servers.sse import get
from sse_edge import Publisher, SyncPublisher

pytestmark = pytest.mark.live


@pytest.fixture
def serve_app(serve_app):
    """Here all of a server is real, its start too."""
    return functools.partial(serve_app, new=True)


ME = {"session": AUTH.issue("u42")}
ORDERS = {"session": AUTH.issue("u43", ["order:*"])}

SERVERS = [
    pytest.param({"server": "uvicorn", "options": ["--http", "httptools"]}, id="uvicorn-httptools"),
    pytest.param({"server": "uvicorn", "options": ["--http", "h11"]}, id="uvicorn-h11"),
    pytest.param({"server": "uvicorn", "options": ["--loop", "asyncio"]}, id="uvicorn-asyncio"),
    pytest.param({"server": "hypercorn"}, id="hypercorn"),
    pytest.param({"server": "granian"}, id="granian"),
]


async def figures(process):
    return json.loads((await get(f"{process.url}/figures")).body)


async def until(process, **expected):
    """Wait until a server's figures are as expected."""
    deadline = time.monotonic() + 10
    seen = {}
    while any(seen.get(key) != value for key, value in expected.items()):
        assert time.monotonic() < deadline, f"expected {expected}, and the figures are {seen}"
        await asyncio.sleep(0.02)
        seen = await figures(process)
    return seen


async def placed(client):
    """Wait until a stream has said where it is: from then on it misses nothing."""
    while not client.last_event_id:
        await asyncio.sleep(0.01)
        assert not client.over
    return client


def published_by_another_process(url, channel, data):
    """Publish from a process of its own; the event's id."""
    code = "import sys; from sse_edge import SyncPublisher as P; print(P(sys.argv[1]).publish(*sys.argv[2:]))"
    run = [sys.executable, "-W", "ignore", "-c", code, url, channel, data]
    return subprocess.run(run, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


@pytest.mark.parametrize("server", SERVERS)
async def test_stream(serve_app, connect, redis_url, server):
    """On every server: headers, an event from another process, resume, refusals, and a clean end."""
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "MAX_DURATION": "8"}, **server)
    client = await connect(f"{process.url}/events/me", cookies=ME)
    assert client.status == 200
    assert client.header("content-type") == "text/event-stream; charset=utf-8"
    assert client.header("cache-control") == "no-store, no-transform"
    assert client.header("x-accel-buffering") == "no"
    await placed(client)
    id = await asyncio.to_thread(published_by_another_process, redis_url, "news", "hello\nthere")
    assert await client.next() == ("message", "hello\nthere", id)
    assert 1500 <= client.retry <= 4500

    refused = await get(f"{process.url}/events/me")
    assert (refused.status, json.loads(refused.body)["error"]) == (401, "unauthenticated")
    assert (await get(f"{process.url}/")).body.startswith(b"<!doctype html>")
    head = await get(f"{process.url}/events/me", method="HEAD", cookies=ME)
    assert (head.status, head.body, head.header("content-type")) == (
        200,
        b"",
        "text/event-stream; charset=utf-8",
    )

    goodbye = await client.next()
    assert (goodbye.event, goodbye.data) == ("edge-close", '{"reason": "max-duration"}')
    assert await client.ended()
    with SyncPublisher(redis_url) as publisher:
        missed = publisher.publish("user:u42", "missed")
    again = await connect(f"{process.url}/events/me", cookies=ME, last_event_id=client.last_event_id)
    assert await again.next() == ("message", "missed", missed)
    assert "Traceback" not in process.log


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("server", SERVERS)
async def test_disconnect_is_noticed(serve_app, connect, server, how):
    """On every server a client that leaves, by FIN or by RST, is noticed without anything being sent."""
    process = serve_app("apps.edge:edge", **server)
    client = await connect(f"{process.url}/events/me", cookies=ME)
    stays = await placed(await connect(f"{process.url}/events/orders/1", cookies=ORDERS))
    await until(process, streams=2)
    getattr(client, how)()
    assert (await until(process, streams=1))["endings"] == {"client-gone": 1}
    assert not stays.over
    assert "Traceback" not in process.log
    assert "ERROR" not in process.log


async def test_two_workers(serve_app, connect, redis_url):
    """Streams on all workers of a server get one event each."""
    process = serve_app("apps.edge:edge", workers=2, env={"BACKEND": redis_url})
    pids, clients = set(), []
    while len(pids) < 2:
        clients.append(await placed(await connect(f"{process.url}/events/me", cookies=ME)))
        told = await figures(process)
        if told["streams"]:
            pids.add(told["pid"])
        assert len(clients) < 100
    async with Publisher(redis_url) as publisher:
        id = await publisher.publish("news", "for all")
    for client in clients:
        assert await client.next() == ("message", "for all", id)


async def test_many_streams(serve_app, connect, redis_url):
    """Two hundred streams each get every event once, in order."""
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url})
    clients = await asyncio.gather(
        *(connect(f"{process.url}/events/me", cookies=ME, timeout=30) for _ in range(200))
    )
    for client in clients:
        await placed(client)
    async with Publisher(redis_url) as publisher:
        ids = await publisher.publish_many([("news", str(n)) for n in range(5)])
    expected = [("message", str(n), id) for n, id in enumerate(ids)]
    for client in clients:
        assert await client.take(5) == expected
    assert (await until(process, streams=200))["delivered"] >= 1000
    for client in clients:
        client.abort()
    await until(process, streams=0)


async def test_pipelined_request(serve_app):
    """Where uvicorn's connection is left alone, a request behind an open stream leaks nothing in the end."""
    env = {"MAX_DURATION": "1", "KEEP_ALIVE": "0.2", "SSE_EDGE_SINK": "task"}
    process = serve_app("apps.edge:edge", env=env)
    host, port = "127.0.0.1", process.port
    request = f"GET /events/me HTTP/1.1\r\nHost: {host}\r\nCookie: session={ME['session']}\r\n\r\n".encode()
    _, leaves = await asyncio.open_connection(host, port)
    leaves.write(request * 2)
    reader, stays = await asyncio.open_connection(host, port)
    stays.write(request * 2)
    await until(process, streams=2)
    leaves.transport.abort()
    # Both responses on one connection, each ended cleanly.
    text = b""
    while text.count(b"0\r\n\r\n") < 2:
        text += await asyncio.wait_for(reader.readuntil(b"\n"), 10)
    assert text.count(b"HTTP/1.1 200 OK") == 2
    assert text.count(b'{"reason": "max-duration"}') == 2
    stays.close()
    await until(process, streams=0)
    assert "Traceback" not in process.log


# ---- Other clients


@pytest.fixture
def curl():
    """``curl(*arguments)`` starts curl, its output in a pipe; killed at the end."""
    running = []

    def start(*arguments):
        run = [command("curl"), "--silent", "--show-error", *arguments]
        running.append(subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def read_until(process, text):
    """What a process writes, up to and with ``text``."""
    seen = b""
    while text not in seen:
        line = process.stdout.readline()
        assert line, f"ended after {seen!r}"
        seen += line
    return seen


async def test_curl(serve_app, redis_server, redis_url, curl):
    """``curl -N`` with a signed cookie streams, and hears what redis-cli publishes as JSON."""
    server = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "MAX_DURATION": "4"})
    process = curl("-N", "-i", "-b", f"session={ME['session']}", f"{server.url}/events/me")
    head = await asyncio.to_thread(read_until, process, b"\nid: ")
    assert b"HTTP/1.1 200 OK" in head
    redis_server.cli("PUBLISH", "sse:news", '{"event": "status", "data": {"shipped": true}}')
    body = await asyncio.to_thread(read_until, process, b"shipped")
    assert b'event: status\ndata: {"shipped":true}\n' in body
    await asyncio.to_thread(read_until, process, b"max-duration")
    assert process.wait(10) == 0  # 18 would be a body that was cut short


async def test_curl_with_the_token_command(serve_app, redis_url, curl):
    """The cookie that ``sse-edge token`` prints opens a stream for its channels."""
    script = shutil.which("sse-edge", path=os.path.dirname(sys.executable))
    environ = {**os.environ, "SSE_EDGE_SECRET": "a secret of the tests"}
    run = [script, "token", "u7", "--channel", "order:*"]
    token = await asyncio.to_thread(subprocess.check_output, run, env=environ, text=True, timeout=30)
    server = serve_app("apps.edge:edge", env={"BACKEND": redis_url})
    process = curl("-N", "-b", f"session={token.strip()}", f"{server.url}/events/orders/5")
    await asyncio.to_thread(read_until, process, b"\nid: ")
    with SyncPublisher(redis_url) as publisher:
        publisher.publish("order:5", "for u7")
    assert b"data: for u7\n" in await asyncio.to_thread(read_until, process, b"for u7")


# ---- Frameworks


@pytest.fixture
def fastapi(serve_app, redis_url, tmp_path):
    """A wrapped FastAPI app in uvicorn, and the file that its lifespan writes at the end."""
    stopped = tmp_path / "stopped"
    env = {"BACKEND": redis_url, "STOPPED": str(stopped)}
    return serve_app("apps.frameworks:fastapi", env=env), stopped


async def test_fastapi_routes_and_lifespan(fastapi, connect):
    """A wrapped FastAPI app keeps its routes and its lifespan, start and end."""
    process, stopped = fastapi
    client = await placed(await connect(f"{process.url}/events/me", cookies=ME))
    assert json.loads((await get(f"{process.url}/started")).body) == {"started": True}
    assert not stopped.exists()
    assert await asyncio.to_thread(process.terminate, 10) in (0, -15)
    assert stopped.read_text() == "stopped in good order"
    assert await client.ended()
    assert "Traceback" not in process.log


async def test_fastapi_websockets(fastapi):
    """A wrapped FastAPI app keeps its websockets, with its lifespan's state."""
    process, _ = fastapi
    async with websockets.connect(process.url.replace("http", "ws") + "/echo", proxy=None) as socket:
        await socket.send("the answer is")
        assert await socket.recv() == "the answer is 42"


async def test_fastapi_streams(fastapi, connect, redis_url):
    """A wrapped FastAPI app has streams."""
    process, _ = fastapi
    client = await placed(await connect(f"{process.url}/events/me", cookies=ME))
    async with Publisher(redis_url) as publisher:
        await publisher.publish("user:u42", "hello")
    assert (await client.next()).data == "hello"


async def test_django(serve_app, connect, redis_url, tmp_path):
    """A wrapped Django app keeps its views, and a sync ``authorize`` may use its ORM."""
    env = {"BACKEND": redis_url, "DATABASE": str(tmp_path / "db.sqlite3")}
    process = serve_app("apps.django:app", env=env)
    assert json.loads((await get(f"{process.url}/orders")).body) == {"orders": 1}
    client = await placed(await connect(f"{process.url}/events/orders/7", cookies=ME))
    for order, cookies in [("8", ME), ("7", {"session": AUTH.issue("u43")})]:
        refused = await get(f"{process.url}/events/orders/{order}", cookies=cookies)
        assert (refused.status, json.loads(refused.body)["error"]) == (403, "forbidden")
    async with Publisher(redis_url) as publisher:
        await publisher.publish("order:7", "shipped")
    assert (await client.next()).data == "shipped"
    asked = [get(f"{process.url}/events/orders/8", cookies=ME) for _ in range(20)]
    assert {answer.status for answer in await asyncio.gather(*asked)} == {403}
    assert await asyncio.to_thread(process.terminate, 10) in (0, -15)
    assert await client.ended()
    assert "Traceback" not in process.log
