"""One client over all of its connections, as patient as a browser.

It waits what ``retry:`` told it, comes back with its Last-Event-ID, and gives up for good on any status but
200, as an EventSource does.  What it gets goes into a record of the checker.
"""

import errno
import json
import random
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from .. import checker
from .loop import Loop, Socket
from .tally import Tally, rounded
from .target import Target
from .wire import Block, WireError, read_chunks, read_fresh, read_head, read_text

RETRY_MS = 3000  # what browsers wait that were told nothing


class Secured:
    """A non-blocking socket under TLS, as small as OpenSSL allows.

    Not an ``ssl.SSLSocket``: gevent replaces that class under Python's own ``wrap_socket``.  What this
    calls is what that one calls.  Raises ssl.SSLWantReadError where there is nothing yet, and another
    ssl.SSLError at the end.
    """

    __slots__ = ("close", "do_handshake", "fileno", "recv", "send", "setsockopt")

    def __init__(self, context: Any, plain: Any, name: str) -> None:
        tls = context._wrap_socket(plain, False, name)
        self.do_handshake, self.recv, self.send = tls.do_handshake, tls.read, tls.write
        self.setsockopt, self.fileno, self.close = plain.setsockopt, plain.fileno, plain.close


class State(IntEnum):
    """How far a client is."""

    WAITING = 0  # for its first turn, or for what ``retry:`` said
    CONNECTING = 1
    ASKING = 2  # for the response's head
    GREETED = 3  # for its place in the stream
    LIVE = 4
    OVER = 5  # it left, or has given up


@dataclass(slots=True, eq=False)
class Stream:
    """One client; ``number`` says who it is and where it comes from.  ``opened`` is called when it is live,
    and ``closed`` when its connection is over, whether it comes back or not.

    An intruder is one with a ``pause``: it waits that long, more or less, whatever it was told, and may have
    another's ``user`` and ``source``.
    """

    number: int
    target: Target
    loop: Loop
    tally: Tally
    opened: Callable[["Stream", float], None]
    closed: Callable[["Stream"], None]
    user: str = ""
    source: str | None = None
    pause: float | None = None
    record: checker.Client = field(default_factory=checker.Client)
    """What it got of the channels that its owner has it listen to."""
    last_id: str = ""
    retry_ms: int = field(default_factory=lambda: RETRY_MS)
    socket: Any = None
    state: State = State.WAITING
    stuck: bool = False
    _began: float = 0.0
    _gone: float = 0.0
    _chunk: bytes = b""
    _text: bytes = b""
    _length: float | None = None  # what is to come of a body without chunks
    _goodbye: str = ""

    def __post_init__(self) -> None:
        self.user = self.user or self.target.user(self.number)
        self.source = self.source or self.target.source(self.number)

    def ready(self) -> None:
        """Its turn has come, or the kernel has something for it."""
        state = self.state
        try:
            if state == State.WAITING:
                self._connect()
            elif state == State.CONNECTING:
                self._ask()
            elif state < State.OVER:
                self._read()
        except WireError as error:
            self._close("errors", f"no stream: {error}")
        except ssl.SSLError as error:  # its errno is OpenSSL's own
            self._close("errors", f"TLS: {error.reason or type(error).__name__}")
        except OSError as error:
            self._close("errors", errno.errorcode.get(error.errno or 0, type(error).__name__))
        except Exception as error:  # noqa: BLE001 - whatever a server sends ends this stream, and no other
            self._close("errors", f"no stream: {type(error).__name__}: {error}"[:200])

    def _connect(self) -> None:
        now = time.time()
        second = self.tally.second(now)
        second.attempts += 1
        if self._gone:
            second.reconnects += 1
        self.state = State.CONNECTING
        self._began = now
        self._chunk = self._text = b""
        self._length, self._goodbye = None, ""
        connection = self.socket = Socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        if self.target.receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.target.receive_buffer)
        if self.source is not None:
            connection.bind((self.source, 0))
        error = connection.connect_ex(self.target.address(self.number))
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, "cannot connect")
        if self.target.context is not None:
            self.socket = Secured(self.target.context, connection, self.target.host)
        self._watch(writing=True)

    def _ask(self) -> None:
        """Send the request once there is a connection; if there is none, that says so."""
        if self.target.context is not None:
            try:
                self.socket.do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as wanted:
                self._watch(writing=isinstance(wanted, ssl.SSLWantWriteError))
                return
        now = time.time()
        # A request is small, and the socket's buffer empty.
        self.socket.send(self.target.request(self.number, self.user, self.last_id))
        self.tally.second(now).connect[rounded(now - self._began)] += 1
        self.state = State.ASKING
        self._watch()

    def _watch(self, *, writing: bool = False) -> None:
        self.loop.watch(self.socket.fileno(), self.ready, writing=writing)

    def _read(self) -> None:
        try:
            # No less than a TLS record, so that none is left where ``epoll`` does not look.
            data = self.socket.recv(17_000)
        except (ssl.SSLWantReadError, BlockingIOError):
            return  # what came was TLS's own
        except OSError:  # also where TLS ends
            data = b""
        if not data:
            self._ended()
            return
        if self.state == State.ASKING:
            self._chunk += data
            found = read_head(self._chunk)
            if found is None:
                return
            head, data = found
            self._chunk = b""
            now = time.time()
            self.tally.second(now).first_byte[rounded(now - self._began)] += 1
            if head.status != 200:
                self._close("refusals", f"status {head.status}", comes_back=False)
                return
            self.state = State.GREETED
            self._length = head.length
        if self._length is not None:
            self._length -= len(data)
            over = self._length <= 0
            piece = read_text(self._text + data + (b"\n\n" if over else b""), over=over)
        else:
            read = read_chunks if self._chunk or self._text else read_fresh
            piece = read(self._chunk + data, self._text)
        self._chunk, self._text = piece.chunk, piece.text
        if piece.kept and self.state == State.LIVE:
            self.tally.second(time.time()).kept += piece.kept
        for block in piece.blocks:
            self._take(block)
        if piece.over:
            self._ended(whole=True)

    def _take(self, block: Block) -> None:
        if block.retry_ms is not None:
            self.retry_ms = block.retry_ms
        if block.id:
            self.last_id = block.id
        payload = block.payload
        if payload is not None:
            self._event(payload)
        elif block.data is not None and block.event != "message":
            self._told(block)
        if block.id and self.state == State.GREETED:
            self._live()

    def _event(self, payload: tuple[str, int, float]) -> None:
        channel, n, at = payload
        now = time.time()
        second = self.tally.second(now)
        second.events += 1
        # What was published before this connection began, the client was away for.
        if at >= self._began:
            second.latency[rounded(now - at)] += 1
        if channel in self.record.ears:
            try:
                self.record.event(channel, n, self.last_id)
            except ValueError as error:
                raise WireError(f"no event id: {self.last_id!r}") from error

    def _told(self, block: Block) -> None:
        """What the edge itself says."""
        try:
            said = json.loads(block.data or "")
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        if block.event == "edge-reset":
            channel = said.get("channel")
            if channel in self.record.ears:
                self.record.reset(channel, str(said.get("reason")), time.time())
        elif block.event == "edge-close":
            self._goodbye = str(said.get("reason"))
        elif block.event == "edge-refused":
            self._goodbye = "refused"
            self.tally.second(time.time()).refusals[str(said.get("error"))] += 1

    def _live(self) -> None:
        now = time.time()
        second = self.tally.second(now)
        second.opened += 1
        self.tally.streams += 1
        if self._gone:
            second.away[rounded(now - self._gone)] += 1
            self._gone = 0.0
        self.state = State.LIVE
        self.opened(self, now)

    def _ended(self, *, whole: bool = False) -> None:
        """The response is over, or was cut off."""
        if self.state == State.LIVE:
            self._close("endings", self._goodbye or ("end" if whole else "cut"))
        elif self._goodbye == "refused":
            self._close()
        elif whole:  # a proxy that cannot reach the app says 200 and a retry: and no more
            self._close("refusals", "proxy")
        else:
            self._close("errors", "closed before it was live")

    def _close(self, what: str = "", code: str = "", *, comes_back: bool = True) -> None:
        """Let the connection go; it is counted under ``code`` of what happens in a second."""
        if what:
            getattr(self.tally.second(time.time()), what)[code] += 1
        if self.state == State.LIVE:
            self.tally.streams -= 1
        if self.socket is not None:
            self.loop.forget(self.socket.fileno())
            self.socket.close()
            self.socket = None
        self.state = State.WAITING if comes_back else State.OVER
        if self.last_id:  # it was live before
            self._gone = self._gone or time.time()
        self.record.reconnected()
        if comes_back:
            self.loop.after(self.wait, self.ready)
        self.closed(self)

    @property
    def wait(self) -> float:
        """Seconds until it tries again."""
        return self.retry_ms / 1000 if self.pause is None else self.pause * random.uniform(0.5, 1.5)

    def drop(self) -> None:
        """Lose the connection, as when the network fails; it comes back by itself."""
        if self.state == State.LIVE:
            self._close("endings", "dropped")
        elif self.socket is not None:
            self._close()

    def leave(self) -> None:
        """Go for good: nothing is owed to it that it does not have."""
        self.record.leave()
        if self.socket is not None:
            self._close(comes_back=False)
        self.state = State.OVER

    def stall(self) -> None:
        """Stop reading."""
        self.stuck = True
        if self.socket is not None:
            # What it does not take waits at the server's side.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            self.loop.forget(self.socket.fileno())

    def wake(self) -> None:
        """Read again; what was published before is no measure of how quick the servers are."""
        self.stuck = False
        self._began = time.time()
        if self.socket is not None:
            self._watch()
