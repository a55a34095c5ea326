"""Sentinel and Cluster, with their servers killed and rearranged while events flow."""

import asyncio
import contextlib
import itertools
import json
import socket
import time

import pytest

from loadtest.checker import Checker, payload, read_payload
from parts.delivery import ListSink, ScriptedBackend, make_hub
from parts.reported import SAID
from servers.deployments import RedisCluster, SentinelTrio
from servers.processes import free_port
from servers.sse import Decoder
from sse_edge import Publisher, PublishError, RedisBackend
from sse_edge.backends.redis.glance import glance, others
from sse_edge.backends.redis.presence import RedisPresence
from sse_edge.delivery.hub import Hub
from sse_edge.delivery.lifetime import Lifetime
from sse_edge.errors import BackendError
from sse_edge.event import Place
from sse_edge.outcome import CLIENT_GONE

CHANNELS = [f"c{n}" for n in range(8)]


class Reader(ListSink):
    """A client in this process: reads what its stream is written, records it, and can come back."""

    def __init__(self, name, checker, channels=CHANNELS):
        super().__init__()
        self.name = name
        self.channels = tuple(channels)
        self.record = checker.client(name)
        self.decoder = Decoder()
        self.stream = None
        for channel in self.channels:
            self.record.listen(channel, after=0)

    def write(self, data, chunk=None):
        self._read(data)
        return 0

    def _read(self, data):
        for event in self.decoder.feed(data):
            if event.event == "edge-reset":
                told = json.loads(event.data)
                self.record.reset(told["channel"], told["reason"], time.time())
            elif event.event == "message":
                channel, n, _ = read_payload(event.data)
                self.record.event(channel, n, self.decoder.last_event_id)

    finish = write

    async def join(self, hub):
        """Connect, as often as it takes, and resume from the last id."""
        while True:
            self.stream = hub.new_stream(self.channels, self, None, self.name, None)
            try:
                await hub.subscribe(self.stream)
            except BackendError:
                await asyncio.sleep(0.1)
                continue
            last = self.decoder.last_event_id
            await hub.catch_up(self.stream, Place.parse(last) if last else None)
            if self.stream.ending is None:
                return
            self.leave(hub)

    def leave(self, hub):
        """The connection is gone."""
        hub.close_stream(self.stream, CLIENT_GONE)
        self.decoder = Decoder(self.decoder.last_event_id)
        self.record.reconnected()


async def publish(events, checker, stop, pause=0.004):
    """Publish to all channels in turn until told to stop, each event until it is confirmed."""
    for channel in itertools.cycle(CHANNELS):
        if stop.is_set():
            return
        at = time.time()
        n = checker.numbering(channel).next(at)
        while True:
            try:
                await events.publish(channel, payload(channel, n, at), dedupe_key=f"{channel}-{n}")
                break
            except PublishError:
                await asyncio.sleep(0.05)
        await asyncio.sleep(pause)


class Scene:
    """Two workers, a steady client on the first, one that keeps moving between both, and a publisher."""

    def __init__(self, url, **settings):
        self.url = url
        self.settings = settings
        self.checker = Checker()
        self.stop = asyncio.Event()
        self.exit = contextlib.AsyncExitStack()

    async def __aenter__(self):
        self.backends = [RedisBackend(self.url, timeout=2.0, **self.settings) for _ in range(3)]
        self.hubs = []
        for backend in self.backends[:2]:
            self.hubs.append(Hub(backend, Lifetime(keep_alive=0.5)))
            await self.hubs[-1].start()
        self.steady, self.mover = Reader("steady", self.checker), Reader("mover", self.checker)
        await self.steady.join(self.hubs[0])
        await self.mover.join(self.hubs[1])
        self.tasks = [
            asyncio.create_task(publish(Publisher(self.backends[2]), self.checker, self.stop)),
            asyncio.create_task(self._move()),
        ]
        return self

    async def _move(self):
        for hub in itertools.cycle(self.hubs):
            if self.stop.is_set():
                return
            await asyncio.sleep(0.2)
            self.mover.leave(self.mover_hub if hasattr(self, "mover_hub") else self.hubs[1])
            await self.mover.join(hub)
            self.mover_hub = hub

    async def published(self, more, timeout=30):
        """Until so many more events were confirmed, every worker is connected, and a few more came."""
        async with asyncio.timeout(timeout):
            await self._more(more)
            while not all(hub.subscriber.connected for hub in self.hubs):
                await asyncio.sleep(0.02)
            await self._more(5 * len(CHANNELS))

    async def _more(self, count):
        until = self._count() + count
        while self._count() < until:
            await asyncio.sleep(0.02)

    def _count(self):
        return sum(numbering.last for numbering in self.checker.numberings.values())

    async def report(self, **options):
        """Stop publishing, wait until every client is level, and judge."""
        self.stop.set()
        with contextlib.suppress(TimeoutError):  # then the report says what is missing
            async with asyncio.timeout(15):
                await asyncio.gather(*self.tasks)
                while not all(self.checker.level(client) for client in self.checker.clients.values()):
                    await asyncio.sleep(0.02)
        return self.checker.report(**options)

    async def __aexit__(self, *exc):
        self.stop.set()
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        for hub in self.hubs:
            hub.close_stream(self.steady.stream, CLIENT_GONE)
            hub.close_stream(self.mover.stream, CLIENT_GONE)
            await hub.close()
        for backend in self.backends:
            await backend.close()


@pytest.fixture
def trio():
    trio = SentinelTrio()
    try:
        yield trio.start()
    finally:
        trio.close()


@pytest.fixture(scope="module")
def shared_cluster():
    cluster = RedisCluster()
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture
def cluster(shared_cluster):
    """The module's Cluster, well again after whatever the test before did to it."""
    for node in shared_cluster.nodes:
        node.start()
    shared_cluster.wait_well()
    return shared_cluster


async def test_sentinel_without_a_fault(trio):
    """Through Sentinel everything is exact: nothing lost, repeated, or reset."""
    async with Scene(trio.url) as scene:
        await scene.published(300)
        report = await scene.report()
    assert report.ok, str(report)
    assert report.received > 500
    assert not report.resets


@pytest.mark.parametrize(("kind", "servers"), [("trio", 1), ("cluster", 3)])
async def test_who_looks_on(request, kind, servers):
    """The reports and each primary are seen once, and who else has workers."""
    url = request.getfixturevalue(kind).url
    backend = RedisBackend(url, prefix="x:", partitions=6)
    presence = RedisPresence(backend.server, backend.leases_prefix + "here", heartbeat=0.1)

    async def tell():
        return SAID

    hub = await make_hub(ScriptedBackend())
    await presence.start(hub.census, tell)
    try:
        async with asyncio.timeout(10):
            while not (await backend.reports()).told:
                await asyncio.sleep(0.02)
        assert [each.info["role"] for each in await glance(backend)] == ["master"] * servers
        assert ("x:", 0) in await others(backend)
    finally:
        await presence.close()
        await hub.close()
        await backend.close()


async def test_sentinel_failover(trio):
    """When the primary is killed, clients are on the new one by themselves, and told of what may be gone."""
    async with Scene(trio.url) as scene:
        await scene.published(100)
        old = trio.current()
        trio.primary.kill()
        await scene.published(300)
        assert trio.current() != old
        report = await scene.report()
    assert report.ok, str(report)
    assert set(report.resets) == {"epoch"}


async def test_a_cluster_with_one_partition_is_exact(cluster):
    """With one partition a Cluster gives what a single server gives."""
    async with Scene(cluster.url, prefix="exact:") as scene:
        await scene.published(300)
        report = await scene.report()
    assert report.ok, str(report)
    assert not report.resets


async def test_partitions_lose_nothing(cluster):
    """Over several partitions nothing is lost, and what a resume repeats is about a second's worth."""
    async with Scene(cluster.url, prefix="parts:", partitions=6) as scene:
        await scene.published(400)
        report = await scene.report(overlap=True)
        strict = scene.checker.report()
    assert report.ok, str(report)
    assert not report.resets
    repeated = [place for finding in strict.findings for place in finding.repeated]
    assert all(finding.client == "mover" for finding in strict.findings), "an open stream never repeats"
    assert all(place.last - place.first < 60 for place in repeated), str(strict)


@pytest.mark.parametrize("partitions", [1, 6])
async def test_revocations_in_a_cluster(cluster, partitions):
    """They and how long sessions live are in one place, whatever the partitions are."""
    backend = RedisBackend(cluster.url, prefix=f"revoked{partitions}:", partitions=partitions)
    await backend.revoked(3600.0)
    until = await backend.revoke("s1")
    assert 3590 < until - time.time() < 3610
    assert await backend.revoke("s2", 4e9) == 4e9
    assert await backend.revoked(60.0) == {"s1": until, "s2": 4e9}
    await backend.close()


async def test_a_cluster_primary_is_full(cluster):
    """Events for the other primaries are out: the first of the call are named, others may be out."""
    backend = RedisBackend(cluster.url, prefix="full:", partitions=6)
    pairs = [(f"c{n}", "x") for n in range(30)]
    events = Publisher(backend)
    await events.publish_many(pairs)
    full, _ = cluster.owner("full:{0}:clock")
    full.cli("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(PublishError, match="OOM") as caught:
            await events.publish_many(pairs)
    finally:
        full.cli("CONFIG", "SET", "maxmemory", "0")
        await backend.close()
    owners = [cluster.owner(backend.partition(channel).names.clock)[0] for channel, _ in pairs]
    assert len(caught.value.published) == owners.index(full)
    assert caught.value.may_have_happened is True


async def test_a_cluster_primary_is_killed(cluster):
    """When a primary dies its replica takes over; its partitions are reset where they may lack something."""
    async with Scene(cluster.url, prefix="kill:", partitions=6) as scene:
        await scene.published(100)
        victim, _ = cluster.owner("kill:{0}:clock")
        victim.kill()
        await scene.published(400)
        report = await scene.report(overlap=True)
    assert report.ok, str(report)
    assert set(report.resets) <= {"epoch"}
    assert report.resets["epoch"], "the killed primary's partitions were judged anew"


async def test_a_slot_moves(cluster):
    """When a slot moves to another primary, publishing and listening follow it."""
    async with Scene(cluster.url, prefix="move:", partitions=6) as scene:
        await scene.published(100)
        source, slot = cluster.owner("move:{1}:clock")
        target = next(
            node
            for node in cluster.nodes
            if node is not source and node.alive and node.client().info("replication")["role"] == "master"
        )
        await asyncio.to_thread(cluster.move, slot, source, target)
        await scene.published(400)
        assert cluster.owner("move:{1}:clock")[0] is target
        report = await scene.report(overlap=True)
    assert report.ok, str(report)


TIMEOUT = 2.0  # seconds; half of it is allowed for a machine that has other work
WAITING = 50


async def crowd(backend):
    """Publish many events at once: how long it took, and the errors."""
    began = time.monotonic()
    work = [Publisher(backend).publish(f"c{n}", "x") for n in range(WAITING)]
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    return time.monotonic() - began, [error for error in outcomes if isinstance(error, PublishError)]


async def test_the_timeout_bounds_however_many_wait_for_seeds():
    """With seeds that take connections and say nothing, all calls fail in time, and nothing has happened."""
    with contextlib.ExitStack() as exit:
        silent = [exit.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256)) for _ in range(4)]
        nodes = ",".join(f"127.0.0.1:{each.getsockname()[1]}" for each in silent)
        backend = RedisBackend(f"redis+cluster://{nodes}", timeout=TIMEOUT)
        for _ in range(2):
            took, errors = await crowd(backend)
            assert took < 1.5 * TIMEOUT
            assert len(errors) == WAITING
            assert not any(error.may_have_happened for error in errors)
        await backend.close()


async def test_seeds_that_are_dead_or_silent(cluster):
    """As long as one seed answers, the others cost less than the timeout."""
    good = cluster.nodes[0].port
    with socket.create_server(("127.0.0.1", 0), backlog=256) as silent:
        places = [free_port(), silent.getsockname()[1], good]
        nodes = ",".join(f"127.0.0.1:{port}" for port in places)
        backend = RedisBackend(f"redis+cluster://{nodes}", timeout=TIMEOUT, prefix="seeds:")
        _, errors = await crowd(backend)
        assert errors == []
        await backend.close()


@pytest.mark.parametrize("partitions", [1, 6])
async def test_the_timeout_bounds_however_many_wait_for_a_cluster_that_stands_still(cluster, partitions):
    """When every node stops, all calls fail in time; what was sent may have happened, what waited has not."""
    backend = RedisBackend(cluster.url, timeout=TIMEOUT, prefix=f"still{partitions}:", partitions=partitions)
    _, errors = await crowd(backend)
    assert errors == []
    for node in cluster.nodes:
        node.pause()
    try:
        took, errors = await crowd(backend)
        again, more = await crowd(backend)
    finally:
        for node in cluster.nodes:
            node.resume()
    assert max(took, again) < 1.5 * TIMEOUT
    assert len(errors) == len(more) == WAITING
    assert any(error.may_have_happened for error in errors)
    # Nobody knew any more who serves what, so the second time nothing was sent.
    assert not any(error.may_have_happened for error in more)
    await asyncio.to_thread(cluster.wait_well)
    _, errors = await crowd(backend)
    assert errors == []
    await backend.close()
