"""Requests as a browser makes them, and their answers byte by byte, with the time of each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from typing import Any, Self

import h11

from ..delivery.compression import HEAD, STORED_FIRST
from ..errors import EdgeError
from .target import Target

CHUNK = 65536

MOST = 4 << 20
"""Bytes of one answer that are read, as they come or decompressed; what is longer is never needed."""

MOST_PIECES = 65536
"""Pieces of one answer, likewise: a body may come in chunks of a byte."""

Headers = Sequence[tuple[str, str]]

BROWSER: Headers = (
    ("Accept", "text/event-stream"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Cache-Control", "no-cache"),
)
"""What an EventSource always sends."""

SAME_ORIGIN: Headers = (
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-Fetch-Dest", "empty"),
)
"""What it sends besides to its own origin, instead of Origin."""


H2C: Headers = (
    ("Connection", "Upgrade, HTTP2-Settings"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAMAAABkAAQAAP__"),  # SETTINGS: 100 streams, a window of 65,535
)
"""What asks a server to go on in HTTP/2 without TLS (RFC 7540, 3.2): no browser does."""


_BY_EDGE = HEAD + STORED_FIRST


class UnreachableError(EdgeError):
    """There was no conversation: no such name, no connection, no TLS, no HTTP."""


class CertificateError(UnreachableError):
    """There was none, because nobody vouches for who answers.  ``code`` is OpenSSL's, X509_V_ERR_…, and
    ``why`` are its words.
    """

    def __init__(self, where: str, code: int, why: str) -> None:
        super().__init__(f"{where}: its certificate is not trusted: {why}")
        self.code, self.why = code, why


class UnknownNameError(UnreachableError):
    """There was none, because who answers knows no site of this name."""


class End(Enum):
    """How far an answer has come."""

    OPEN = "open"
    CLEAN = "clean"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Heard:
    """One block of an event stream, and when its blank line arrived."""

    at: float
    event: str = ""
    data: str = ""
    id: str = ""
    retry: str = ""


class _Hearing:
    """Reads an event stream piece by piece, each of them once."""

    def __init__(self) -> None:
        self.blocks: list[Heard] = []
        self.retry: str | None = None
        self._pieces = 0
        self._line = bytearray()
        self._fields: dict[str, str] | None = None

    def take(self, pieces: Sequence[tuple[float, bytes]]) -> None:
        """What has come by now: all that was taken before, and more."""
        for at, data in pieces[self._pieces :]:
            first, *more = data.split(b"\n")
            self._line += first
            for line in more:
                self._end_line(at)
                self._line += line
        self._pieces = len(pieces)

    def _end_line(self, at: float) -> None:
        line = self._line.decode(errors="replace")
        self._line.clear()
        if not line:
            if self._fields is not None:
                self.blocks.append(Heard(at, **self._fields))
            self._fields = None
            return
        if self._fields is None:
            self._fields = {}
        name, _, value = line.partition(":")
        if name in ("event", "data", "id", "retry"):
            self._fields[name] = value.removeprefix(" ")
        if self.retry is None and line.startswith("retry:"):
            self.retry = value.strip()


@dataclass(slots=True)
class Answer:
    """An answer so far.  Times are seconds since the request was sent; ``head_at`` None: no head came.

    ``pieces`` of the body are as they came, but for what the edge itself compressed (``by_edge``).
    Nothing is read any more of an answer that is ``endless``.
    """

    status: int = 0
    headers: Headers = ()
    head_at: float | None = None
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    end: End = End.OPEN
    end_at: float = 0.0
    by_edge: bool = False
    asked: float = 0.0
    """When the request was sent, in Unix seconds by this machine's clock."""
    came: int = 0
    """Bytes that were read of it, with all that is around its body."""
    _size: int = 0
    _gzip: zlib._Decompress | None = None
    _hearing: _Hearing | None = None

    def take(self, at: float, data: bytes) -> None:
        """Another piece of the body has come.  What nobody can decompress cuts it off, as in a browser."""
        if not self.pieces and self.header("content-encoding") == "gzip" and data.startswith(_BY_EDGE):
            self.by_edge = True
            self._gzip = zlib.decompressobj(31)
        if self._gzip is not None:
            try:
                data = self._gzip.decompress(data, max(1, MOST + 1 - self._size))
            except zlib.error:
                self.by_edge, self._gzip = False, None  # the edge makes none like that
                self.end, self.end_at = End.CUT, at
        self._size += len(data)
        self.pieces.append((at, data))

    @property
    def endless(self) -> bool:
        """Whether more has come than is looked at."""
        return max(self.came, self._size) > MOST or len(self.pieces) > MOST_PIECES

    @property
    def coded(self) -> str:
        """The content coding that something in front of the edge gave it; "" if nothing did."""
        encoding = self.header("content-encoding")
        return "" if self.by_edge or encoding == "identity" else encoding

    def header(self, name: str) -> str:
        """A header's values, joined; "" if there is none."""
        return ", ".join(self.all(name))

    def all(self, name: str) -> list[str]:
        """Each value of a header."""
        return [value for key, value in self.headers if key == name.lower()]

    @property
    def body(self) -> bytes:
        """What came of the body."""
        return b"".join(data for _, data in self.pieces)

    @property
    def hearing(self) -> _Hearing:
        """The event stream in it, so far."""
        if self._hearing is None:
            self._hearing = _Hearing()
        self._hearing.take(self.pieces)
        return self._hearing

    @property
    def excerpt(self) -> str:
        """The body's beginning, in one line."""
        text = " ".join(self.body[:200].decode(errors="replace").split())
        return text[:120] or "no body"

    @property
    def by(self) -> str:
        """Who says it, to go behind what is said; "" if it does not say so."""
        return f" from {self.header('server')}" if self.header("server") else ""


class Connection:
    """One connection; ``async with`` ends it for certain.

    ``alpn``: the protocols that are offered in TLS; ``protocol`` is what the server chose.  ``source``: this
    end's address, if it matters.  Raises UnreachableError.
    """

    def __init__(
        self,
        target: Target,
        *,
        alpn: Sequence[str] = ("http/1.1",),
        source: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._target, self._alpn, self._timeout = target, alpn, timeout
        self._from = None if source is None else (source, 0)
        self._http = h11.Connection(h11.CLIENT)
        self._sent = 0.0
        self.answer = Answer()
        self.protocol: str | None = None
        self.local = False
        """Whether the other end is this machine."""
        self.source = ""
        """This end's address."""
        self.certificate: Mapping[str, Any] = {}
        """The other end's, where somebody vouches for it; see ``ssl.SSLSocket.getpeercert``."""

    async def __aenter__(self) -> Self:
        target, where = self._target, f"{self._target.host} port {self._target.port}"
        if target.context:
            target.context.set_alpn_protocols(list(self._alpn))
        try:
            async with asyncio.timeout(self._timeout):
                self._reader, self._writer = await asyncio.open_connection(
                    target.host,
                    target.port,
                    ssl=target.context,
                    server_hostname=target.name if target.context else None,
                    local_addr=self._from,
                )
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(where, error.verify_code, error.verify_message) from error
        except ssl.SSLError as error:
            said = error.reason or str(error)
            if "UNRECOGNIZED_NAME" in said:  # an alert of TLS's own (RFC 6066, 3)
                raise UnknownNameError(
                    f"{where}: there is TLS, but no site of the name {target.name}"
                ) from error
            raise UnreachableError(f"{where}: no TLS: {said}") from error
        except TimeoutError as error:
            raise UnreachableError(f"{where}: no connection within {self._timeout:g} s") from error
        except UnicodeError as error:
            raise UnreachableError(f"cannot reach {where}: no name has such a form") from error
        except OSError as error:
            code = error.errno or 0  # negative for names that do not resolve
            why = os.strerror(code) if code > 0 else error.strerror or str(error)
            raise UnreachableError(f"cannot reach {where}: {why}") from error
        secured = self._writer.get_extra_info("ssl_object")
        if secured is not None:
            self.protocol = secured.selected_alpn_protocol()
            self.certificate = secured.getpeercert() or {}
        self.source, theirs = (
            self._writer.get_extra_info(key)[0].partition("%")[0] for key in ("sockname", "peername")
        )
        self.local = self.source == theirs or ip_address(theirs).is_loopback
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def ask(self, headers: Headers, *, method: str = "GET", path: str | None = None) -> None:
        """Send a request; on a connection whose last answer was complete it is the next one."""
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        self.answer = Answer(asked=time.time())
        request = h11.Request(
            method=method,
            target=path or self._target.path,
            headers=[("Host", self._target.authority), *headers],
        )
        self._writer.write((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        self._sent = time.monotonic()
        with contextlib.suppress(OSError):  # read() will tell
            await self._writer.drain()

    async def read(self, seconds: float, until: Callable[[Answer], bool] = lambda _: False) -> Answer:
        """Read until ``until``, the end, as much as is looked at, or ``seconds`` from now.

        Raises UnreachableError for what is no HTTP.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.answer.end is End.OPEN and not self.answer.endless and not until(self.answer):
                    await self._next()
        begun = self._http.trailing_data[0]
        # A head may come byte by byte.
        if self.answer.head_at is None and not b"HTTP/".startswith(begun[:5]):
            raise UnreachableError("what answers is no HTTP/1.1: it begins otherwise")
        return self.answer

    @property
    def usable(self) -> bool:
        """Whether another request may follow on this connection."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    @property
    def now(self) -> float:
        """Seconds since the request was sent."""
        return time.monotonic() - self._sent

    async def _next(self) -> None:
        answer = self.answer
        try:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                try:
                    data = await self._reader.read(CHUNK)
                except OSError:
                    answer.end, answer.end_at = End.CUT, self.now
                    return
                answer.came += len(data)
                self._http.receive_data(data)
                return
        except h11.RemoteProtocolError as error:
            if answer.head_at is None and self._http.trailing_data[0]:
                raise UnreachableError(f"what answers is no HTTP/1.1: {error}") from error
            answer.end, answer.end_at = End.CUT, self.now
            return
        if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
            return
        if isinstance(event, h11.Response | h11.InformationalResponse):
            answer.status, answer.head_at = event.status_code, self.now
            answer.headers = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers
            ]
            if event.status_code == 101:  # nothing of HTTP/1.1 follows
                answer.end, answer.end_at = End.CLEAN, self.now
        elif isinstance(event, h11.Data):
            answer.take(self.now, bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            answer.end, answer.end_at = End.CLEAN, self.now
        elif isinstance(event, h11.ConnectionClosed):
            answer.end, answer.end_at = End.CUT, self.now


def told_retry(answer: Answer) -> str | None:
    """The first reconnection time that a stream has told so far, whether its block is complete or not."""
    return answer.hearing.retry


def heard(answer: Answer) -> list[Heard]:
    """The blocks of a stream so far; a comment is no block, and may be part of one."""
    return answer.hearing.blocks
