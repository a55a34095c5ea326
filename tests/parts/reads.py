"""A history that notes how it is read, and a channel that is heard."""

import asyncio

from sse_edge.backends.base import Numbered
from sse_edge.backends.log import Log
from sse_edge.backends.redis.channel import Channel
from sse_edge.backends.redis.history import Cut
from sse_edge.backends.retention import Retention
from sse_edge.event import ZERO, EventId


def at(n):
    return EventId(n, 1)


def event(n, size=10):
    """The event of the n-th millisecond; all frames are equally long."""
    return Numbered(at(n), (b"%d" % n).rjust(size, b"."))


class History:
    """A fake Redis: what it keeps per channel, and the ranges that were read.

    While ``open`` is cleared a read has taken its answer and does not give it.
    """

    def __init__(self):
        self.kept = {}
        self.now = 0
        self.reads = []
        self.fail = None
        self.open = asyncio.Event()
        self.open.set()

    def publish(self, name, n, size=10):
        self.now = n
        log = self.kept.setdefault(name, Log(ZERO, "epoch"))
        log.append(*event(n, size))
        return log.events[-1]

    async def read(self, asked):
        self.reads.append([(one.channel, one.newest or one.after.ms, one.upto.ms) for one in asked])
        logs = [self.answer(*one) for one in asked]
        cut = Cut(at(self.now), "abcde", "", logs)
        await self.open.wait()
        if self.fail:
            raise self.fail
        return cut

    def answer(self, name, after, upto, newest):
        kept = self.kept.get(name, Log(ZERO, "epoch"))
        log = Log(after, "trimmed") if kept.covers(after) else Log(kept.floor, kept.reason)
        for ms, n, frame in kept.since(after):
            if (ms, n) <= upto:
                log.append((ms, n), frame)
        log.whole = after == ZERO and (newest is None or log.count < newest)
        if newest is not None:
            log.trim(newest, 1_000_000)
        return log


def settled(name, floor=ZERO, keep=100):
    """A channel that has been heard since ``floor``."""
    ready = asyncio.get_running_loop().create_future()
    channel = Channel(name, name.encode(), ready, Retention(keep, 1000.0))
    channel.settle(floor)
    return channel


def hear(recent, channel, each):
    """An announcement arrives."""
    channel.head = each.id
    recent.append(channel, *each)
