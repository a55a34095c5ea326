"""Parts for tests of the delivery wing: a sink that keeps what it is given, a subscriber on strings."""

import asyncio
from types import MappingProxyType

from sse_edge.backends.base import NO_FIRST, Hearing, Replay
from sse_edge.delivery.backlog import Bounds
from sse_edge.delivery.hub import Hub
from sse_edge.delivery.lifetime import Lifetime
from sse_edge.event import EventId, Place

TAG = "abcde"


def at(n):
    """The n-th event's id."""
    return EventId(1000, n)


def place(n, tag=TAG):
    """The place of the n-th event, as clients see it."""
    return Place(at(n), tag)


def frame(n, channel="c"):
    """The n-th event's bytes."""
    return place(n).line() + b"data: %s%d\n\n" % (channel.encode(), n)


async def settle():
    """Let the flush loop run dry."""
    for _ in range(20):
        await asyncio.sleep(0)


class ListSink:
    """Keeps what is written; ``stuck`` counts all of it as unsent, otherwise ``lag`` bytes are."""

    def __init__(self, stuck=False):
        self.writes = []
        self.stuck = stuck
        self.lag = 0
        self.finished = self.aborted = False

    @property
    def unsent(self):
        return sum(map(len, self.writes)) if self.stuck else self.lag

    @property
    def data(self):
        return b"".join(self.writes)

    def write(self, data, chunk=None):
        self.writes.append(data)
        return self.unsent

    def when_ready(self, then):
        self.then = then
        if not self.stuck:
            asyncio.get_running_loop().call_soon(then)

    def finish(self, data):
        self.writes.append(data)
        self.finished = True

    def abort(self):
        self.writes.clear()
        self.aborted = True


class ScriptedBackend:
    """A backend whose subscriber answers as it is told."""

    def __init__(self):
        self.answers = Replay([], [], place(0))
        self.position = place(0)
        self.refused = None
        self.connected = True
        self.counted = []
        self.fail = None
        self.before_replay = lambda: None
        self.asked = []
        self.age = lambda channel, id: 0.01
        self.over, self.over_channels = place(0), set()

    hearing = Hearing()

    dropped = MappingProxyType({})

    def measure(self, channel, id, then):
        age = self.age(channel, id)
        if age is not None:
            then(age)

    def subscriber(self, receiver):
        self.receiver = receiver
        return self

    async def start(self):
        pass

    async def close(self):
        pass

    def want(self, channels):
        self.counted.extend(channels)

    async def subscribe(self, channels):
        if self.fail:
            raise self.fail
        self.counted.extend(channels)
        return self.position

    def unsubscribe(self, channels):
        for channel in channels:
            self.counted.remove(channel)

    def finished(self, channels):
        return self.over if self.over_channels.issuperset(channels) else None

    async def replay(self, channels, after, first=NO_FIRST, user=None):
        self.asked.append((tuple(channels), after, dict(first)))
        self.before_replay()
        if self.fail:
            raise self.fail
        return self.answers


async def make_hub(backend, *, max_unsent=1000, max_unsent_age=None, chance=lambda: 0.5, **times):
    """A started hub on a scripted backend."""
    hub = Hub(backend, Lifetime(**times), bounds=Bounds(max_unsent, max_unsent_age), chance=chance)
    await hub.start()
    backend.counted.clear()  # the control channel
    return hub


async def join(
    hub,
    *channels,
    sink=None,
    after=None,
    first=NO_FIRST,
    remaining=None,
    live=True,
    user=None,
    compress=False,
):
    """A stream that is subscribed, and live unless told otherwise."""
    stream = hub.new_stream(channels or ("c",), sink or ListSink(), remaining, user, None, compress=compress)
    await hub.subscribe(stream)
    if live:
        await hub.catch_up(stream, after, first)
    return stream


BIG = b"data: " + b"x" * 100_000 + b"\n\n"
"""An event; a piece has room for two."""
