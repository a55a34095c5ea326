"""What a sink knows of bytes that have not left, and how it goes on as its client reads.

On each sink, event loop and parser; see ``sinks``.
"""

import asyncio
import socket

import pytest

from parts.sinks import END, FIRST, LARGE, chunk, dechunked, eventually, get, served

pytestmark = pytest.mark.usefixtures("uncomplaining")


# What waits
@served(kinds=["handover", "h11"])
async def test_unsent(server):
    """HandoverSink counts what has not reached the client's machine, in the server and in the kernel."""
    client, exchange = await server.stream(receive_buffer=4096)
    await client.until(chunk(FIRST))
    total = 0

    def all_accounted():
        return client.unread + exchange.sink.unsent == total

    for _ in range(40):
        exchange.sink.write(b"x" * 100_000)
        total += len(chunk(b"x" * 100_000))
        await eventually(all_accounted)
    assert exchange.sink.unsent > total - 100_000
    assert exchange.transport.get_write_buffer_size() < exchange.sink.unsent
    waits = exchange.sink.write(b"y")
    assert 0 < waits <= exchange.sink.unsent
    await client.bytes(total + len(chunk(b"y")))
    await eventually(lambda: exchange.sink.unsent == 0)
    assert exchange.sink.write(b"z") == 0


@served(kinds=["handover", "h11"])
async def test_unsent_in_the_kernel(server):
    """A few bytes that the client has no room for are seen, although the server got rid of them."""
    client, exchange = await server.stream(receive_buffer=4096)
    await client.until(chunk(FIRST))
    written = 0
    while not exchange.sink.unsent:
        assert exchange.sink.write(b"x" * 1000) == 0
        written += len(chunk(b"x" * 1000))
        await asyncio.sleep(0.001)
    assert exchange.transport.get_write_buffer_size() == 0
    await client.bytes(written)
    await eventually(lambda: exchange.sink.unsent == 0)


@served(kinds=["task"])
async def test_unsent_as_far_as_send_tells(server):
    """TaskSink counts what the server's ``send`` has not taken; what the server holds it cannot see."""
    client, exchange = await server.stream(receive_buffer=4096)
    written = 0
    while not exchange.sink.unsent:
        exchange.sink.write(b"x" * 200_000)
        written += 200_000
        await asyncio.sleep(0.005)
    assert exchange.sink.write(b"y") == exchange.sink.unsent == 200_001
    rest = b"x" * written + b"y"
    await client.until(chunk(FIRST))
    body = b""
    while len(body) < len(rest):
        size = int(await client.until(b"\r\n"), 16)
        body += (await client.bytes(size + 2))[:-2]
    assert body == rest
    await eventually(lambda: exchange.sink.unsent == 0)


@served()
async def test_unsent_before_the_first_bytes(server, kind):
    """What is written before anything could leave counts as waiting, so that a large replay is known."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()
    framing = len(chunk(b"x" * 1000)) - 1000 if kind != "task" else 0
    assert exchange.sink.write(b"x" * 1000) == 1000 + framing
    assert exchange.sink.write(b"x" * 1000) == 2 * (1000 + framing)
    assert exchange.sink.unsent >= 2000
    server.gate.set()
    await client.until(b"x\r\n")
    await eventually(lambda: exchange.sink.unsent == 0)


@served()
async def test_reads_again(server):
    """A client that was stuck and reads again gets everything, in order, and the stream goes on."""
    client, exchange = await server.stream(receive_buffer=65536)
    for number in range(100):
        exchange.sink.write(b"%d;" % number + b"x" * 50_000)
        await asyncio.sleep(0)
    exchange.sink.finish(b"bye")
    body = dechunked((await client.until(END)).partition(b"\r\n\r\n")[2])
    assert body == FIRST + b"".join(b"%d;" % number + b"x" * 50_000 for number in range(100)) + b"bye"
    await exchange.ended()


@served()
async def test_ready_as_the_client_reads(server):
    """What is written in pieces, each when the sink is ready for it, flows as fast as the client reads."""
    client, exchange = await server.stream(receive_buffer=65536)
    piece, count, written = b"x" * 250_000, 40, 0

    def more():
        nonlocal written
        written += 1
        exchange.sink.write(piece)
        if written < count:
            exchange.sink.when_ready(more)
        else:
            exchange.sink.finish(b"bye")

    exchange.sink.when_ready(more)
    assert written == 0
    await eventually(lambda: written)
    for _ in range(50):  # nobody reads: it asks for no more than fits
        await asyncio.sleep(0.002)
    assert written < 20
    stood = written
    await asyncio.sleep(0.05)
    assert written == stood
    body = dechunked((await client.until(END)).partition(b"\r\n\r\n")[2])
    assert body == FIRST + piece * count + b"bye"
    await exchange.ended()


@served()
async def test_finished_when_it_is_ready(server):
    """A response may be finished at the very moment when everything has left: it ends once."""
    client, exchange = await server.stream(receive_buffer=65536)
    exchange.sink.write(b"x" * LARGE)
    exchange.sink.when_ready(lambda: exchange.sink.finish(b"bye"))
    body = dechunked((await client.until(END)).partition(b"\r\n\r\n")[2])
    assert body == FIRST + b"x" * LARGE + b"bye"
    await exchange.ended()


@served()
async def test_never_ready_when_it_is_over(server, caplog):
    """When a response is aborted while it waits for its client nothing is called, and nothing is left."""
    _, exchange = await server.stream(receive_buffer=65536)
    before = asyncio.all_tasks()
    called = []
    for _ in range(20):
        exchange.sink.write(b"x" * 250_000)
        await asyncio.sleep(0)
    exchange.sink.when_ready(lambda: called.append(1))
    exchange.sink.abort()
    await exchange.ended()
    exchange.sink.when_ready(lambda: called.append(2))
    await eventually(lambda: asyncio.all_tasks() <= before)
    assert called == []


@served(kinds=["handover", "h11"])
async def test_default_timeout(server):
    """A default timeout that an app sets for its own sockets makes no write wait, and cuts nobody off."""
    socket.setdefaulttimeout(0.2)
    try:
        client, exchange = await server.stream(receive_buffer=65536)
    finally:
        socket.setdefaulttimeout(None)
    for _ in range(LARGE // 1000):  # until the kernel takes no more; on this thread the client reads too
        exchange.sink.write(b"x" * 1000)
    exchange.sink.finish(b"bye")
    body = dechunked((await client.until(END)).partition(b"\r\n\r\n")[2])
    assert body == FIRST + b"x" * LARGE + b"bye"
    await exchange.ended()
