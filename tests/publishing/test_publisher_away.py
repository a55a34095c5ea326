"""Publishing while Redis is away, or refuses, or the connection is lost: what the caller is told."""

import asyncio
import time

import pytest

from parts.faulty import Proxy
from parts.publishers import PUBLISHERS, listeners
from servers.processes import free_port
from sse_edge import Publisher, PublishError, RedisBackend


@pytest.fixture
async def listen():
    """See ``listeners``."""
    async with listeners() as listen:
        yield listen


@PUBLISHERS
async def test_redis_unreachable(kind):
    """Without Redis publishing raises PublishError, which knows that nothing happened and says where."""
    port = free_port()
    publisher = kind(RedisBackend(f"redis://:s3cr3t@127.0.0.1:{port}/0", timeout=1))
    with pytest.raises(PublishError, match=str(port)) as caught:
        await publisher.publish("c", "x")
    assert caught.value.may_have_happened is False
    assert caught.value.published == []
    assert "s3cr3t" not in str(caught.value)


@PUBLISHERS
@pytest.mark.live
async def test_redis_does_not_answer(kind, private_redis):
    """When Redis does not answer any more, a publish may have happened, and the error says so."""
    server = private_redis()
    backend = RedisBackend(server.url, timeout=0.3)
    publisher = kind(backend)
    await publisher.publish("c", "x")
    server.pause()
    with pytest.raises(PublishError) as caught:
        await publisher.publish("c", "y")
    assert caught.value.may_have_happened is True
    server.resume()
    await publisher.publish("c", "z")
    await backend.close()


@PUBLISHERS
async def test_redis_restarted(kind, private_redis):
    """After Redis was restarted, publishing works again, without a failure first."""
    server = private_redis()
    backend = RedisBackend(server.url)
    publisher = kind(backend)
    await publisher.publish("c", "x")
    await asyncio.to_thread(server.restart, keep_data=True)  # the loop sees the connection's end
    await publisher.publish("c", "y")
    await backend.close()


@pytest.mark.live
class TestConnectionLost:
    """A connection that ends while Redis may be executing a publish."""

    @pytest.fixture
    async def scene(self, redis_server, redis_url, listen):
        """A proxy, a backend through it and a listener past it."""
        proxy = await Proxy(redis_server.port).start()
        backend, own = RedisBackend(proxy.url, timeout=2), RedisBackend(redis_url)
        listener, subscriber = await listen(own, "c")
        yield proxy, backend, listener
        await subscriber.close()
        await backend.close()
        await own.close()
        await proxy.close()

    async def cut(self, proxy, work, direction):
        """Begin the publish, cut its connection when it is on its way, and let later ones through."""
        proxy.stall(**{direction: True})
        task = asyncio.create_task(work)
        await proxy.stalled.wait()
        proxy.cut()
        proxy.resume()
        return await task

    @PUBLISHERS
    @pytest.mark.parametrize("direction", ["requests", "replies"])
    async def test_with_keys(self, scene, kind, direction):
        """If every event has a key the publish is repeated silently, and each event is out once."""
        proxy, backend, listener = scene
        publisher = kind(backend)
        await publisher.publish("c", "0")
        one = await self.cut(proxy, publisher.publish("c", "1", dedupe_key="k1"), direction)
        many = publisher.publish_many([("c", "2"), ("c", "3")], dedupe_keys=["k2", "k3"])
        ids = [one, *await self.cut(proxy, many, direction)]
        last = await publisher.publish("c", "4")
        assert [(data, id) for _, _, data, id in await listener.wait(5)][1:] == list(
            zip("1234", [*ids, last], strict=True)
        )

    @PUBLISHERS
    @pytest.mark.parametrize("keys", [None, ["k1", None]])
    async def test_without_a_key(self, scene, kind, keys):
        """If an event has no key nothing is repeated, and the error says that it may have happened."""
        proxy, backend, listener = scene
        publisher = kind(backend)
        await publisher.publish("c", "0")
        many = publisher.publish_many([("c", "1"), ("c", "2")], dedupe_keys=keys)
        with pytest.raises(PublishError) as caught:
            await self.cut(proxy, many, "requests")
        assert caught.value.may_have_happened is True
        last = await publisher.publish("c", "3")
        assert [(data, id) for _, _, data, id in await listener.wait(2)][1:] == [("3", last)]

    @PUBLISHERS
    async def test_once_only(self, scene, kind):
        """When the second attempt fails too, that is the end, within the timeout; it may have happened."""
        proxy, backend, _ = scene
        publisher = kind(backend)
        await publisher.publish("c", "0")
        proxy.refusing = True
        with pytest.raises(PublishError) as caught:
            await self.cut(proxy, publisher.publish("c", "1", dedupe_key="k"), "requests")
        assert caught.value.may_have_happened is True
        proxy.refusing = False
        await publisher.publish("c", "2")
        proxy.stall(requests=True)
        began = time.monotonic()
        task = asyncio.create_task(publisher.publish("c", "1", dedupe_key="k"))
        await proxy.stalled.wait()
        proxy.cut()
        with pytest.raises(PublishError) as caught:
            await task
        assert time.monotonic() - began < 2.4
        assert caught.value.may_have_happened is True


@pytest.mark.parametrize(
    ("order", "answer"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), "maxmemory"),
        (("REPLICAOF", "127.0.0.1", "1"), "READONLY|read only"),
    ],
)
async def test_redis_refuses_to_write(private_redis, order, answer):
    """Without memory, or on a replica, the event is certainly not out, and the error says why."""
    server = private_redis()
    server.cli(*order)
    async with Publisher(server.url) as publisher:
        with pytest.raises(PublishError, match=answer) as caught:
            await publisher.publish("news", "x")
    assert caught.value.may_have_happened is False
