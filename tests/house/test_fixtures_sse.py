"""The client that reads streams for other tests: its decoder, its reader of responses, its connection."""

import asyncio
import contextlib
import ssl

import pytest

from servers.sse import Decoder, Received, ResponseReader, StreamClient, StreamEndedError


def _message(data, event="message", id=""):
    return Received(event, data, id)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [_message("a")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [_message("a"), _message("b"), _message("c")]),
        (b"\xef\xbb\xbfdata: a\n\n", [_message("a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [_message("b")]),
        (b"data:a\n\ndata:  a\n\ndata: \n\ndata\n\n", [_message(d) for d in ("a", " a", "", "")]),
        (b"data: a\ndata\ndata: b\n\n", [_message("a\n\nb")]),
        (b"event: x\n\ndata: a\n\n", [_message("a")]),
        (b"event: x\ndata: a\n\n", [_message("a", "x")]),
        (
            b"id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            [_message("a", id="7"), _message("b", id="7"), _message("c")],
        ),
        (b"id: 7\0\ndata: a\n\n", [_message("a")]),
        (b": note\n:x\ndata: a\nunknown: 1\n\n", [_message("a")]),
        (b"data: a", []),
        (b"data: a\n", []),
        (b"data: \xc3\xa9 \xff\xe2\n\n", [_message("é \ufffd\ufffd")]),
        (b"data: \xe2\x80\xa8 \x0b \xc2\x85\n\n", [_message("\u2028 \x0b \x85")]),
        (b" data: a\nDATA: b\n\n", []),
    ],
)
def test_the_decoder_reads_a_stream_cut_anywhere(stream, events):
    """Every cut of the stream into two, and one byte at a time, gives the same events."""
    for cut in range(len(stream) + 1):
        decoder = Decoder()
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == events
    decoder = Decoder()
    assert [event for i in range(len(stream)) for event in decoder.feed(stream[i : i + 1])] == events


def test_the_decoder_keeps_comments_and_retry():
    """Comments are recorded without the colon and one space; a retry counts if it is all digits."""
    decoder = Decoder()
    decoder.feed(b": one\n:two\n:\nretry: 10\nretry: 1x\nretry:\nretry: -5\nretry: \xd9\xa1\n\n")
    assert decoder.comments == ["one", "two", ""]
    assert decoder.retry == 10


def test_the_decoder_commits_an_id_without_data():
    """An id takes effect at the blank line, whether or not there is an event."""
    decoder = Decoder("1")
    assert decoder.feed(b"id: 2\n") == []
    assert (decoder.last_event_id, decoder.commits, decoder.pending) == ("1", [], True)
    assert decoder.feed(b"\n") == []
    assert (decoder.last_event_id, decoder.commits, decoder.pending) == ("2", ["2"], False)


CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"e;note=1\r\nid: 1\ndata: a\r\r\n4\r\n\n\r\n:\r\n8\r\n\ndata: b\r\n0A\r\n\n\n: bye\nok"
    b"\r\n0\r\nTrailer: 1\r\n\r\n"
)


def test_the_reader_joins_chunks_cut_anywhere():
    """Status, headers and body come out the same wherever the bytes are cut."""
    for cut in range(len(CHUNKED) + 1):
        reader = ResponseReader()
        body = reader.feed(CHUNKED[:cut]) + reader.feed(CHUNKED[cut:])
        assert body == b"id: 1\ndata: a\r\n\r\n:\ndata: b\n\n: bye\nok"
        assert reader.status == 200
        assert reader.header("Content-Type") == "text/event-stream"
        assert reader.complete
        assert reader.chunked_end


@pytest.mark.parametrize(
    ("method", "head", "body", "complete"),
    [
        ("GET", b"200 OK\r\nContent-Length: 2\r\n", b"ok", True),
        ("GET", b"200 OK\r\nContent-Length: 3\r\n", b"ok", False),
        ("GET", b"200 OK\r\nContent-Length: 0\r\n", b"", True),
        ("GET", b"204 No Content\r\n", b"", True),
        ("HEAD", b"200 OK\r\nContent-Length: 3\r\n", b"", True),
        ("GET", b"200 OK\r\n", b"until the end", False),
    ],
)
def test_the_reader_knows_when_a_response_is_over(method, head, body, complete):
    """Content-Length, a status without a body and HEAD end a response without a chunk."""
    reader = ResponseReader(method)
    assert reader.feed(b"HTTP/1.1 " + head + b"\r\n" + body) == body
    assert (reader.complete, reader.chunked_end) == (complete, False)


FIRST_EVENT = CHUNKED[: CHUNKED.index(b"\ndata: b")]


@pytest.fixture
async def raw_server():
    """``await raw_server(handle)``: a server of ``handle(reader, writer)``, whose end is awaited."""
    servers, tasks = [], []

    async def start(handle, **options):
        async def serve(reader, writer):
            tasks.append(asyncio.current_task())
            try:
                await handle(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0, **options))
        return servers[-1].sockets[0].getsockname()[1]

    yield start
    for server in servers:
        server.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks)


def _send(*pieces, requests=None, hold=False):
    """A handler that reads a request and sends the pieces one by one."""

    async def handle(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(request)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.001)
        with contextlib.suppress(ConnectionError):
            while hold and await reader.read(1):
                pass

    return handle


async def test_a_client_reads_a_stream_that_arrives_in_pieces(raw_server, connect):
    """Events, comments, ids and the clean end are seen although each piece is cut short."""
    requests = []
    pieces = (CHUNKED[i : i + 7] for i in range(0, len(CHUNKED), 7))
    url = f"http://127.0.0.1:{await raw_server(_send(*pieces, requests=requests))}/events/x?y=1"
    headers = {"Origin": "http://a.test"}
    client = await connect(url, cookies={"session": "s"}, last_event_id="0", headers=headers)
    assert client.status == 200
    assert await client.next() == _message("a", id="1")
    assert await client.until(lambda event: event.data == "b") == _message("b", id="1")
    assert await client.ended()
    assert client.clean_end
    assert client.comments == ["", "bye"]
    assert client.last_event_id == "1"
    with pytest.raises(StreamEndedError, match="2 events"):
        await client.next()
    lines = requests[0].decode().split("\r\n")
    assert lines[0] == "GET /events/x?y=1 HTTP/1.1"
    assert "Cookie: session=s" in lines
    assert "Last-Event-ID: 0" in lines
    assert "Origin: http://a.test" in lines


async def test_a_client_tells_a_cut_from_an_end(raw_server, connect):
    """Without the final chunk a stream has ended, and not cleanly."""
    client = await connect(f"http://127.0.0.1:{await raw_server(_send(CHUNKED[:-9]))}/")
    assert not await client.ended()
    assert not client.clean_end


async def test_a_client_times_out_on_silence(raw_server, connect):
    """Waiting has an end, and silence can be asserted."""
    client = await connect(f"http://127.0.0.1:{await raw_server(_send(FIRST_EVENT, hold=True))}/")
    await client.next()
    await client.quiet(0.05)
    with pytest.raises(TimeoutError, match="1 events, 1 taken"):
        await client.next(0.05)
    with pytest.raises(TimeoutError, match="the end of the stream"):
        await client.ended(0.05)


async def test_a_client_refuses_broken_chunks(raw_server, connect):
    """A chunk that is longer than it says is noticed."""
    broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n"
    client = await connect(f"http://127.0.0.1:{await raw_server(_send(broken))}/")
    await client.ended()
    assert "longer than its size" in str(client.error)


@pytest.mark.parametrize(("way", "gone"), [("abort", ConnectionResetError), ("close", None)])
async def test_a_client_resets_or_closes(raw_server, way, gone):
    """The server sees a reset after abort and an orderly end after close."""
    seen = asyncio.get_running_loop().create_future()

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(FIRST_EVENT)
        try:
            seen.set_result(await reader.read())
        except ConnectionResetError as error:
            seen.set_result(error)

    client = await StreamClient.connect(f"http://127.0.0.1:{await raw_server(handle)}/")
    getattr(client, way)()
    async with asyncio.timeout(5):
        result = await seen
    await client.aclose()
    assert isinstance(result, gone) if gone else result == b""


async def test_a_client_stops_reading(raw_server, connect):
    """What the client leaves unread fills the sockets until the server's writes stall."""
    stalled = asyncio.Event()

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            for _ in range(500):
                writer.write(b":" + b"x" * 100_000 + b"\n")
                async with asyncio.timeout(0.3):
                    await writer.drain()
        except TimeoutError:
            stalled.set()
        writer.transport.abort()

    client = await connect(f"http://127.0.0.1:{await raw_server(handle)}/", receive_buffer=4096)
    client.stop_reading()
    async with asyncio.timeout(10):
        await stalled.wait()
    client.resume_reading()
    await client.ended()


async def test_a_client_speaks_tls(raw_server, connect, certificate):
    """The same client works over TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    port = await raw_server(_send(CHUNKED, hold=True), ssl=context)
    trusting = ssl.create_default_context(cafile=certificate[0])
    client = await connect(f"https://localhost:{port}/", ssl=trusting)
    assert await client.ended()
    assert [event.data for event in client.events] == ["a", "b"]
