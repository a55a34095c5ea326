"""Both publishers, and who listens to what they publish."""

import asyncio
import contextlib
import threading

import pytest

from servers.sse import Decoder
from sse_edge import Publisher, SyncPublisher


class Listener:
    """A receiver that keeps what it hears, on its own thread only."""

    def __init__(self):
        self._thread = threading.get_ident()
        self.heard = []
        self._changed = asyncio.Event()

    def deliver(self, channel, id, frame, except_user=None):
        assert threading.get_ident() == self._thread
        self.heard.append((channel, id, frame))
        self._changed.set()

    def flush(self):
        pass

    def reset(self, reset):
        raise AssertionError(f"nothing was lost, but {reset}")

    async def wait(self, count):
        """Wait for ``count`` events in all: (channel, name, data, id as in the stream) of each."""
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.events

    @property
    def events(self):
        seen = []
        for channel, _, frame in self.heard:
            (event,) = Decoder().feed(frame)
            seen.append((channel, *event))
        return seen


class InThread:
    """A SyncPublisher whose calls run in a thread, with Publisher's face."""

    def __init__(self, backend):
        self._publisher = SyncPublisher(backend)

    def __getattr__(self, name):
        method = getattr(self._publisher, name)

        async def call(*args, **options):
            return await asyncio.to_thread(method, *args, **options)

        return call


async def after_a_last_event(publisher, listener):
    """Publish one more event, and return everything heard up to it."""
    id = await publisher.publish("c", "last")
    async with asyncio.timeout(10):
        while not listener.heard or listener.events[-1][3] != id:
            await listener.wait(len(listener.heard) + 1)
    return listener.events


# ---- Redis away

PUBLISHERS = pytest.mark.parametrize("kind", [Publisher, InThread], ids=["async", "sync"])


@contextlib.asynccontextmanager
async def listeners():
    """``await listen(backend, *channels)``: a Listener and its subscriber, on a backend of this process."""
    subscribers = []

    async def listen(backend, *channels):
        listener = Listener()
        subscribers.append(backend.subscriber(listener))
        await subscribers[-1].start()
        await subscribers[-1].subscribe(channels)
        return listener, subscribers[-1]

    yield listen
    for subscriber in subscribers:
        await subscriber.close()
