"""A Server-Sent Events client for tests, from the specification up: parser, HTTP/1.1, sockets."""

import asyncio
import contextlib
import re
import socket
import ssl as ssllib
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

_DIGITS = re.compile(r"[0-9]+\Z")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class Received(NamedTuple):
    """An event as a browser would dispatch it; ``id`` is the last event id at that moment."""

    event: str
    data: str
    id: str


class Decoder:
    """WHATWG HTML, section 9.2.6, fed with bytes in pieces of any size.

    ``last_event_id`` is what a reconnecting browser would send: it changes at the blank line that
    ends a block, also when the block has no data and so dispatches nothing.  ``commits`` lists every
    value it took, ``comments`` the comments, ``retry`` the last valid reconnection time.
    """

    def __init__(self, last_event_id=""):
        self.last_event_id = last_event_id
        self.commits = []
        self.comments = []
        self.retry = None
        self._id = last_event_id
        self._event = ""
        self._data = []
        self._line = b""
        self._after_cr = False
        self._first_line = True

    @property
    def pending(self):
        """Whether the bytes so far end in the middle of a block, which a browser would discard."""
        return bool(self._line or self._data or self._event or self._id != self.last_event_id)

    def feed(self, data):
        """Read some bytes; the events that they complete."""
        events = []
        if self._after_cr and data:
            data = data.removeprefix(b"\n")  # the second half of a CR LF whose line has ended
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
            *whole, rest = _LINE_END.split(data)
            for line in whole:
                self._end_line(self._line + line, events)
                self._line = b""
            self._line += rest
        return events

    def _end_line(self, raw, events):
        if self._first_line:
            self._first_line = False
            raw = raw.removeprefix(_BOM)
        line = raw.decode("utf-8", "replace")
        if not line:
            self._end_block(events)
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not field:
            self.comments.append(value)
        elif field == "event":
            self._event = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and _DIGITS.match(value):
            self.retry = int(value)

    def _end_block(self, events):
        if self._id != self.last_event_id:
            self.last_event_id = self._id
            self.commits.append(self._id)
        if self._data and self._event != "edge-position":  # for which nobody listens
            events.append(Received(self._event or "message", "\n".join(self._data), self._id))
        self._event = ""
        self._data = []


class ResponseReader:
    """One HTTP/1.1 response out of bytes in pieces of any size.

    ``chunked_end`` is True once the final zero chunk was read, ``complete`` once the response is over
    as its framing says.
    """

    def __init__(self, method="GET"):
        self.method = method
        self.status = None
        self.headers = []
        self.complete = False
        self.chunked_end = False
        self._buffer = bytearray()
        self._step = self._read_head
        self._left = None

    def header(self, name):
        """The one value of a header, or None; fails when it is repeated."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) < 2, f"{name} is sent {len(values)} times: {values}"
        return values[0] if values else None

    def feed(self, data):
        """Read some bytes; the body's bytes among them."""
        self._buffer += data
        body = bytearray()
        while not self.complete and self._step(body):
            pass
        return bytes(body)

    def end(self):
        """The connection was closed, which ends a body without any other framing."""
        if self._step == self._read_rest:
            self.complete = True

    def _read_head(self, body):
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        version, code, *_ = first.split(" ", 2)
        assert version == "HTTP/1.1", f"not an HTTP/1.1 response: {first}"
        if 100 <= int(code) < 200:
            return True
        self.status = int(code)
        self.headers = [
            (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
        ]
        length = self.header("content-length")
        coding = self.header("transfer-encoding")
        if self.method == "HEAD" or self.status in (204, 304):
            self.complete = True
        elif coding is not None:
            assert coding.lower() == "chunked", f"unexpected Transfer-Encoding: {coding}"
            assert length is None, "both Content-Length and Transfer-Encoding"
            self._step = self._read_chunk_size
        elif length is not None:
            self._left = int(length)
            self._step = self._read_length
        else:
            self._step = self._read_rest
        return True

    def _read_length(self, body):
        piece = self._buffer[: self._left]
        del self._buffer[: len(piece)]
        body += piece
        self._left -= len(piece)
        self.complete = self._left == 0
        return False

    def _read_rest(self, body):
        body += self._buffer
        self._buffer.clear()
        return False

    def _read_chunk_size(self, body):
        line = self._take_line()
        if line is None:
            return False
        self._left = int(line.partition(b";")[0], 16)
        self._step = self._read_chunk if self._left else self._read_trailer
        return True

    def _read_chunk(self, body):
        piece = self._buffer[: self._left]
        del self._buffer[: len(piece)]
        body += piece
        self._left -= len(piece)
        if self._left == 0:
            self._step = self._read_chunk_end
        return self._left == 0

    def _read_chunk_end(self, body):
        line = self._take_line()
        if line is None:
            return False
        assert line == b"", f"a chunk is longer than its size says: {line!r}"
        self._step = self._read_chunk_size
        return True

    def _read_trailer(self, body):
        line = self._take_line()
        if line == b"":
            self.complete = self.chunked_end = True
        return line is not None

    def _take_line(self):
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


class ContentDecoder:
    """A stream's bytes as they were before its content coding: gzip, or none.  Fails with zlib.error.

    Like Go's compress/flate it hands out nothing until it is told to, by the end of what Z_SYNC_FLUSH writes.
    """

    def __init__(self):
        self._inflate = zlib.decompressobj(31)
        self._held = self._last = b""

    def __call__(self, body, response):
        """Read some bytes of ``response``."""
        kind = response.header("content-type") or ""
        if response.status is None or not kind.startswith("text/event-stream"):
            return body
        if response.header("content-encoding") is None:
            return body
        assert response.header("content-encoding") == "gzip"
        self._held += self._inflate.decompress(body)
        self._last = (self._last + body)[-4:]
        # A clean end is the whole of a gzip file, its check sum too, and nothing follows it.
        assert self._inflate.eof or not response.complete, "the response ends before the file"
        assert not self._inflate.unused_data, "something follows the end of the file"
        if self._last != b"\x00\x00\xff\xff" and not self._inflate.eof:
            return b""
        body, self._held = self._held, b""
        return body


class StreamEndedError(AssertionError):
    """The stream was over before what the test waited for."""


class StreamClient(asyncio.Protocol):
    """One request on one connection of its own, the response read as an event stream.

    Made by ``await StreamClient.connect(url)``.  ``next`` and ``until`` take events in their order;
    ``events`` are all so far, taken or not; ``raw`` is the body's bytes, ``coded`` how many came of it on
    the wire.
    """

    def __init__(self, method="GET", last_event_id=""):
        self.response = ResponseReader(method)
        self.decoder = Decoder(last_event_id)
        self.events = []
        self.raw = bytearray()
        self.coded = 0
        self._decoded = ContentDecoder()
        self.error = None
        """What ended the connection, when it was not the other side's orderly close."""
        self._taken = 0
        self._transport = None
        self._changed = asyncio.Event()
        self._lost = asyncio.Event()

    @classmethod
    async def connect(
        cls,
        url,
        *,
        method="GET",
        headers=(),
        cookies=None,
        last_event_id=None,
        body=None,
        ssl=None,
        unix=None,
        receive_buffer=None,
        source=None,
        timeout=10,
    ):
        """Connect, send the request, and wait for the response's head.

        ``headers`` is a mapping or a list of pairs; a pair named ``host`` replaces the url's.  ``ssl``
        is the context for an https url, ``unix`` a socket's path, ``receive_buffer`` the socket's
        SO_RCVBUF, ``source`` the address to connect from.
        """
        parts = urlsplit(url)
        client = cls(method, last_event_id or "")
        request = _request(parts, method, headers, cookies, last_event_id, body)
        if parts.scheme == "https":
            ssl = ssl or ssllib.create_default_context()
        else:
            assert ssl is None, "an ssl context for a url that is not https"
        async with asyncio.timeout(timeout):
            sock = await _open(parts, unix, receive_buffer, source)
            try:
                tls = {}
                if ssl:
                    # Like a browser, and unlike asyncio, it does not wait for the other's goodbye.
                    tls = {"server_hostname": parts.hostname, "ssl_shutdown_timeout": 0.05}
                await asyncio.get_running_loop().create_connection(lambda: client, sock=sock, ssl=ssl, **tls)
            except BaseException:
                sock.close()
                raise
        client._transport.write(request)
        try:
            await client._wait(lambda: client.status is not None, timeout, "the response's head")
        except BaseException:
            client.abort()
            raise
        return client

    @property
    def status(self):
        return self.response.status

    @property
    def headers(self):
        """All headers as pairs, names in lower case, in the order they came."""
        return self.response.headers

    def header(self, name):
        """The one value of a header, or None; fails when it is repeated."""
        return self.response.header(name)

    @property
    def comments(self):
        return self.decoder.comments

    @property
    def retry(self):
        return self.decoder.retry

    @property
    def last_event_id(self):
        return self.decoder.last_event_id

    @property
    def clean_end(self):
        """Whether the final zero chunk was seen."""
        return self.response.chunked_end

    @property
    def closed(self):
        """Whether the connection is gone."""
        return self._lost.is_set()

    @property
    def over(self):
        """Whether nothing more can come."""
        return self.closed or self.response.complete

    async def next(self, timeout=10):
        """The next event not yet taken; TimeoutError, or StreamEndedError when none can come."""
        await self._wait(lambda: self._taken < len(self.events), timeout, "an event")
        self._taken += 1
        return self.events[self._taken - 1]

    async def take(self, count, timeout=10):
        """The next ``count`` events, all within ``timeout``."""
        first = self._taken
        await self._wait(lambda: first + count <= len(self.events), timeout, f"{count} events")
        self._taken = first + count
        return self.events[first : self._taken]

    async def until(self, predicate, timeout=10):
        """Take events up to the first that ``predicate`` holds for, and return that one."""
        async with asyncio.timeout(timeout):
            while True:
                event = await self.next(timeout)
                if predicate(event):
                    return event

    async def comment(self, timeout=10):
        """Wait for one more comment than there is now, and return it."""
        count = len(self.comments)
        await self._wait(lambda: len(self.comments) > count, timeout, "a comment")
        return self.comments[count]

    async def quiet(self, seconds):
        """Assert that no further event arrives for so long, and that the stream stays open."""
        with contextlib.suppress(TimeoutError):
            event = await self.next(seconds)
            raise AssertionError(f"expected no event, and got {event}")

    async def ended(self, timeout=10):
        """Wait until the response is over; whether it ended cleanly."""
        await self._wait(lambda: self.over, timeout, "the end of the stream")
        return self.clean_end

    def send(self, data):
        """Send more on the connection, behind the request."""
        self._transport.write(data)

    def abort(self):
        """Reset the connection (RST), as a client does that is killed."""
        if not self.closed:
            sock = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def close(self):
        """Close the connection in good order (FIN)."""
        if not self.closed:
            self._transport.close()

    async def aclose(self):
        """``close``, and wait until the connection is gone."""
        self.close()
        try:
            async with asyncio.timeout(2):
                await self._lost.wait()
        except TimeoutError:
            self.abort()
            await self._lost.wait()

    def stop_reading(self):
        """Leave everything that arrives in the socket."""
        self._transport.pause_reading()

    def resume_reading(self):
        """End ``stop_reading``."""
        self._transport.resume_reading()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        await self.aclose()

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        try:
            body = self.response.feed(data)
            self.coded += len(body)
            body = self._decoded(body, self.response)
        except (AssertionError, ValueError, zlib.error) as error:
            self.error = error
            self._transport.abort()
            return
        self.raw += body
        self.events += self.decoder.feed(body)
        self._changed.set()

    def connection_lost(self, exc):
        self._lost.set()
        self.error = self.error or exc
        self.response.end()
        self._changed.set()

    async def _wait(self, condition, timeout, what):
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    if self.over:
                        raise StreamEndedError(f"the stream ended before {what}: {self._state()}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"waited {timeout} s for {what}: {self._state()}") from None

    def _state(self):
        seen = f"status {self.status}, {len(self.events)} events, {self._taken} taken, error {self.error!r}"
        return f"{seen}, body ends {bytes(self.raw[-500:])!r}"


class Answer(NamedTuple):
    """A whole response."""

    status: int
    headers: list
    body: bytes

    def header(self, name):
        """The one value of a header, or None; fails when it is repeated."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) < 2, f"{name} is sent {len(values)} times: {values}"
        return values[0] if values else None


async def get(url, *, method="GET", timeout=10, **options):
    """One request and its whole response; options are those of ``StreamClient.connect``."""
    async with await StreamClient.connect(url, method=method, timeout=timeout, **options) as client:
        await client.ended(timeout)
        assert client.response.complete, f"the response was cut short: {client._state()}"
        return Answer(client.status, client.headers, bytes(client.raw))


def _request(parts, method, headers, cookies, last_event_id, body):
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    given = {name.lower() for name, _ in pairs}
    if "host" not in given:
        pairs.insert(0, ("Host", parts.netloc.rpartition("@")[2]))
    if "accept" not in given:
        pairs.append(("Accept", "text/event-stream"))
    if cookies:
        pairs.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
    if last_event_id is not None:
        pairs.append(("Last-Event-ID", last_event_id))
    if body is not None:
        pairs.append(("Content-Length", str(len(body))))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs), "", ""]
    # Browsers send a Last-Event-ID as UTF-8; everything else here is ASCII.
    return "\r\n".join(lines).encode() + (body or b"")


async def _open(parts, unix, receive_buffer, source):
    if unix is not None:
        family, address = socket.AF_UNIX, str(unix)
    else:
        family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
        address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
