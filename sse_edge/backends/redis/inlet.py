"""A pub/sub connection's bytes, read as they arrive."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any

from redis.exceptions import ConnectionError as LostError
from redis.exceptions import InvalidResponse, ResponseError

try:
    import hiredis
except ImportError:  # a system's own redis-py may come without
    hiredis = None  # type: ignore[assignment]

from ...logline import about

logger = logging.getLogger("sse_edge")

TURN = 24_576
"""Bytes taken before other tasks get a turn: 130 announcements of short events, which take 2 ms where each
is for a stream of its own (measured)."""

SLICE = 8192
"""Bytes decoded at a time: with more, hiredis moves what is left for every kilobyte that is taken."""

AT_ONCE = 200
"""Replies taken before other tasks get a turn, where redis-py reads them."""

_NOTHING = object()
_TRANSPORT = ("get_protocol", "set_protocol", "pause_reading", "resume_reading", "is_closing")


async def listen(connection: Any, take: Callable[[Any], None], rest: Callable[[], None]) -> None:
    """Call ``take`` with every reply of a redis-py ``connection`` on which nothing has been asked yet, and
    ``rest`` when nothing more has come for now.  Returns never; raises what redis and the network raise, and
    what ``take`` does.

    Connecting, and whatever is sent, stays redis-py's.  Its own way of reading takes two coroutines for each
    reply and one more turn of the loop for each read; it is taken where the connection is not as we know it.
    """
    inlet = _inlet(connection, take, rest)
    if inlet is None:
        await _listen(connection, take)
    else:
        try:
            await inlet.ended
        finally:
            inlet.close()


async def _listen(connection: Any, take: Callable[[Any], None]) -> None:
    while True:
        for _ in range(AT_ONCE):
            take(await connection.read_response())
        await asyncio.sleep(0)  # reading what is buffered already never suspends


def _inlet(connection: Any, take: Callable[[Any], None], rest: Callable[[], None]) -> Inlet | None:
    """What reads in place of redis-py; None where that cannot be done."""
    reader = getattr(connection, "_reader", None)
    transport: Any = getattr(getattr(connection, "_writer", None), "transport", None)
    if hiredis is None or not all(hasattr(transport, name) for name in _TRANSPORT) or reader is None:
        _tell()
        return None
    if transport.is_closing():
        raise LostError("the connection was lost")
    inlet = Inlet(transport, take, rest)
    # Nothing was asked for, but a server may say something all the same, or have closed the connection.
    early: Any = getattr(reader, "_buffer", None)
    if early:
        inlet.data_received(bytes(early))
        early.clear()
    if reader.at_eof():
        inlet.eof_received()
    return inlet


@functools.cache
def _tell() -> None:
    text = "announcements are read as redis-py reads them, one by one"
    logger.info(text, extra=about("read-one-by-one"))


class Inlet(asyncio.Protocol):
    """Stands in for the protocol of asyncio's streams on a connection that only listens: what one read
    brought is decoded and taken in the same turn, unless it is more than ``TURN``.

    ``ended`` is done, with the error, when the connection is over.  Nothing is taken after ``close``.
    """

    def __init__(self, transport: Any, take: Callable[[Any], None], rest: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._take = take
        self._rest = rest
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=ResponseError, notEnoughData=_NOTHING
        )
        self._data = b""
        self._at = 0
        self._transport = transport
        self._protocol = transport.get_protocol()  # the writer waits for it
        transport.set_protocol(self)

    def close(self) -> None:
        """Take no more."""
        self._end(None)
        if not self.ended.cancelled():
            self.ended.exception()  # seen, also where whoever waited was cancelled: asyncio would log it

    # What asyncio calls

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._data:  # some transports give what they have when they are to pause
            self._data += data
        elif not self.ended.done():
            self._data = data
            self._turn()

    def eof_received(self) -> None:
        """The server closed its side."""
        self._end(LostError("the server closed the connection"))

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._end(error or LostError("the connection was lost"))
        self._protocol.connection_lost(error)

    def pause_writing(self) -> None:
        """See asyncio."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._protocol.resume_writing()

    # Taking

    def _turn(self) -> None:
        """Take what came, or so much of it that others get a turn too."""
        data, at, upto = self._data, self._at, min(len(self._data), self._at + TURN)
        feed, gets, take = self._reader.feed, self._reader.gets, self._take
        try:
            while at < upto:
                size = min(SLICE, upto - at)
                feed(data, at, size)
                at += size
                while (reply := gets()) is not _NOTHING:
                    take(reply)
            self._rest()
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the session
            self._end(error)
            return
        if self.ended.done():
            return
        was_waiting, self._at = self._at, at
        if at < len(data):
            if not was_waiting:
                self._pause()
            self._loop.call_soon(self._turn)
            return
        self._data, self._at = b"", 0
        if was_waiting:
            self._resume()

    def _pause(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _end(self, error: Exception | None) -> None:
        self._data, self._at = b"", 0
        if self.ended.done():
            return
        if error is None:
            self.ended.cancel()
        else:
            self.ended.set_exception(error)
