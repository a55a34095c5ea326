"""What tests of writers write, and what came of it."""

import asyncio
from functools import partial

from parts import ears

PATIENCE = 20

until = partial(ears.until, timeout=PATIENCE)


async def told(events, channel="a"):
    """(name, data) of everything that history has of a channel."""
    return [(event.event, event.data) for event in await events.recent(channel, 100_000)]


async def text(events, channel="a"):
    return "".join(data for name, data in await told(events, channel) if name == "token")


async def pieces(*given, wait=0.0, closed=None):
    try:
        for piece in given:
            await asyncio.sleep(wait)
            yield piece
    finally:
        if closed is not None:
            await asyncio.sleep(0.02)
            closed.append(True)


async def forever(closed, first="x"):
    try:
        yield first
        while True:
            await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.05)
        closed.append(True)


class Closable:
    """An iterator that waits for ever, and notes that it is closed."""

    def __init__(self, closed):
        self._closed = closed

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(3600)

    async def aclose(self):
        self._closed.append(True)


async def until_told(events, piece, channel="a"):
    async with asyncio.timeout(PATIENCE):
        while piece not in await told(events, channel):
            await asyncio.sleep(0.01)
