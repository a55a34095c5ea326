"""The sinks on a real uvicorn in the test's own process, on both event loops, with a client on raw sockets.

A HandoverSink takes the connection over from uvicorn, with httptools as well as h11; see KINDS.  What holds
for one sink only by its nature says so in the test.
"""

import asyncio
import contextlib
import gc
import logging
import logging.handlers
import weakref

import pytest

from parts.sinks import (
    END,
    FIRST,
    HEADERS,
    LARGE,
    PATIENCE,
    SINKS,
    Client,
    Tap,
    chunk,
    complaints,
    dechunked,
    eventually,
    get,
    served,
)
from sse_edge.delivery.sink import TaskSink
from sse_edge.delivery.transport import HandoverSink

pytestmark = pytest.mark.usefixtures("uncomplaining")


# What leaves, and in which pieces
@served()
async def test_bytes(server, kind):
    """Each write is one chunk of the response, byte for byte."""
    client, exchange = await server.stream()
    assert type(exchange.sink) is SINKS[kind]
    head = await client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: text/event-stream\r\n" in head
    assert head.lower().count(b"transfer-encoding: chunked\r\n") == 1
    assert b"content-length" not in head.lower()
    assert await client.until(b"\n\n\r\n") == chunk(FIRST)
    for data in (b"id: 1\ndata: a\n\n", "data: ü~\r\n\n".encode(), bytes(range(256)) * 300):
        exchange.sink.write(data)
        expected = chunk(data)
        assert await client.bytes(len(expected)) == expected
    exchange.sink.finish(b"bye\n\n")
    assert await client.until(END) == chunk(b"bye\n\n") + END
    await exchange.ended()


@pytest.mark.parametrize("logged", [True, False], ids=["logged", ""])
@served()
async def test_heads_of_one_second(server, monkeypatch, logged):
    """Streams that begin together have the head that each would have alone: its headers, and the server's.

    Those are others in the next second.  And the server logs each stream, if it logs requests.
    """
    # Not the log of the whole run: what other tests have set up for it is still there.
    access, written = logging.getLogger("uvicorn.access"), logging.handlers.BufferingHandler(1000)
    monkeypatch.setattr(access, "handlers", [written] if logged else [])
    monkeypatch.setattr(access, "propagate", False)
    access.setLevel(logging.INFO)
    own, state = (b"access-control-allow-origin", b"https://a.example"), server.state
    lines = []
    for headers, of_the_server in (
        (HEADERS, []),
        (HEADERS, []),
        ([*HEADERS, own], []),
        (HEADERS, []),
        (HEADERS, [(b"date", b"now")]),
        (HEADERS, [(b"date", b"now")]),
        (HEADERS, [(b"date", b"later")]),
    ):
        if of_the_server != state.default_headers:
            monkeypatch.setattr(state, "default_headers", of_the_server)
        server.headers = headers
        client, _ = await server.stream()
        lines.append(set((await client.until(b"\r\n\r\n")).lower().split(b"\r\n")))
    assert lines[0] == lines[1] == lines[3]
    assert lines[2] == lines[0] | {b"access-control-allow-origin: https://a.example"}
    assert lines[4] == lines[5] == lines[0] | {b"date: now"}
    assert lines[6] == lines[0] | {b"date: later"}
    assert len(written.buffer) == (len(lines) if logged else 0)


@served(tapped=True)
async def test_written_in_the_first_turn(server, kind):
    """The head, the first bytes and what is written in the same turn leave in one piece.

    TaskSink has to hand the server the head and the first bytes as two messages, and writes the rest
    when it runs.
    """
    server.at_once = [b"one\n\n", b"two\n\n"]
    client, exchange = await server.stream()
    await client.until(b"two\n\n\r\n")
    *_, last = exchange.pieces
    if kind == "task":
        assert last == chunk(b"one\n\ntwo\n\n")
        assert len(exchange.pieces) == 3
    else:
        (whole,) = exchange.pieces
        head, _, body = whole.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert body == chunk(FIRST) + chunk(b"one\n\n") + chunk(b"two\n\n")


@served()
async def test_order(server):
    """What was written before the response began comes before what was written later."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()
    server.at_once = [b"0;"]
    server.gate.set()
    await exchange.started.wait()
    for number in range(1, 300):
        exchange.sink.write(b"%d;" % number)
        if number % 7 == 0:
            await asyncio.sleep(0)
    exchange.sink.finish(b"end")
    body = dechunked((await client.until(END)).partition(b"\r\n\r\n")[2])
    assert body == FIRST + b"".join(b"%d;" % number for number in range(300)) + b"end"


@served()
async def test_shared_bytes(server):
    """Streams that are written the same bytes get the same, also when others are written in between."""
    pairs = [await server.stream() for _ in range(3)]
    for data in (b"a", b"bb", b"a"):
        for _, exchange in pairs:
            exchange.sink.write(data)
    for client, exchange in pairs:
        exchange.sink.finish(b"bye")
        body = (await client.until(END)).partition(b"\r\n\r\n")[2]
        assert dechunked(body) == FIRST + b"abbabye"


@served()
async def test_empty_write(server):
    """A write of nothing does not end the response, as an empty chunk would."""
    client, exchange = await server.stream()
    exchange.sink.write(b"")
    exchange.sink.write(b"x")
    exchange.sink.finish(b"")
    body = (await client.until(END)).partition(b"\r\n\r\n")[2]
    assert body == chunk(FIRST) + chunk(b"x") + END
    await exchange.ended()
    assert client.unread == 0


# Endings
@served(kinds=["task"])
async def test_keep_alive(server):
    """A finished response ends with the last chunk, and the connection serves the next request."""
    client, exchange = await server.stream()
    for _ in range(3):
        exchange.sink.write(b"x")
        exchange.sink.finish(b"bye")
        exchange.sink.write(b"too late")
        body = (await client.until(END)).partition(b"\r\n\r\n")[2]
        assert dechunked(body) == FIRST + b"xbye"
        await exchange.ended()
        assert exchange.sink.unsent == 0
        await client.send(get())
        exchange = await server.exchange()
        await exchange.started.wait()


@served(kinds=["handover", "h11"])
async def test_the_connection_ends_with_the_stream(server):
    """Where the connection was taken over nothing can follow on it: that is said, and it is closed."""
    client, exchange = await server.stream()
    requests = server.state.total_requests
    exchange.sink.write(b"x")
    exchange.sink.finish(b"bye")
    exchange.sink.write(b"too late")
    head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert head.lower().count(b"\r\nconnection: close") == 1
    assert body.endswith(END)
    assert dechunked(body) == FIRST + b"xbye"
    await exchange.ended()
    assert exchange.sink.unsent == 0
    assert server.state.total_requests == requests + 1


@served()
async def test_finish_before_anything_left(server):
    """A stream that ends in the turn of its start still comes whole."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()
    exchange.sink.write(b"early")
    exchange.sink.finish(b"bye")
    server.gate.set()
    body = (await client.until(END)).partition(b"\r\n\r\n")[2]
    # TaskSink sends its first bytes itself, HandoverSink puts them before what is there.
    assert dechunked(body) == FIRST + b"earlybye"
    await exchange.ended()


@served()
async def test_abort_of_a_stuck_client(server):
    """An abort resets the connection and frees what was held for a client that does not read."""
    client, exchange = await server.stream(receive_buffer=4096)
    exchange.sink.write(b"x" * LARGE)
    await eventually(lambda: exchange.transport.get_write_buffer_size() > 0)
    held = exchange.transport.get_write_buffer_size()
    exchange.sink.abort()
    assert exchange.sink.unsent == 0
    exchange.sink.write(b"too late")
    await exchange.ended()
    assert held > 0
    assert exchange.transport.get_write_buffer_size() == 0
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served()
async def test_abort_of_an_idle_stream(server):
    """An aborted stream has no last chunk."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    exchange.sink.abort()
    exchange.sink.abort()
    await exchange.ended()
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served()
async def test_abort_after_finish(server):
    """A goodbye that is never read can be cut short."""
    client, exchange = await server.stream(receive_buffer=4096)
    exchange.sink.write(b"x" * LARGE)
    await eventually(lambda: exchange.transport.get_write_buffer_size() > 0)
    exchange.sink.finish(b"bye")
    await asyncio.sleep(0.02)
    assert not exchange.over.is_set()
    exchange.sink.abort()
    await exchange.ended()
    assert exchange.sink.unsent == 0
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served()
async def test_client_leaves(server):
    """``run`` returns when the client leaves, with a goodbye or without, and forgets what is unsent."""
    for leave in (Client.reset, lambda client: client.sock.close()):
        client, exchange = await server.stream()
        await client.until(chunk(FIRST))
        leave(client)
        await exchange.ended()
        assert exchange.sink.write(b"x") == 0
        exchange.sink.finish(b"bye")
        exchange.sink.abort()
        assert exchange.sink.unsent == 0


@served()
async def test_client_leaves_unread(server):
    """The same for a client that leaves while much waits for it."""
    client, exchange = await server.stream(receive_buffer=4096)
    exchange.sink.write(b"x" * LARGE)
    await eventually(lambda: exchange.transport.get_write_buffer_size() > 0)
    client.reset()
    await exchange.ended()
    assert exchange.sink.unsent == 0


@served(tapped=True)
async def test_client_gone_before_the_start(server):
    """A client that left before its response began is no error, and nothing is written."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()
    client.reset()
    await eventually(lambda: exchange.cycle.disconnected)
    server.gate.set()
    await exchange.ended()
    assert exchange.pieces == []
    assert exchange.sink.unsent == 0
    exchange.sink.abort()


def request_tasks():
    """uvicorn's tasks for requests."""
    return [one for one in asyncio.all_tasks() if "run_asgi" in one.get_coro().__qualname__]


@served(kinds=["task"])
async def test_cancelled(server, caplog):
    """Cancelling the request cancels ``run``; uvicorn, whose task it is, says so."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    (task,) = request_tasks()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.ended()
    assert await client.rest() == b""
    await asyncio.wait([task])
    complaints(caplog)


@served()
async def test_cancelled_before_the_start(server, caplog):
    """A request that is cancelled while its response waits behind another leaves nothing behind."""
    client = await server.client(receive_buffer=4096)
    await client.send(get("/page") + get())
    exchange = await server.exchange()
    for task in request_tasks():
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.ended()
    assert exchange.sink._owner is None
    complaints(caplog)


@served(kinds=["handover", "h11"])
async def test_aborted_before_the_start(server):
    """A stream that is ended before it began says so when it begins, and writes nothing."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()
    exchange.sink.abort()
    server.gate.set()
    await exchange.ended()
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served(kinds=["task"])
async def test_abort_of_what_is_over(server):
    """An abort that comes after the response has ended leaves the connection to the next request."""
    client, exchange = await server.stream()
    exchange.sink.finish(b"bye")
    await client.until(END)
    await exchange.ended()
    await client.send(get())
    following = await server.exchange()
    exchange.sink.abort()
    exchange.sink.write(b"x")
    following.sink.finish(b"bye")
    body = (await client.until(END)).partition(b"\r\n\r\n")[2]
    assert dechunked(body) == FIRST + b"bye"
    await following.ended()


# What is left of the request
@served(kinds=["handover", "h11"])
async def test_nothing_of_the_request_is_left(server):
    """Of an open stream uvicorn has a connection in its books, and no task, cycle or protocol any more."""
    gc.collect()
    gc.disable()
    try:
        client, exchange = await server.stream()
        await client.until(chunk(FIRST))
        await exchange.returned.wait()
        cycle, exchange.cycle = weakref.ref(exchange.cycle), None
        await eventually(lambda: not request_tasks() and cycle() is exchange.protocol() is None)
        assert server.state.connections == {exchange.sink}
        assert exchange.transport.get_protocol() is exchange.sink
        there = id(exchange.sink)
        client.reset()
        await exchange.over.wait()
        exchange.sink = TaskSink(None, None, [])  # another for the end of the test
        await eventually(
            lambda: (
                not [each for each in gc.get_objects() if id(each) == there and type(each) is HandoverSink]
            )
        )
        assert not server.state.connections
    finally:
        gc.enable()


@served(kinds=["handover", "h11"])
async def test_a_stream_counts_as_a_connection(server):
    """``limit_concurrency`` counts open streams, as it does where a request's task holds them."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    other = await server.client()
    await other.send(get("/page"))
    await other.until(b"\r\n\r\n")
    assert len(server.state.connections) == 2
    client.reset()
    await exchange.ended()
    await eventually(lambda: len(server.state.connections) == 1)


@served(kinds=["handover", "h11"])
async def test_gone_between_two_writes(server):
    """A write that finds out that the client has left ends the stream, and what follows is not sent."""
    client, exchange = await server.stream()
    await client.until(chunk(FIRST))
    client.reset()
    while not exchange.sink._over:  # without a turn of the loop, in which it would hear of it
        exchange.sink.write(b"x" * 1000)
    assert exchange.sink.unsent == 0
    exchange.sink.finish(b"bye")
    await exchange.ended()


@served(kinds=["handover", "h11"])
async def test_refused_after_all(server, monkeypatch):
    """A connection that cannot be taken over although its kind can is cut, without a byte of the stream."""
    server.gate.clear()
    client = await server.client()
    await client.send(get())
    exchange = await server.exchange()

    class Refuses(Tap):
        def set_protocol(self, protocol):
            raise NotImplementedError

    exchange.sink._transport = exchange.cycle.transport = tap = Refuses(exchange.transport)
    server.gate.set()
    await exchange.ended()
    assert tap.pieces == []
    with pytest.raises(ConnectionResetError):
        await client.rest()


@served()
async def test_unix(server, unix):
    """The same over a unix socket, where no kernel is asked and no reset is possible."""
    client, exchange = await server.stream()
    exchange.sink.write(b"x")
    await client.until(chunk(FIRST) + chunk(b"x"))
    assert exchange.sink.unsent == 0
    exchange.sink.finish(b"bye")
    assert await client.until(END) == chunk(b"bye") + END
    await exchange.ended()


@served()
async def test_tls(server, certificate):
    """The same through TLS, where the connection's socket is not what is written to."""
    address = server._listener.getsockname()
    for leave in ("finish", "abort"):
        reader, writer = await asyncio.open_connection(*address, ssl=server.ssl, ssl_shutdown_timeout=0.05)
        try:
            writer.write(get())
            exchange = await server.exchange()
            await exchange.started.wait()
            data = b"y" * 500_000
            exchange.sink.write(data)
            async with asyncio.timeout(PATIENCE):
                await reader.readuntil(b"\r\n\r\n")
                expected = chunk(FIRST) + chunk(data)
                assert await reader.readexactly(len(expected)) == expected
                await eventually(lambda exchange=exchange: exchange.sink.unsent == 0)
                if leave == "finish":
                    exchange.sink.finish(b"bye")
                    assert await reader.readuntil(END) == chunk(b"bye") + END
                else:
                    writer.transport.abort()
            await exchange.ended()
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@served(kinds=["handover", "h11"])
async def test_tls_abort_of_a_stuck_client(server, certificate):
    """What waits for a TLS client that does not read is seen, and an abort frees it."""
    address = server._listener.getsockname()
    reader, writer = await asyncio.open_connection(*address, ssl=server.ssl, ssl_shutdown_timeout=0.05)
    try:
        writer.transport.pause_reading()
        writer.write(get())
        exchange = await server.exchange()
        await exchange.started.wait()
        for _ in range(8):
            exchange.sink.write(b"y" * LARGE)
            await asyncio.sleep(0.01)
        # The first write passes the TLS layer, and waits in the connection below it.
        assert exchange.sink.unsent >= 2 * LARGE
        exchange.sink.abort()
        await exchange.ended()
        assert exchange.sink.unsent == 0
        writer.transport.resume_reading()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionResetError):
                await reader.read()
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@served(tapped=True)
async def test_refused_start(server, kind, caplog):
    """A head that the server refuses ends the stream without an error, and without a byte of it.

    HandoverSink cuts the connection; behind TaskSink uvicorn closes it and complains.
    """
    server.headers = [(b"content-type", b"bad\r\nvalue")]
    client, exchange = await server.stream()
    exchange.sink.write(b"x")
    await exchange.ended()
    assert exchange.pieces == []
    assert exchange.sink.unsent == 0
    if kind == "task":
        assert await client.rest() == b""
        assert len(complaints(caplog)) == 1
    else:
        with pytest.raises(ConnectionResetError):
            await client.rest()
