"""While Redis is away: who is let in, refused or ended, and what is made up for when it is back."""

import asyncio
import json
import time

import pytest

from parts.delivery import ListSink, ScriptedBackend, make_hub
from parts.door import Until, answer, closed, cookie, decoded, eventually, said
from sse_edge import Limits, Publisher, RedisBackend
from sse_edge.outcome import CLIENT_GONE

SETTINGS = {"limits": Limits(per_user=None, per_ip=None, connects_per_ip=None)}
"""Of every edge here."""


async def test_accepted_while_redis_is_away(edge, asgi, proxy, redis_url):
    """With a cursor: the first bytes at once, and later exactly what follows it, in order and once."""
    proxy.refusing = True
    async with Publisher(redis_url) as async_publisher:
        ids = [await async_publisher.publish("news", f"before {n}") for n in range(3)]
        middleware = edge(backend=proxy.url, on_backend_down="accept")
        client = asgi(middleware, "/events/me", headers={**cookie(), "last-event-id": ids[0]})
        began = time.monotonic()
        await client.wait_for(b"retry: ")
        assert time.monotonic() - began < 0.5
        assert client.status == 200
        assert not middleware.ready
        ids += [await async_publisher.publish("user:u42", f"away {n}") for n in range(3)]
        assert said(client) == []
        proxy.refusing = False
        await client.wait_for(b"away 2")
        ids.append(await async_publisher.publish("news", "after"))
        await client.wait_for(b"after")
    assert [event.id for event in decoded(client)[1]] == ids[1:]


async def test_accepted_without_a_cursor(edge, listen, proxy, redis_url):
    """Without one: first a reset for each channel, as nobody knows what was missed, and then live."""
    proxy.refusing = True
    async with Publisher(redis_url) as async_publisher:
        await async_publisher.publish("news", "before")
        client = await listen(edge(backend=proxy.url, on_backend_down="accept"), live=False)
        await async_publisher.publish("news", "away")
        proxy.refusing = False
        await client.wait_for(b'news", "reason')
        await async_publisher.publish("news", "after")
        await client.wait_for(b"after")
    assert said(client) == [
        ("edge-reset", {"channel": "user:u42", "reason": "gap"}),
        ("edge-reset", {"channel": "news", "reason": "gap"}),
        ("message", "after"),
    ]


async def test_accepted_without_history(edge, listen, proxy, redis_url):
    """The same where nothing is numbered: what it missed cannot be named, and so is said."""
    proxy.refusing = True
    backend = RedisBackend(proxy.url, history=0)
    client = await listen(edge(backend=backend, on_backend_down="accept"), live=False)
    proxy.refusing = False
    await client.wait_for(b'news", "reason')
    async with Publisher(redis_url) as async_publisher:
        assert await async_publisher.publish("news", "after") == ""
    await client.wait_for(b"after")
    await backend.close()
    assert said(client) == [
        ("edge-reset", {"channel": "user:u42", "reason": "gap"}),
        ("edge-reset", {"channel": "news", "reason": "gap"}),
        ("message", "after"),
    ]


async def test_many_accepted(edge, listen, proxy, redis_url):
    """All that came while Redis was away hear everything once it is back."""
    proxy.refusing = True
    middleware = edge(backend=proxy.url, on_backend_down="accept")
    clients = [await listen(middleware, f"u{n}", live=False) for n in range(50)]
    proxy.refusing = False
    await asyncio.gather(*(client.wait_for(b"edge-reset") for client in clients))
    async with Publisher(redis_url) as async_publisher:
        await async_publisher.publish("news", "after")
    await asyncio.gather(*(client.wait_for(b"after") for client in clients))


@pytest.mark.parametrize("policy", ["accept", "refuse"])
async def test_redis_stands_still(edge, asgi, listen, proxy, redis_url, policy):
    """The policy holds also for as long as nobody has noticed that Redis does not answer."""
    middleware = edge(backend=RedisBackend(proxy.url, timeout=0.3), on_backend_down=policy, refusals="status")
    await listen(middleware, "first")
    proxy.stall(requests=True, replies=True)
    assert middleware.ready
    client = asgi(middleware, "/events/me", headers=cookie())
    if policy == "refuse":
        assert json.loads(await client.whole())["error"] == "backend-down"
        return
    await client.wait_for(b"stream open", 3)
    proxy.resume()
    async with Publisher(redis_url) as async_publisher:
        await client.wait_for(b"\nid: ")
        await async_publisher.publish("user:u42", "after")
        await client.wait_for(b"after")


async def test_refused_while_redis_is_away(edge, asgi, proxy):
    """The default is to refuse, and to say so in a way that an EventSource survives."""
    proxy.refusing = True
    middleware = edge(backend=RedisBackend(proxy.url, timeout=0.1))
    client = asgi(middleware, "/events/me", headers={**cookie(), "accept": "text/event-stream"})
    await client.whole()
    assert said(client)[0][1]["error"] == "backend-down"
    proxy.refusing = False
    await eventually(lambda: middleware.ready)
    assert await answer(asgi, middleware) == 200


async def test_no_stream_outlives_its_session(edge, asgi, url):
    """A stream ends with its session, long before its maximum duration."""
    client = asgi(edge(backend=url, auth=Until(0.4)), "/events/me")
    began = time.monotonic()
    await client.wait_for(b"stream open")
    await client.whole()
    assert 0.4 <= time.monotonic() - began + 0.01 <= 1
    assert said(client)[-1] == ("edge-close", {"reason": "session-expired"})


@pytest.mark.parametrize("end", ["expires", "leaves", "drain", "disconnect", "stop"])
async def test_ends_while_redis_is_away(edge, asgi, proxy, end):
    """A stream that still waits for Redis ends like any other, and nothing of it is left."""
    proxy.refusing = True
    auth = Until(0.3 if end == "expires" else 60)
    middleware = edge(backend=proxy.url, auth=auth, on_backend_down="accept")
    client = asgi(middleware, "/events/me")
    await client.wait_for(b"stream open")
    hub = middleware._worker.hub
    (stream,) = hub.streams
    if end == "leaves":
        client.disconnect()
        await client.ended()
    elif end == "disconnect":
        middleware.disconnect(user="u42")
        await closed(client, "revoked")
    elif end == "drain":
        await asyncio.gather(middleware.drain(0), closed(client, "drain"))
    elif end == "stop":
        await asyncio.gather(middleware.stop(), closed(client, "drain"))
    else:
        await closed(client, "session-expired")
    await eventually(stream.waiting.done)
    assert (hub.streams, hub._feeds, hub._clock._wheel._buckets) == (set(), {}, {})
    assert middleware._leases.count("user:u42") == 0


async def test_history_is_read_once_channels_are_heard():
    """An accepted stream asks for its history once its channels are heard: nothing falls between."""
    backend = ScriptedBackend()
    hub = await make_hub(backend)
    heard, steps = asyncio.Event(), []

    async def subscribe(channels):
        steps.append("subscribe")
        await heard.wait()
        backend.counted.extend(channels)
        steps.append("heard")

    backend.subscribe = subscribe
    backend.before_replay = lambda: steps.append("replay")
    stream = hub.new_stream(("c",), ListSink(), None, None, None)
    hub.adopt(stream)
    hub.catch_up_later(stream, None)
    for _ in range(5):
        await asyncio.sleep(0)
    assert steps == ["subscribe"]
    heard.set()
    await stream.waiting
    assert steps == ["subscribe", "heard", "replay"]
    assert backend.counted == ["c"]
    hub.close_stream(stream, CLIENT_GONE)
    assert backend.counted == []
    await hub.close()
