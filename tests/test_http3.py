"""Streams over HTTP/3, which Caddy speaks with the shipped file: what holds over TCP holds there."""

import json

import pytest

from servers.http3 import http3
from servers.proxies import COOKIES, figures, until
from sse_edge import Publisher

KIND = pytest.mark.parametrize("kind", ["caddy", "new caddy"])
COOKIE = {"cookie": f"session={COOKIES['session']}"}


def placed(exchange):
    return bool(exchange.decoder.last_event_id)


@KIND
async def test_events_one_by_one(behind, redis_url, kind):
    """Each event comes as soon as it is published; the app sees that a client cancels, and that it closes."""
    site = behind(kind, apps=1, env={"KEEP_ALIVE": "3600"})
    async with http3(site) as client:
        exchanges = [client.ask("/events/me", COOKIE) for _ in range(3)]
        for exchange in exchanges:
            await exchange.until(placed)
            assert exchange.headers["content-type"] == "text/event-stream; charset=utf-8"
        async with Publisher(redis_url) as events:
            for number in range(5):
                await events.publish("news", str(number))
                for exchange in exchanges:
                    await exchange.until(lambda each, count=number + 1: len(each.events) == count)
                    assert exchange.events[-1].data == str(number)
        client.cancel(exchanges[0])

        async def cancelled():
            return (await figures(site.apps[0]))["endings"] == {"client-gone": 1}

        await until(cancelled)

    async def closed():
        return (await figures(site.apps[0]))["endings"] == {"client-gone": 3}

    await until(closed)


@KIND
async def test_who_may_and_who_may_not(behind, kind):
    """Cookie, Origin and caps are asked for as ever, by the client's own address; a slot is free at once."""
    env = {"PER_USER": "1", "REFUSALS": "status", "KEEP_ALIVE": "3600"}
    site = behind(kind, apps=1, env=env)
    foreign = {**COOKIE, "origin": "https://evil.example"}
    claimed = {**COOKIE, "x-forwarded-for": "203.0.113.9", "forwarded": "for=203.0.113.9"}
    async with http3(site) as client:

        async def refused(headers, authority="localhost"):
            exchange = await client.ask("/events/me", headers, authority=authority).until(
                lambda each: each.over
            )
            return exchange.status, json.loads(exchange.body)["error"] if exchange.body else None

        assert await refused({}) == (401, "unauthenticated")
        assert await refused(foreign) == (403, "origin")
        assert (await refused(COOKIE, "evil.example"))[0] == 421
        assert (await refused(COOKIE, "localhost:evil.example"))[0] == 421
        for _ in range(5):
            stream = await client.ask("/events/me", claimed).until(placed)
            assert await refused(COOKIE) == (429, "user-limit")
            client.cancel(stream)

            async def free():
                return (await figures(site.apps[0]))["streams"] == 0

            await until(free)
    assert "203.0.113" not in site.apps[0].log


@KIND
async def test_rapid_resets(behind, stream, redis_url, kind):
    """Streams that are asked for and cancelled in the same breath leave nothing, and others hear all."""
    site = behind(kind, apps=1, env={"KEEP_ALIVE": "3600"})
    neighbour = await stream(site)
    async with http3(site) as client, Publisher(redis_url) as events:
        for number in range(10):
            attempts = [client.ask("/events/me", COOKIE) for _ in range(50)]
            for attempt in attempts:
                client.cancel(attempt)
            for attempt in attempts:
                await attempt.until(lambda each: each.over)
            await events.publish("news", str(number))
            assert (await neighbour.next()).data == str(number)
        assert not (await client.ask("/events/me", COOKIE).until(placed)).over

    async def gone():
        return (await figures(site.apps[0]))["streams"] == 1

    await until(gone)
