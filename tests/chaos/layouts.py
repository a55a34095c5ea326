"""Redis in each layout: how workers and publishers reach it, and what can be done to it.

Everything here blocks; the campaign calls it in threads.
"""

import contextlib
import time

import redis

from parts.faulty import Proxy
from servers.deployments import RedisCluster, SentinelTrio
from servers.redis import RedisServer

from .plan import WORKERS

SILENCE = 4000
"""Milliseconds after which a server that is silent is given up by the others: a machine that has much
else to do must not let them give up one that lives."""

PATIENCE = 40.0
"""Seconds for another server to take over."""


def ask(server, *command, timeout=5.0):
    """The answer of one server to one command.  Raises redis.RedisError."""
    with contextlib.closing(
        redis.Redis(port=server.port, socket_timeout=timeout, decode_responses=True)
    ) as client:
        return client.execute_command(*command)


class Single:
    """One server, behind a line for each worker and one for the publishers."""

    def __init__(self, settings):
        self._keeping = {"appendonly": True, "appendfsync": "always" if settings.durable else "everysec"}
        self.server = RedisServer(**self._keeping, config=["enable-debug-command local"])
        self.lines = []

    def start(self):
        """Start what does not need the campaign's loop."""
        self.server.start()

    async def connect(self):
        """Start the lines."""
        for _ in range(WORKERS + 1):
            self.lines.append(await Proxy(self.server.port).start())

    async def disconnect(self):
        """End the lines."""
        for line in self.lines:
            await line.close()

    def url(self, number):
        """Where worker ``number`` finds Redis; the publishers are the number after the last worker."""
        return self.lines[number].url

    def servers(self):
        """Every server that answers commands."""
        return [self.server]

    def server_of(self, number):
        """The server that a fault with this target befalls."""
        return self.server

    def primaries(self):
        """What changes when another server takes over."""
        return ()

    def subscriptions(self):
        """The names that somebody listens to."""
        return ask(self.server, "PUBSUB", "CHANNELS", "*")

    def close(self):
        """Kill everything."""
        self.server.close()


class Cluster:
    """Three primaries with a replica each."""

    lines = ()

    def __init__(self, settings):
        self._cluster = RedisCluster(node_timeout=SILENCE)
        self._partitions = settings.partitions

    def start(self):
        """Start all nodes and wait until they agree."""
        self._cluster.start()

    async def connect(self):
        """There are no lines: the nodes say where they are to be reached."""

    async def disconnect(self):
        """See ``connect``."""

    def url(self, number):
        """The same for everybody."""
        return self._cluster.url

    def servers(self):
        """Every primary."""
        ports = self.primaries()
        return [node for node in self._cluster.nodes if node.port in ports]

    def server_of(self, number):
        """The primary of a partition: another one may have none."""
        return self._cluster.owner(f"{{{number % self._partitions}}}")[0]

    def primaries(self):
        """The ports of the primaries that own slots."""
        return tuple(sorted({primary for _, _, primary in self._cluster.slots()}))

    def fail_over(self, number):
        """Kill a primary, and wait until its replica has taken over; returns what brings it back."""
        node = self.server_of(number)
        node.kill()
        _wait(lambda: node.port not in self.primaries(), "a replica takes over")

        def heal():
            node.start()
            self._cluster.wait_well()

        return heal

    def move_slot(self, number):
        """Move the slot of a partition to another primary."""
        source, slot = self._cluster.owner(f"{{{number % self._partitions}}}")
        others = sorted((node for node in self.servers() if node is not source), key=lambda node: node.port)
        self._cluster.move(slot, source, others[number % len(others)])
        self._cluster.wait_well()

    def subscriptions(self):
        """The names that somebody listens to."""
        return [name for server in self.servers() for name in ask(server, "PUBSUB", "SHARDCHANNELS", "*")]

    def close(self):
        """Kill everything."""
        self._cluster.close()


class Sentinel:
    """A primary, its replica, and three sentinels."""

    lines = ()

    def __init__(self, settings):
        self._trio = SentinelTrio(down_after=SILENCE)

    def start(self):
        """Start it and wait until they know each other."""
        self._trio.start()

    async def connect(self):
        """There are no lines: the sentinels say where the primary is."""

    async def disconnect(self):
        """See ``connect``."""

    def url(self, number):
        """The same for everybody."""
        return self._trio.url

    def servers(self):
        """The primary."""
        port = self._trio.current()
        return [each for each in (self._trio.primary, self._trio.replica) if each.port == port]

    def server_of(self, number):
        """The primary."""
        return self.servers()[0]

    def primaries(self):
        """The port of the primary."""
        return (self._trio.current(),)

    def fail_over(self, number):
        """Kill the primary, and wait until the other has taken over; returns what brings it back."""
        server = self.server_of(number)
        server.kill()
        _wait(lambda: self._trio.current() != server.port, "the replica takes over")

        def heal():
            server.start()
            _wait(lambda: ask(server, "INFO", "replication").get("master_link_status") == "up", "it follows")

        return heal

    def subscriptions(self):
        """The names that somebody listens to."""
        return ask(self.server_of(0), "PUBSUB", "CHANNELS", "*")

    def close(self):
        """Kill everything."""
        self._trio.close()


LAYOUTS = {"single": Single, "partitions": Single, "cluster": Cluster, "sentinel": Sentinel}


def _wait(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.1)
