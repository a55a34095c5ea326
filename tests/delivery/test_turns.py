"""A worker with 15,000 streams: whatever befalls all of them at once, the event loop goes on turning."""

import asyncio
import gc
import time

import pytest

from parts.delivery import at, frame, place
from parts.ears import end, reopening
from sse_edge import Anonymous, MemoryBackend, SSEMiddleware
from sse_edge.backends.base import CONTROL, Reset
from sse_edge.event import EventId
from sse_edge.outcome import CLIENT_GONE

STREAMS = 15_000
SESSIONS = 10_000
NEW = EventId(10**14, 1)
"""An id after all that the backend gave out."""

LONGEST = 0.02
"""Seconds of this thread's own time, whatever else the machine does."""


class Response:
    """Takes everything at once; when it is finished its stream is let go of, as its request would do."""

    __slots__ = ("hub", "stream")

    unsent = 0
    written = 0
    """By all of them."""

    def __init__(self, hub):
        self.hub = hub

    def write(self, data, chunk=None):
        Response.written += 1
        return 0

    def finish(self, data):
        asyncio.get_running_loop().call_soon(self.hub.close_stream, self.stream, CLIENT_GONE)

    abort = finish


@pytest.fixture(scope="module")
def crowd():
    """A middleware whose worker has so many streams, and its loop."""
    with asyncio.Runner() as runner:
        edge = SSEMiddleware(backend=MemoryBackend(), auth=Anonymous(), channels={"/events/c": "c"})
        runner.run(edge.start())
        yield runner, edge
        runner.run(edge.stop())


async def fill(hub):
    """Bring the worker up to its streams."""
    for number in range(len(hub.streams), STREAMS):
        sink = Response(hub)
        sink.stream = hub.new_stream(("c",), sink, None, f"u{number}", f"s{number}")
        await hub.subscribe(sink.stream)
        await hub.catch_up(sink.stream, None)


async def longest_turn(call, done):
    """The longest turn from ``call`` on until ``done()``, in seconds of this thread."""
    longest, last = 0.0, time.thread_time()
    call()
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now
    return longest


def publish(worker, event):
    worker._backend.wait(worker._backend.publish([event]))


async def tell(worker, told):
    told.append(await worker._tell())


def what_befalls(worker, what):
    """What to call, and what is so when it is over."""
    hub = worker.hub
    told = Response.written + STREAMS

    def all_told():
        return Response.written >= told

    match what:
        case "first event":
            return lambda: hub.deliver("c", NEW, frame(1)), all_told
        case "reset":
            return lambda: hub.reset(Reset("c", "trimmed", place(1))), all_told
        case "late":
            return lambda: hub.deliver_late("c", NEW, frame(1)), all_told
        case "disconnect":
            return lambda: worker.control.disconnect(channel="c"), lambda: not hub.streams
        case "told":
            for stream in hub.streams:
                stream.behind = 1
            told = []
            return lambda: worker._spawn(tell(worker, told)), lambda: told
        case "finished":
            return lambda: publish(worker, end("c", "last")), lambda: not hub.streams
    return lambda: hub.reset(Reset(CONTROL, "epoch", at(1))), lambda: len(hub.streams) == STREAMS - SESSIONS


@pytest.mark.parametrize(
    "what", ["first event", "told", "reset", "late", "revoked", "disconnect", "finished"]
)
def test_others_get_their_turn(crowd, what):
    """An event, a report, a reset, revoked sessions by the thousand, a disconnect, a last event: no turn is
    long."""
    runner, edge = crowd
    worker = edge._worker
    publish(worker, reopening("c"))

    async def whole():
        await fill(worker.hub)
        if what == "revoked":
            edge._backend._sessions._until |= {f"s{number}": time.time() + 60 for number in range(SESSIONS)}
        gc.collect()
        gc.disable()
        try:
            longest = await longest_turn(*what_befalls(worker, what))
        finally:
            gc.enable()
        assert longest < LONGEST

    runner.run(whole())
