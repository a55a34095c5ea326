"""How streams through the door are kept alive, and how each of them ends."""

import asyncio
import json
import time

import pytest

from parts.door import NOTHING, Until, cookie, decoded, eventually, goodbye, holds
from sse_edge import Identity, Limits, MemoryBackend, Publisher
from sse_edge.errors import EventError
from sse_edge.event import Place


async def test_keep_alive(edge, asgi):
    """A quiet stream gets a comment within the setting, again and again, and no event."""
    client = asgi(edge(keep_alive=0.2), "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    started = time.monotonic()
    await eventually(lambda: client.body().count(b": keep-alive\n") == 3, "three keep-alives")
    assert 3 * 0.16 - 0.05 <= time.monotonic() - started <= 2
    assert decoded(client)[1] == []


async def test_no_keep_alive_on_a_busy_stream(edge, asgi):
    """A stream that gets events often enough gets no keep-alives, until it is quiet."""
    backend = MemoryBackend()
    async_publisher = Publisher(backend)
    client = asgi(edge(backend=backend, keep_alive=0.5), "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    for number in range(20):
        await async_publisher.publish("news", f"event {number}")
        await asyncio.sleep(0.05)
    assert b"keep-alive" not in client.body()
    await client.wait_for(b": keep-alive\n")
    assert len(decoded(client)[1]) == 20


async def test_keep_alive_moves_the_cursor(edge, asgi):
    """A keep-alive has the present place as its id, so that a quiet client need not resume from long ago."""
    backend = MemoryBackend()
    async_publisher = Publisher(backend)
    client = asgi(edge(backend=backend, keep_alive=0.1), "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    last = await async_publisher.publish("elsewhere", "x")
    await client.wait_for(b": keep-alive\nid: ")
    await client.wait_for(b": keep-alive\nid: ")
    commits = [Place.parse(id) for id in decoded(client)[0].commits]
    assert commits == sorted(commits)
    assert commits[-1] >= Place.parse(last)


async def test_max_duration(edge, asgi):
    """A stream ends by itself within 80 to 100 % of the maximum, each in its own time."""
    middleware = edge(max_duration=1.0, limits=Limits(per_user=None, connects_per_ip=None))
    clients = [asgi(middleware, "/events/me", headers=cookie()) for _ in range(20)]
    started = time.monotonic()
    lives, ends = set(), []

    async def last(client):
        await client.start()
        lives.update(stream.deadline - stream.opened for stream in middleware._worker.hub.streams)
        await client.whole()
        ends.append(time.monotonic() - started)

    await asyncio.gather(*(last(client) for client in clients))
    assert [goodbye(client) for client in clients] == [{"reason": "max-duration"}] * 20
    assert len(lives) == 20
    assert 0.8 <= min(lives) < max(lives) <= 1.0
    assert max(lives) - min(lives) > 0.05
    assert 0.8 <= min(ends) <= max(ends) <= 1.5  # a tick, and a slow machine
    assert holds(middleware) == NOTHING
    assert middleware.figures()["endings"] == {"max-duration": 20}


async def test_session_expires(edge, asgi):
    """A session that ends before the maximum duration ends its stream, at its own time."""
    middleware = edge(auth=Until(0.4), max_duration=60)
    client = asgi(middleware, "/events/me")
    started = time.monotonic()
    await client.start()
    await client.whole()
    assert 0.4 <= time.monotonic() - started + 0.01 <= 1.0
    assert goodbye(client) == {"reason": "session-expired"}
    assert middleware.figures()["endings"] == {"session-expired": 1}
    assert holds(middleware) == NOTHING


class Numbered:
    """An authenticator of an application's own, whose users are numbers."""

    def identify(self, request, now):
        return Identity(42, session=7)


async def test_users_that_are_numbers(edge, asgi):
    """They hear, are refused, ended and logged as their text is."""
    middleware = edge(auth=Numbered())
    refused = asgi(middleware, "/events/orders/1")
    await refused.whole()
    assert refused.status == 403
    client = asgi(middleware, "/events/me")
    await client.start()
    assert middleware.disconnect(user="42") == 1
    await client.whole()
    assert goodbye(client) == {"reason": "revoked"}
    assert holds(middleware) == NOTHING


async def test_cookie_expires(edge, asgi):
    """The stream of a signed cookie ends when the cookie does."""
    client = asgi(edge(), "/events/me", headers=cookie(now=time.time() - 86400 + 1.6))
    await client.start()
    await client.whole()
    assert goodbye(client) == {"reason": "session-expired"}


async def test_drain(edge, asgi, terminated):
    """When the process is to stop, open streams end as drained and new ones are refused."""
    middleware = edge()
    clients = [asgi(middleware, "/events/me", headers=cookie()) for _ in range(3)]
    for client in clients:
        await client.wait_for(b"\nid: ")
    await terminated(middleware)
    for client in clients:
        await client.whole()
    assert [goodbye(client) for client in clients] == [{"reason": "drain"}] * 3
    late = asgi(middleware, "/events/me", headers=cookie())
    assert json.loads(await late.whole())["error"] == "draining"
    assert holds(middleware) == NOTHING
    assert middleware.figures()["endings"] == {"drain": 3}


async def test_stop(edge, asgi, url):
    """``stop`` ends open streams as drained, and their slots are released."""
    middleware = edge(backend=url)
    client = asgi(middleware, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    hub = middleware._worker.hub
    await middleware.stop()
    await client.whole()
    assert goodbye(client) == {"reason": "drain"}
    assert hub.streams == set()
    assert middleware._leases.count("user:u42") == 0


@pytest.mark.parametrize("by", [{"user": "u42"}, {"channel": "user:u42"}])
async def test_disconnect(edge, asgi, url, async_publisher, by):
    """``disconnect`` ends a user's or a channel's streams as revoked, and nobody else's."""
    middleware = edge(backend=url)
    chosen = [asgi(middleware, "/events/me", headers=cookie()) for _ in range(2)]
    other = asgi(middleware, "/events/me", headers=cookie("u43"))
    for client in [*chosen, other]:
        await client.wait_for(b"\nid: ")
    assert middleware.disconnect(**by) == 2
    assert middleware.disconnect(user="nobody") == 0
    for client in chosen:
        await client.whole()
        assert goodbye(client) == {"reason": "revoked"}
    await async_publisher.publish("news", "still here")
    await other.wait_for(b"still here")
    assert middleware.figures()["endings"] == {"revoked": 2}
    assert middleware.figures()["streams"] == 1


async def test_disconnect_before_the_first_request(edge):
    """``disconnect`` with nothing open ends nothing; it needs exactly one of user and channel."""
    assert edge().disconnect(user="u42") == 0
    for wrong in ({}, {"user": "u", "channel": "c"}):
        with pytest.raises(EventError):
            edge().disconnect(**wrong)


async def test_pending_events_come_before_the_goodbye(edge, asgi):
    """What was published before an ending is sent before the goodbye."""
    backend = MemoryBackend()
    middleware = edge(backend=backend)
    client = asgi(middleware, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    await Publisher(backend).publish_many([("news", "1"), ("news", "2")])
    middleware.disconnect(user="u42")  # in the same turn of the loop, before anything was flushed
    await client.whole()
    assert [event.data for event in decoded(client)[1]] == ["1", "2", '{"reason": "revoked"}']


async def test_slow(edge, asgi):
    """A client that does not read ends as slow, without a goodbye, and the others notice nothing."""
    backend = MemoryBackend()
    async_publisher = Publisher(backend)
    middleware = edge(backend=backend, max_unsent=1000)
    slow, other = (asgi(middleware, "/events/me", headers=cookie(user)) for user in ("u42", "u43"))
    await slow.wait_for(b"\nid: ")
    await other.wait_for(b"\nid: ")
    slow.block_send()
    for number in range(4):
        await async_publisher.publish("news", f"{number} " + "x" * 600)
        await other.wait_for(b"data: %d " % number)
    await slow.ended()
    assert not slow.complete
    assert holds(middleware)["leases"][0] == 0
    assert middleware.figures()["endings"] == {"slow": 1}
    assert middleware.figures()["streams"] == 1


async def test_an_ending_nobody_reads(edge, asgi, monkeypatch):
    """A client that does not read its goodbye is let go of soon, and hears nothing in between."""
    monkeypatch.setattr("sse_edge.delivery.clock.GOODBYE", 0.2)
    backend = MemoryBackend()
    async_publisher = Publisher(backend)
    middleware = edge(backend=backend)
    client = asgi(middleware, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    client.block_send()
    await async_publisher.publish("news", "never read")
    (stream,) = middleware._worker.hub.streams
    assert middleware.disconnect(user="u42") == 1
    await async_publisher.publish("news", "too late")
    assert stream.sink.unsent < 300
    await client.ended()
    assert stream.pending is None
    assert middleware.figures()["endings"] == {"revoked": 1}
    assert holds(middleware) == NOTHING
