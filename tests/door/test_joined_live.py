"""Several URLs on one response, on real servers and through nginx over HTTP/1.1 and HTTP/2."""

import asyncio
import contextlib
import subprocess

import pytest
from test_live import SERVERS, until

from apps.edge import AUTH
from parts.strands import also, heard, strands
from servers.processes import command
from sse_edge import Publisher

pytestmark = pytest.mark.live

COOKIES = {"session": AUTH.issue("u42", ["order:*"])}
TARGET = f"/events/me?{also('/events/orders/7', '/events/orders/8', '/nowhere')}"


async def says(body, number, text):
    """Wait until a strand says so; ``body()`` is what came so far."""
    async with asyncio.timeout(15):
        while text not in strands(body()).get(number, b""):
            await asyncio.sleep(0.01)


async def plays(body, redis_url):
    """Three strands that are live, of which one is ended, and one that is refused."""
    for number in range(3):
        await says(body, number, b"\nid: ")
    await says(body, 3, b'"status": 400')
    async with Publisher(redis_url) as publisher:
        ids = [await publisher.publish(channel, channel) for channel in ("news", "order:7", "order:8")]
        for number, channel in enumerate(("news", "order:7", "order:8")):
            await says(body, number, b"data: " + channel.encode())
            assert heard(body(), number) == [("message", channel, ids[number])]
        await publisher.disconnect(channel="order:7")
        await says(body, 1, b"edge-close")
        await publisher.publish("order:8", "goes on")
        await says(body, 2, b"goes on")


@pytest.mark.parametrize("server", SERVERS)
async def test_on_every_server(serve_app, connect, redis_url, server):
    """Each strand has its own, one that ends leaves the others, and all are gone with their client."""
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url}, **server)
    client = await connect(f"{process.url}{TARGET}", cookies=COOKIES)
    await plays(lambda: bytes(client.raw), redis_url)
    assert not client.over
    await until(process, streams=2)
    client.close()
    assert (await until(process, streams=0))["endings"] == {"revoked": 1, "client-gone": 2}
    assert "Traceback" not in process.log
    assert "ERROR" not in process.log


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_through_nginx(behind, redis_url, version):
    """Nothing is held back, in either version of HTTP."""
    site = behind("nginx", apps=1)
    run = [command("curl"), "-sNk", version, "-w", "%{http_version}", "-b", f"session={COOKIES['session']}"]
    curl = await asyncio.create_subprocess_exec(*run, site.url + TARGET, stdout=subprocess.PIPE)
    body = bytearray()

    async def read():
        while piece := await curl.stdout.read(65536):
            body.extend(piece)

    reading = asyncio.create_task(read())
    try:
        await plays(lambda: bytes(body), redis_url)
        async with Publisher(redis_url) as publisher:
            await publisher.disconnect(user="u42")
        async with asyncio.timeout(15):
            assert await curl.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            curl.kill()
        await curl.wait()
        await reading
    assert body.endswith({"--http1.1": b"1.1", "--http2": b"2"}[version])
