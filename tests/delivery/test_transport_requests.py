"""What else is on the connection of a stream: what its client sends, what came before and what waits behind.

On each sink, event loop and parser; see ``sinks``.
"""

import asyncio
import contextlib
import socket
import time

import pytest

from parts.sinks import END, FIRST, LARGE, PATIENCE, chunk, complaints, dechunked, eventually, get, served
from sse_edge.delivery.sink import TaskSink

pytestmark = pytest.mark.usefixtures("uncomplaining")


# What the server makes of requests
@served()
async def test_http_1_0(server, kind):
    """A request of HTTP/1.0 is answered by uvicorn itself, and then the connection closes."""
    client, exchange = await server.stream(get(version="1.0"))
    exchange.sink.write(b"x")
    exchange.sink.finish(b"bye")
    body = (await client.rest()).partition(b"\r\n\r\n")[2]
    assert type(exchange.sink) is TaskSink
    assert (body if kind == "h11" else dechunked(body)) == FIRST + b"xbye"
    await exchange.ended()


@served()
async def test_connection_close(server):
    """A client that asked for the end of the connection gets it after the last chunk."""
    client, exchange = await server.stream(get(extra="connection: close\r\n"))
    exchange.sink.finish(b"bye")
    head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert head.lower().count(b"\r\nconnection: close") == 1
    assert dechunked(body) == FIRST + b"bye"


@served()
async def test_expect_100_continue(server):
    """A client that waits to be asked for its body is not asked, and gets one response, not two heads."""
    client, exchange = await server.stream(get(extra="expect: 100-continue\r\ncontent-length: 3\r\n"))
    exchange.sink.write(b"x")
    exchange.sink.finish(b"bye")
    answer = await client.until(END)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert dechunked(answer.partition(b"\r\n\r\n")[2]) == FIRST + b"xbye"


@served()
async def test_head(server):
    """HEAD, which is answered without a sink, would get no body from one either: it is left to uvicorn."""
    client, exchange = await server.stream(get(method="HEAD"))
    exchange.sink.write(b"x")
    exchange.sink.finish(b"bye")
    await exchange.ended()
    assert type(exchange.sink) is TaskSink
    head = await client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert client.unread == 0


MORE = [get("/second"), get("/second")[:9], b"x", b"\r\n"]
"""What may come behind the request of a stream: another, a part of one, anything."""


async def more(server):
    """Whoever sends any of it is let go of at once, as if it had left."""
    for data in MORE:
        client, exchange = await server.stream()
        await client.until(chunk(FIRST))
        await client.send(data)
        await exchange.ended()
        assert exchange.sink.write(b"x") == 0
        assert exchange.sink.unsent == 0
        with pytest.raises(ConnectionResetError):
            await client.rest()
    await at_once(server)


async def at_once(server):
    """The same for what comes in one piece with the request: not a byte of the stream is written."""
    for second in (get("/second"), b"GET /second HTTP/1.1\r\nHost: x\r\na: b\r\n", b"G"):
        client, exchange = await server.stream(get() + second)
        await exchange.ended()
        with pytest.raises(ConnectionResetError):
            assert await client.rest() == b""
        assert server._exchanges.empty()


@served(kinds=["handover", "h11"])
async def test_more_than_a_request(server):
    """Whatever a client sends on the connection of its open stream ends it."""
    await more(server)


@served(kinds=["handover", "h11"])
async def test_more_than_a_request_through_tls(server, certificate):
    """The same through TLS."""
    address = server._listener.getsockname()
    reader, writer = await asyncio.open_connection(*address, ssl=server.ssl, ssl_shutdown_timeout=0.05)
    try:
        writer.write(get())
        exchange = await server.exchange()
        await exchange.started.wait()
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(chunk(FIRST))
            writer.write(b"x")
            await exchange.ended()
            with contextlib.suppress(OSError):  # there is no goodbye
                assert await reader.read() == b""
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@served()
async def test_request_body(server, kind):
    """A body ends the stream with its first byte; where it is heard the connection is cut as well."""
    client, exchange = await server.stream(get(extra="content-length: 200000\r\n"))
    exchange.sink.write(b"x")
    await client.until(chunk(b"x"))
    await client.send(b"y")
    await exchange.ended()
    if kind == "task":
        await client.until(END)
    else:
        with pytest.raises(ConnectionResetError):
            await client.rest()


@served(kinds=["handover", "h11"])
async def test_after_a_page(server):
    """A connection that has answered requests before may be taken over as well."""
    client = await server.client()
    for _ in range(2):
        await client.send(get("/page"))
        await client.until(b"\r\n\r\n")
        await client.bytes(LARGE)
    await client.send(get())
    exchange = await server.exchange()
    await client.until(chunk(FIRST))
    await client.send(b"x")
    await exchange.ended()


@served(kinds=["handover", "h11"])
async def test_closes_its_side(server):
    """A client that closes its side has left, however it goes on reading: the connection ends in order."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    client.sock.shutdown(socket.SHUT_WR)
    await exchange.ended()
    assert await client.rest() == b""


@served(kinds=["handover", "h11"])
async def test_closes_its_side_unread(server):
    """One that does not read what waits for it is not waited for."""
    client, exchange = await server.stream(receive_buffer=4096)
    exchange.sink.write(b"x" * LARGE)
    await eventually(lambda: exchange.transport.get_write_buffer_size() > 0)
    client.sock.shutdown(socket.SHUT_WR)
    await exchange.ended()
    assert exchange.sink.unsent == 0
    await eventually(lambda: exchange.transport.get_write_buffer_size() == 0)
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served(kinds=["task"])
async def test_pipelined(server):
    """A second request is answered when the stream is over, where uvicorn's connection is left alone."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    await client.send(get("/second"))
    exchange.sink.write(b"x")
    await client.until(chunk(b"x"))
    exchange.sink.finish(b"bye")
    assert await client.until(END) == chunk(b"bye") + END
    second = await server.exchange()
    await second.started.wait()
    second.sink.finish(b"bye")
    assert dechunked((await client.until(END)).partition(b"\r\n\r\n")[2]) == FIRST + b"bye"


@served(kinds=["task"])
async def test_leaves_behind_a_pipelined_request(server, caplog):
    """There uvicorn does not tell a stream with a request behind it that its client left; a write shows it.

    On uvloop a write to a closed connection raises.  On asyncio's loop it does nothing, and the connection
    is looked at.
    """
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    await client.send(get("/second"))
    await eventually(lambda: exchange.cycle.flow.read_paused)
    client.reset()
    await written_until_over(exchange)
    complaints(caplog)


@served(kinds=["task"])
async def test_leaves_behind_a_pipelined_request_inside_an_app(server, caplog):
    """The same where ``send`` is wrapped, as it is in front of whatever ``add_middleware`` adds."""
    server.wrapped = True
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    await client.send(get("/second"))
    await eventually(lambda: exchange.cycle.flow.read_paused)
    client.reset()
    await written_until_over(exchange)
    complaints(caplog)


async def written_until_over(exchange):
    """Write to a stream until its sink has found that its client left."""
    deadline = time.monotonic() + PATIENCE
    while not exchange.over.is_set():
        assert time.monotonic() < deadline
        exchange.sink.write(b"x")
        await asyncio.sleep(0.01)
    await exchange.ended()
    assert exchange.sink.unsent == 0


@served(tapped=True)
async def test_start_behind_an_unread_response(server, kind, caplog):
    """A response behind one that its client does not read waits, and can be aborted meanwhile."""
    client = await server.client(receive_buffer=4096)
    await client.send(get("/page") + get())
    exchange = await server.exchange()
    assert exchange.cycle.flow.write_paused
    exchange.sink.write(b"early")
    await asyncio.sleep(0.02)
    assert not exchange.started.is_set()
    exchange.sink.abort()
    await exchange.ended()
    assert exchange.pieces == []
    assert exchange.sink.unsent == 0
    if kind == "task":
        assert complaints(caplog)


@served()
async def test_start_behind_a_response_that_is_read_later(server):
    """The same response goes out in order once the client reads."""
    client = await server.client(receive_buffer=4096)
    await client.send(get("/page") + get())
    exchange = await server.exchange()
    exchange.sink.write(b"early")
    page = await client.until(b"\r\n\r\n") + await client.bytes(LARGE)
    assert page.endswith(b"p" * 1000)
    exchange.sink.finish(b"bye")
    head, _, body = (await client.until(END)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert dechunked(body) == FIRST + b"earlybye"
    await exchange.ended()
