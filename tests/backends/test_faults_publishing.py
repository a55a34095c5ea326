"""Publishers while Redis fails: what they are told, and what has happened."""

import asyncio
import contextlib
import random
import time

import pytest

from parts.crowds import crowd
from sse_edge import Publisher, PublishError, RedisBackend, SyncPublisher
from sse_edge.event import Place

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_publishing_to_a_stopped_redis_has_not_happened(private_redis, kind):
    """With no Redis to take it the event is certainly not out, and the same publisher recovers."""
    server = private_redis()
    backend = RedisBackend(server.url, timeout=1.0)
    events = Publisher(backend) if kind == "async" else SyncPublisher(backend)

    async def publish():
        if kind == "async":
            return await events.publish("a", "x", dedupe_key="k")
        return await asyncio.to_thread(events.publish, "a", "x", dedupe_key="k")

    first = await publish()
    assert await publish() == first
    await asyncio.to_thread(server.stop)  # in a thread, so that this loop sees it end
    for _ in range(3):
        with pytest.raises(PublishError) as caught:
            await publish()
        assert caught.value.may_have_happened is False
        assert caught.value.published == []
    server.start()
    assert Place.parse(await publish()).id > Place.parse(first).id
    await backend.close()


@pytest.mark.parametrize("direction", ["requests", "replies"])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_publishing_that_is_cut_in_the_middle_may_have_happened(
    redis_server, redis_url, make_fleet, kind, direction
):
    """Whether the request or only the reply was lost, repeating it with its key makes it one event."""
    fleet = make_fleet()
    proxy = await fleet.proxy(redis_server.port)
    worker = await fleet.worker(redis_url)
    listener, *_ = await crowd(fleet, worker, count=1, channels=["a"])
    backend = fleet.backend(proxy.url, timeout=5.0)
    events = Publisher(backend) if kind == "async" else SyncPublisher(backend)
    heard = []

    async def publish(n):
        data = f'{{"channel":"a","n":{n},"at":0}}'
        if kind == "async":
            return await events.publish("a", data, dedupe_key=f"k{n}")
        return await asyncio.to_thread(events.publish, "a", data, dedupe_key=f"k{n}")

    for n in (1, 3, 5):
        fleet.checker.numbering("a").next(time.monotonic())
        await publish(n)
        fleet.checker.numbering("a").next(time.monotonic())
        proxy.stall(**{direction: True})
        task = asyncio.create_task(publish(n + 1))
        await proxy.stalled.wait()
        if direction == "replies":
            await listener.until(lambda n=n: listener.record.ears["a"].high == n + 1)
        proxy.refusing = True  # or the key would let it be repeated silently
        proxy.cut()
        with pytest.raises(PublishError) as caught:
            await task
        assert caught.value.may_have_happened is True
        proxy.refusing = False
        proxy.resume()
        id = await publish(n + 1)
        assert id == await publish(n + 1)
        heard.append(id)
    await listener.level()
    report = fleet.checker.report()
    assert report.ok, str(report)
    assert [id for _, n, id in listener.heard if n % 2 == 0] == heard


async def test_a_publish_that_is_cancelled_harms_no_later_one(redis_url, make_fleet):
    """A publisher that gives up in the middle leaves no reply behind for the next command to take."""
    fleet = make_fleet()
    backend = fleet.backend(redis_url)
    worker = await fleet.worker(redis_url)
    listener, *_ = await crowd(fleet, worker, count=1, channels=["a"])
    traffic = fleet.traffic(backend, ["a"])
    rng = random.Random(37)
    for _ in range(100):
        task = asyncio.create_task(Publisher(backend).publish("other", "x"))
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)
        task.cancel()
        await traffic.publish("a")
        with contextlib.suppress(asyncio.CancelledError):
            await task
    report = await fleet.verdict()
    assert not report.resets, str(report)
    assert listener.heard == traffic.published
