"""Each promise, tried on a server that runs ``apps.surveyed``: a word for each, a cell of the table."""

import asyncio
import contextlib
import json
import signal
import time

from apps.surveyed import STOPPED
from loadtest.measure.process import rss
from servers.sse import get

from .listener import Held, Listener

SOON = 3
"""Seconds for what is to happen at once."""

PUBLISHED = 24
"""MB that are published at most for a client that does not read; the kernel takes about six of them."""

GROWN = 8
"""MB that a server may take meanwhile."""

NAMES = (
    "stream",
    "client leaves",
    "caps",
    "maximum duration",
    "client does not read",
    "lifespan",
    "drain at SIGTERM",
    "exit",
    "drain when recycled",
)


class Site:
    """A server, and how it is asked."""

    def __init__(self, process, http2):
        self.process = process
        self.url = process.url
        self.http2 = http2

    async def listen(self, user, path="/events/me", **options):
        """A stream that has begun, or a refusal."""
        return await Listener.open(f"{self.url}{path}", user, http2=self.http2, **options)

    async def figures(self):
        """What the edge says of itself."""
        return json.loads((await get(f"{self.url}/figures")).body)

    async def soon(self, condition, seconds=SOON):
        """Whether it holds within so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition(await self.figures()):
                return True
            await asyncio.sleep(0.05)
        return False


def _yes(holds):
    return "yes" if holds else "**no**"


async def stream(site):
    """An event arrives on a stream that is open."""
    async with await site.listen("stream") as listener:
        begun = await listener.hears("stream open")
        await get(f"{site.url}/publish/news/17")
        return _yes(begun and await listener.hears(f"data: {'x' * 17}\n\n"))


async def client_leaves(site):
    """A client that leaves a silent stream is noticed, and nothing is left of it."""
    gone = (await site.figures())["endings"].get("client-gone", 0)
    client = await Held.open(site.process.port, "leaves", http2=site.http2)
    client.leave()
    seen = await site.soon(lambda figures: figures["endings"].get("client-gone", 0) > gone)
    client.abort()
    return _yes(seen)


async def caps(site):
    """A user's second stream is refused, and let in once the first is gone."""
    async with await site.listen("capped") as first:
        await first.hears("stream open")
        async with await site.listen("capped") as second:
            refused = await second.hears("user-limit")
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        async with await site.listen("capped") as third:
            if await third.hears("stream open"):
                return _yes(refused)
        await asyncio.sleep(0.05)
    return _yes(False)


async def maximum_duration(site):
    """A stream is told that its time is over, and ends in good order."""
    async with await site.listen("brief", "/brief/me") as listener:
        return _yes(await listener.hears('"reason": "max-duration"') and await listener.ends())


async def client_does_not_read(site):
    """Its stream ends as slow, and the server's memory has not grown by what was published."""
    async with await site.listen("stuck", "/events/loud", buffer=4096):
        figures = await site.figures()
        pid, before = figures["pid"], rss(figures["pid"])
        for _ in range(4 * PUBLISHED):
            await get(f"{site.url}/publish/loud/250000")
            if (await site.figures())["endings"].get("slow"):
                break
        ended = await site.soon(lambda figures: figures["endings"].get("slow"))
        grown = (rss(pid) - before) / 1e6
    return _yes(ended) if grown < GROWN else f"{_yes(ended)}, **memory grows**"


async def lifespan(site):
    """The application's own start-up has run."""
    return "yes" if (await site.figures())["started"] else "has none"


async def end(site):
    """SIGTERM with a stream open: whether it is told, and how the process ends."""
    async with await site.listen("last") as listener:
        await listener.hears("stream open")
        site.process.signal(signal.SIGTERM)
        told = await listener.hears('"reason": "drain"') and await listener.ends()
    began = time.monotonic()
    code = await site.process.exited(20)
    late = "" if time.monotonic() - began < SOON else ", **late**"
    return _yes(told), ("SIGTERM" if code == -signal.SIGTERM else str(code)) + late


async def recycling(site, how):
    """A server that replaces its worker tells that one's streams."""
    async with await site.listen("last") as listener:
        await listener.hears("stream open")
        told = asyncio.create_task(listener.hears('"reason": "drain"'))
        if isinstance(how, signal.Signals):
            site.process.signal(how)
        while not told.done():
            if not isinstance(how, signal.Signals):
                with contextlib.suppress(OSError, AssertionError):  # it is not there for a moment
                    await get(f"{site.url}/figures")
            await asyncio.sleep(0.02)
        return _yes(await told and await listener.ends())


async def survey(row, serve_app, **options):
    """All cells of a row; afterwards its servers have ended, or may."""
    site = Site(row.start(serve_app, **options), row.http2)
    cells = {"stream": await stream(site), "client leaves": await client_leaves(site)}
    at_once = {
        "caps": caps,
        "maximum duration": maximum_duration,
        "client does not read": client_does_not_read,
    }
    answers = await asyncio.gather(*(promise(site) for promise in at_once.values()))
    cells.update(zip(at_once, answers, strict=True))
    cells["lifespan"] = await lifespan(site)
    cells["drain at SIGTERM"], cells["exit"] = await end(site)
    if cells["lifespan"] == "yes" and STOPPED not in site.process.log:
        cells["lifespan"] = "start-up only"
    cells["drain when recycled"] = "not offered"
    if row.recycling is not None:
        more = () if isinstance(row.recycling, signal.Signals) else row.recycling
        site = Site(row.start(serve_app, *more, **options), row.http2)
        cells["drain when recycled"] = await recycling(site, row.recycling)
    return {name: cells[name] for name in NAMES}
