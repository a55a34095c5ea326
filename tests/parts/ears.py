"""What listens to a backend in tests, without a hub."""

import asyncio
import contextlib

from sse_edge.backends.base import Outgoing
from sse_edge.event import REOPENED, EventId, finishing

AHEAD = EventId(99_999_999_999_999, 1)
"""An id that no data set has come to."""


class Ear:
    """A receiver that keeps what it is given."""

    def __init__(self):
        self.heard = []
        self.resets = []
        self._changed = asyncio.Event()

    def deliver(self, channel, id, frame, except_user=None):
        self.heard.append((channel, id, frame))
        self._changed.set()

    def deliver_late(self, channel, id, frame, except_user=None):
        self.deliver(channel, id, frame)

    def reset(self, reset):
        self.resets.append(reset)
        self.heard += [(reset.channel, EventId(ms, n), frame) for ms, n, frame, *_ in reset.first]
        self._changed.set()

    def flush(self):
        pass

    async def until(self, condition, timeout=10):
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def wait(self, count):
        """Until ``count`` events were heard."""
        await self.until(lambda: len(self.heard) >= count)

    @property
    def data(self):
        return [_text(frame) for _, _, frame in self.heard]


def out(channel, text, key=None):
    """An event on its way to the backend."""
    return Outgoing(channel, b"data: %s\n\n" % str(text).encode(), key)


def end(channel, text, key=None):
    """Its channel's last event."""
    return Outgoing(channel, finishing(out(channel, text).body), key)


def reopening(channel):
    """What lets a finished channel go on."""
    return Outgoing(channel, REOPENED)


def said(replay):
    """The text of a replay's events."""
    return [_text(frame) for _, _, frame in replay.events]


def _text(frame):
    return frame.partition(b"data: ")[2].partition(b"\n")[0].strip().decode()


async def until(condition, timeout=10):
    """Wait for what nothing announces."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)


async def closed(subscriber):
    """Close it; when that hangs, end it by force, and fail instead of hanging the whole run."""
    closing = asyncio.create_task(subscriber.close())
    _, hangs = await asyncio.wait([closing], timeout=5)
    while hangs and not closing.done():
        for task in asyncio.all_tasks() - {asyncio.current_task(), closing}:
            task.cancel()
        await asyncio.wait([closing], timeout=0.1)
    assert not hangs, "close() hangs"


@contextlib.asynccontextmanager
async def listening(make, ear=Ear, *, connected=True):
    """``await begin(…)``: a backend as ``make(…)`` makes it, a subscriber, ``connected`` or not, its ear."""
    started = []

    async def begin(*given, **settings):
        backend, heard = make(*given, **settings), ear()
        subscriber = backend.subscriber(heard)
        await subscriber.start()
        started.append((backend, subscriber))
        if connected:
            await until(lambda: subscriber.connected)
        return backend, subscriber, heard

    yield begin
    for backend, subscriber in started:
        await closed(subscriber)
        await backend.close()
