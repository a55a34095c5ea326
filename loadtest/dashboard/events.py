"""What happens while the dashboard is recorded."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random

from redis.asyncio import Redis

from sse_edge import Publisher
from sse_edge.errors import EdgeError

from .crowd import AWAY, Crowd
from .site import Servers

ROOMS, SYMBOLS = 4, 3

ELSEWHERE = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}

STRANGER = "of somebody else"
"""No token of ours."""


def path(number: int) -> str:
    """What a client of this number hears: half of them a room, a third prices, the rest its own."""
    if number % 2:
        return f"/events/rooms/{number % ROOMS}"
    return f"/events/prices/{number // 2 % SYMBOLS}" if number % 3 else "/events/me"


async def publish(site: Servers, crowd: Crowd, every: float) -> None:
    """Events for rooms and prices, and some over HTTP, until cancelled; those that find no Redis are lost."""
    async with Publisher(site.redis) as publisher:
        for number in itertools.count():
            channel = f"room:{number % ROOMS}" if number % 3 else f"price:{number // 3 % SYMBOLS}"
            with contextlib.suppress(EdgeError, *AWAY):
                await publisher.publish(channel, "x" * random.randrange(20, 400))
                if number % 5 == 0:
                    await crowd.publish(f"user:u{number % 60}", "for you")
            await asyncio.sleep(every)


async def refused(crowd: Crowd) -> None:
    """Requests that are refused, each for a reason of its own, and a poll that is answered."""
    asked = [
        crowd.ask("/events/me", headers={"Cookie": ""}),
        crowd.ask("/events/me", headers=ELSEWHERE),
        crowd.ask("/events/nowhere"),
        crowd.ask("/events/me", method="DELETE"),
        crowd.publish("room:1", "no", token=STRANGER),
        crowd.ask("/events/me?poll", 9),
    ]
    await asyncio.gather(*asked, return_exceptions=True)


async def asleep(site: Servers, crowd: Crowd, count: int, seconds: float) -> None:
    """So many clients of a room of their own that do not read what comes there, and it is much."""
    async with Publisher(site.redis) as publisher, asyncio.TaskGroup() as group:
        group.create_task(crowd.doze(count, "/events/rooms/asleep", seconds))
        for _ in range(int(seconds * 10)):
            await publisher.publish("room:asleep", "z" * 20_000)
            await asyncio.sleep(0.1)


async def dropped(site: Servers) -> None:
    """A message on Redis that is no event."""
    async with Redis.from_url(site.redis) as client:
        await client.publish("sse:room:1", b"[1]")
