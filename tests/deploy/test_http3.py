"""Streams over HTTP/3, which Caddy speaks with the shipped file: what holds over TCP holds there.

With --heavy also nginx, as deploy/PROXIES.md says, from where NEW_NGINX says: it needs one that was built so.
"""

import json
import signal

import pytest

from servers.exchange import placed
from servers.http3 import http3
from servers.proxies import COOKIES, figures, until
from sse_edge import Publisher

CADDY = ["caddy", "new caddy"]
KIND = pytest.mark.parametrize("kind", [*CADDY, pytest.param("nginx http3", marks=pytest.mark.heavy)])
COOKIE = {"cookie": f"session={COOKIES['session']}"}


def seen_at_once(kind):
    """A setting of the app: nginx sees that a client has cancelled when it next writes to it."""
    return {"KEEP_ALIVE": "0.5" if "nginx" in kind else "3600"}


@KIND
async def test_events_one_by_one(behind, redis_url, kind):
    """Each event comes as soon as it is published; the app sees that a client cancels, and that it closes."""
    site = behind(kind, apps=1, env=seen_at_once(kind))
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
    env = {"PER_USER": "1", "REFUSALS": "status", **seen_at_once(kind)}
    site = behind(kind, apps=1, env=env)
    foreign = {**COOKIE, "origin": "https://evil.example"}
    own = f"localhost:{site.proxy.port}"
    claimed = {"x-forwarded-for": "203.0.113.9", "forwarded": "for=203.0.113.9"}
    claimed |= {**COOKIE, "origin": f"https://{own}"}
    async with http3(site) as client:

        async def refused(headers, authority="localhost"):
            exchange = await client.ask("/events/me", headers, authority=authority).until(
                lambda each: each.over
            )
            by_app = exchange.headers.get("content-type") == "application/json"
            return exchange.status, json.loads(exchange.body)["error"] if by_app else None

        assert await refused({}) == (401, "unauthenticated")
        assert await refused(foreign) == (403, "origin")
        assert (await refused(COOKIE, "evil.example"))[0] == 421
        strange = client.ask("/events/me", COOKIE, authority="localhost:evil.example")
        await strange.until(lambda each: each.over or each.body)
        # nginx 1.26 hears the name and no more of it, and that is what the app is told.
        assert strange.status in (400, 421) or "nginx" in kind
        if not strange.over:
            client.cancel(strange)

        async def free():
            return (await figures(site.apps[0]))["streams"] == 0

        await until(free)
        for _ in range(5):
            stream = await client.ask("/events/me", claimed, authority=own).until(placed)
            assert await refused(COOKIE) == (429, "user-limit")
            client.cancel(stream)
            await until(free)
    assert "203.0.113" not in site.apps[0].log
    assert "localhost:evil" not in site.apps[0].log


@pytest.mark.parametrize("kind", CADDY)
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


@KIND
async def test_a_restart_of_the_app(behind, serve_app, redis_url, kind):
    """A stream ends in good order, with a time to come back; who does too early is told another; and then it
    goes on from its place.
    """
    site = behind(kind, apps=1)
    async with http3(site) as client, Publisher(redis_url) as events:
        first = await client.ask("/events/me", COOKIE).until(placed)
        site.apps[0].signal(signal.SIGTERM)
        await first.until(lambda each: each.over)
        assert first.whole
        assert json.loads(first.events[-1].data) == {"reason": "drain"}
        assert first.decoder.retry > 0
        site.apps[0].wait()
        asking = {**COOKIE, "accept": "text/event-stream", "last-event-id": first.decoder.last_event_id}
        away = await client.ask("/events/me", asking).until(lambda each: each.over)
        assert (away.status, away.body[:7]) == (200, b"retry: ")
        for number in range(3):
            await events.publish("news", str(number))
        env = {"BACKEND": redis_url, "TRUSTED": "127.0.0.1/32"}
        site.apps[0] = serve_app("apps.edge:edge", env=env, port=site.apps[0].port)

        def heard(exchange):
            return [event.data for event in exchange.events if event.event == "message"]

        second = away
        while second.over:  # Caddy asks once a second who is there
            second = client.ask("/events/me", asking)
            await second.until(lambda each: each.over or len(heard(each)) == 3)
        assert heard(second) == ["0", "1", "2"]
