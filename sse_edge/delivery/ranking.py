"""The channels with most streams, and the streams whose clients are furthest behind: looked for in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from itertools import islice
from typing import NamedTuple, TypeVar

from .census import StreamCensus
from .stream import Stream

PIECE = 500
"""Streams or channels looked at before other tasks get a turn."""

NOTEWORTHY, LARGE = 1.0, 65_536
"""Seconds, or bytes, that wait at least for a client that is behind: less is on its way to everybody."""

K = TypeVar("K")
T = TypeVar("T")


class Behind(NamedTuple):
    """For how many seconds something waits for a stream's client at least, and how many bytes do."""

    waits: float
    unsent: int
    stream: Stream


async def busiest(census: StreamCensus, most: int) -> list[tuple[str, int]]:
    """The channels with most streams, and how many those are."""
    channels, _ = census.everybody()

    def counted(some: Iterable[str]) -> Iterator[tuple[str, int]]:
        return ((channel, count) for channel in some if (count := census.count(channel)))

    return await _largest(dict.fromkeys(channels), counted, most, lambda one: one[1])


async def slowest(streams: Iterable[Stream], most: int, now: Callable[[], float]) -> list[Behind]:
    """The streams for which something has waited longest.  A client that does not read is found here within
    a keep-alive: until then nobody has seen that something waits for it in the kernel."""

    def behind(some: Iterable[Stream]) -> Iterator[Behind]:
        at = now()
        for stream in some:
            if (stream.behind or stream.queued or stream.backlog is not None) and stream.ending is None:
                one = _behind(stream, at)
                if one.waits >= NOTEWORTHY or one.unsent >= LARGE:
                    yield one

    return await _largest(list(streams), behind, most, lambda one: one[:2])


def _behind(stream: Stream, now: float) -> Behind:
    unsent = stream.sink.unsent + stream.queued
    if stream.backlog is None:
        return Behind(0.0, unsent, stream)
    return Behind(stream.backlog.waits(stream.size + stream.queued, unsent, now), unsent, stream)


async def _largest(
    everything: Iterable[K],
    of: Callable[[list[K]], Iterable[T]],
    most: int,
    key: Callable[[T], float | tuple[float, ...]],
) -> list[T]:
    """The largest, most first, of what there is ``of`` each piece."""
    largest: list[T] = []
    left = iter(everything)
    while some := list(islice(left, PIECE)):
        largest = nlargest(most, [*largest, *of(some)], key=key)
        await asyncio.sleep(0)
    return largest
