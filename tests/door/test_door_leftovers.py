"""Nothing of a request is ever left behind, at whichever moment its client or its task goes."""

import asyncio
import json
import logging

import pytest

from parts.door import NOTHING, CancelledAt, cookie, decoded, eventually, goodbye, holds, may_read
from servers.asgi import ASGIClient
from sse_edge import Limits, MemoryBackend, Publisher, RedisBackend
from sse_edge.event import EventId, Place


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("repeats", [True, False])
async def test_client_gone(edge, asgi, url, spec_version, repeats):
    """When the client leaves, everything is released, however the server tells of it."""
    middleware = edge(backend=url)
    client = asgi(
        middleware, "/events/me", headers=cookie(), spec_version=spec_version, repeats_disconnect=repeats
    )
    await client.wait_for(b"\nid: ")
    assert middleware.figures()["streams"] == 1
    assert holds(middleware)["leases"] == [1, 1]
    client.disconnect()
    await client.ended()
    assert holds(middleware) == NOTHING
    assert middleware.figures()["endings"] == {"client-gone": 1}


async def test_client_gone_before_the_first_byte(edge, asgi, url):
    """A client that has left before it is answered leaves nothing behind."""
    middleware = edge(backend=url)
    for spec_version in ("2.3", "2.4"):
        client = asgi(middleware, "/events/me", headers=cookie(), spec_version=spec_version)
        client.disconnect()
        client.open()
        await client.ended()
        assert holds(middleware) == NOTHING


@pytest.mark.parametrize("after", range(1, 5))
@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("unable to perform operation")])
async def test_send_raises(edge, asgi, caplog, error, after):
    """A send that raises, at whatever point, is a client that has left: released, and no traceback."""
    caplog.set_level(logging.DEBUG)
    backend = MemoryBackend()
    middleware = edge(backend=backend)
    sends = 0

    async def app(scope, receive, send):
        async def failing(message):
            nonlocal sends
            sends += 1
            if sends >= after:
                raise error
            await send(message)

        await middleware(scope, receive, failing)

    client = asgi(app, "/events/me", headers=cookie()).open()
    while not client.task.done():
        await Publisher(backend).publish("news", "hello")
        await asyncio.sleep(0)
    await client.ended()
    assert sends == after
    assert holds(middleware) == NOTHING
    assert middleware.figures()["endings"] == {"client-gone": 1}
    assert [record for record in caplog.records if record.exc_info] == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_receive_raises(edge, asgi, caplog):
    """A receive that raises is a client that has left."""
    middleware = edge()
    leave = asyncio.Event()

    async def app(scope, receive, send):
        async def failing():
            await leave.wait()
            raise ConnectionResetError

        await middleware(scope, failing, send)

    client = asgi(app, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    leave.set()
    await client.ended()
    assert holds(middleware) == NOTHING
    assert middleware.figures()["endings"] == {"client-gone": 1}
    assert [record for record in caplog.records if record.exc_info] == []


ODD_REQUESTS = {
    "no headers": {"headers": []},
    "binary cookie": {"headers": [(b"cookie", b"session=\xff\x00\xfe; =; ;;=x")]},
    "long cookie": {"headers": [("cookie", "session=" + "x" * 60_000)]},
    "many cookies": {"headers": [("cookie", "session=a; " * 3000)]},
    "binary origin": {"headers": [(b"origin", b"\xff\x00://")]},
    "empty host": {"headers": [("host", "")]},
    "binary host": {"headers": [(b"host", b"\xff:\xff"), ("origin", "http://x")]},
    "binary cursor": {"headers": [(b"last-event-id", b"\xe2\x80\xa8-1")]},
    "superscript cursor": {"headers": [(b"last-event-id", "²-1".encode())]},
    "binary query": {"query": b"last_event_id=%ff%00&" * 300},
    "forwarded": {"headers": [("x-forwarded-for", "unknown, _obf, [::1, %00, 1.2.3.4.5")]},
    "no client": {"client": None},
    "odd client": {"client": ("not an address", "80")},
    "odd path": {"path": "/events/orders/\udcff\n\r\x00é"},
    "braces": {"path": "/events/orders/{user}"},
    "percent": {"path": "/events/orders/%(x)s%"},
    "long path": {"path": "/events/orders/" + "x" * 60_000},
    "odd method": {"method": "BREW\n"},
}


@pytest.mark.parametrize("name", ODD_REQUESTS)
async def test_client_faults_are_no_errors(edge, asgi, caplog, name):
    """No request, however odd, makes the app raise or log anything above info, or more than one line."""
    caplog.set_level(logging.DEBUG)
    middleware = edge(trusted_proxies=["127.0.0.0/8", "unix"])
    options = dict(ODD_REQUESTS[name])
    path = options.pop("path", "/events/me")
    client = ASGIClient(middleware, "/", **options)
    client.scope["path"] = path
    await client.whole()
    assert 400 <= client.status < 500
    assert json.loads(client.body())["error"]
    edges = [record for record in caplog.records if record.name.startswith("sse_edge")]
    assert [record for record in edges if record.exc_info or record.levelno > logging.INFO] == []
    assert all("\n" not in record.getMessage() and "\r" not in record.getMessage() for record in edges)
    assert len(edges) == 1


async def test_log_lines(edge, asgi, caplog):
    """One line per ending and per refusal, with its code."""
    caplog.set_level(logging.INFO, "sse_edge.access")
    middleware = edge()
    await asgi(middleware, "/events/me").whole()
    client = asgi(middleware, "/events/me", headers=cookie())
    await client.wait_for(b"\nid: ")
    client.disconnect()
    await client.ended()
    refused, ended = [record.getMessage() for record in caplog.records if record.name == "sse_edge.access"]
    assert '"GET /events/me" refused: unauthenticated' in refused
    assert '"GET /events/me" ended: client-gone after 0.0 s, 0 events' in ended
    assert ended.endswith("user=u42 address=127.0.0.1")


async def test_cancelled_at_every_await(edge, url, async_publisher):
    """A request that is cancelled at whichever of its awaits leaves nothing behind."""
    middleware = edge(backend=url, authorize=may_read, limits=Limits(1, 1, connects_per_ip=None))
    start = await async_publisher.cursor()
    assert not await cancelled_at(
        middleware, async_publisher, 0, start
    )  # after this one all that stays is there
    tasks = asyncio.all_tasks()
    n = 1
    while await cancelled_at(middleware, async_publisher, n, start):
        assert holds(middleware) == NOTHING, f"after a cancellation at the suspension no. {n}"
        await eventually(lambda: asyncio.all_tasks() <= tasks, f"tasks after a cancellation at no. {n}")
        n += 1
    assert holds(middleware) == NOTHING
    assert n > 6  # authorize, two sends, history, receive, more sends


async def cancelled_at(middleware, async_publisher, n, start):
    """One request (history, an event, an ending); whether it was cancelled at its ``n``-th suspension."""
    # A channel of its own each time, so that Redis has to be asked for it.
    headers = {**cookie(), "last-event-id": start}
    client = ASGIClient(middleware, f"/events/orders/{n}", headers=headers)

    async def send(message):
        await asyncio.sleep(0)
        await client._send(message)
        await asyncio.sleep(0)

    await async_publisher.publish(f"order:{n}", "history")
    request = CancelledAt(middleware(client.scope, client._receive, send), n)

    async def serve():
        return await request

    task = asyncio.ensure_future(serve())

    async def events():
        await client.wait_for(b"data: history")
        await async_publisher.publish(f"order:{n}", "live")
        await client.wait_for(b"data: live")
        middleware.disconnect(user="u42")

    client.task = task
    task.add_done_callback(client._done)
    script = asyncio.ensure_future(events())
    await asyncio.wait([task], timeout=10)
    assert task.done()
    script.cancel()
    await asyncio.wait([script])
    if not script.cancelled():
        script.exception()
    client.check()
    if not task.cancelled():
        assert task.exception() is None
        assert goodbye(client) == {"reason": "revoked"}
    return task.cancelled()


@pytest.mark.live
async def test_cancelled_requests_leave_redis_connections_usable(edge, redis_url):
    """After requests cancelled while Redis answers, later commands get their own answers."""
    backend = RedisBackend(redis_url)
    middleware = edge(backend=backend)
    async_publisher = Publisher(backend)
    start = await async_publisher.cursor()
    for turn in range(30):
        client = ASGIClient(middleware, "/events/me", headers={**cookie(), "last-event-id": start}).open()
        publish = asyncio.ensure_future(async_publisher.publish("news", f"cancelled {turn}"))
        for _ in range(turn % 10):
            await asyncio.sleep(0)
        publish.cancel()
        client.disconnect()
        await client.cancel()
        await asyncio.wait([publish])
        assert holds(middleware) == NOTHING
        ids = [await async_publisher.publish("news", f"{turn}"), await async_publisher.cursor()]
        places = [Place.parse(id) for id in ids]
        assert places == sorted(places)
    client = ASGIClient(middleware, "/events/me", headers={**cookie(), "last-event-id": start})
    await client.wait_for(b"data: 29\n\n")
    data = [event.data for event in decoded(client)[1] if not event.data.startswith("cancelled")]
    assert data == [str(turn) for turn in range(30)]
    await client.close()
    await backend.close()


async def test_redis_lost_while_a_place_is_checked(edge, asgi, private_redis, caplog):
    """A stream that waits for Redis when the connection dies ends as backend-lost, and is not cancelled."""
    server = private_redis()
    middleware = edge(backend=RedisBackend(server.url, timeout=5))
    first = asgi(middleware, "/events/me", headers=cookie())
    await first.wait_for(b"\nid: ")
    server.pause()
    # Its cursor is ahead of everything this worker has heard, so that Redis is asked what the time is.
    subscriber = middleware._worker.hub.subscriber
    ahead = asgi(
        middleware,
        "/events/me",
        headers={**cookie(), "last-event-id": str(Place(EventId(99999999999999, 1), subscriber.tag))},
    )
    await ahead.wait_for(b"retry: ")
    await eventually(lambda: subscriber._ticks.waiting, "a waiting tick")
    server.kill()
    await ahead.whole()
    assert goodbye(ahead) == {"reason": "backend-lost"}
    assert middleware.figures()["endings"] == {"backend-lost": 1}
    assert not first.task.done()
    assert [record for record in caplog.records if record.exc_info] == []
