"""Redis as it is run in production: a Sentinel trio, a Cluster, TLS with users."""

import contextlib
import time

import pytest
import redis

from .processes import ServerProcess, command, free_port
from .redis import RedisServer

PATIENCE = 30


def wait_until(condition, what, timeout=PATIENCE):
    """Ask until it is true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout} s: {what}", pytrace=False)
        time.sleep(0.05)


class SentinelTrio:
    """A primary, a replica and three sentinels that watch the service ``mymaster``.

    ``down_after``: milliseconds of silence after which they take the primary for dead.
    """

    def __init__(self, down_after=800):
        self.down_after = down_after
        self.primary = RedisServer(config=["repl-diskless-sync-delay 0"])
        self.replica = RedisServer(
            config=[f"replicaof 127.0.0.1 {self.primary.port}", "repl-diskless-sync-delay 0"]
        )
        self.sentinels = []

    @property
    def url(self):
        hosts = ",".join(f"127.0.0.1:{port}" for port, _ in self.sentinels)
        return f"redis+sentinel://{hosts}/mymaster/0"

    def start(self):
        self.primary.start()
        self.replica.start()
        wait_until(
            lambda: self._replica_info("master_link_status") == "up", "the replica follows its primary"
        )
        for _ in range(3):
            port = free_port()
            config = self.primary.directory / f"sentinel-{port}.conf"
            config.write_text(
                f"bind 127.0.0.1\nport {port}\nsentinel monitor mymaster 127.0.0.1 {self.primary.port} 2\n"
                f"sentinel down-after-milliseconds mymaster {self.down_after}\n"
                "sentinel failover-timeout mymaster 3000\n"
            )
            process = ServerProcess([command("redis-server"), config, "--sentinel"], port=port)
            self.sentinels.append((port, process))
            process.wait_ready()
        wait_until(
            lambda: all(self._agreed(port) for port, _ in self.sentinels), "the sentinels know each other"
        )
        return self

    def current(self):
        """The port of the primary that the sentinels name."""
        with contextlib.closing(redis.Redis(port=self.sentinels[0][0])) as client:
            return client.sentinel_masters()["mymaster"]["port"]

    def _replica_info(self, key):
        return self.replica.client().info("replication")[key]

    def _agreed(self, port):
        with contextlib.closing(redis.Redis(port=port, decode_responses=True)) as client:
            state = client.sentinel_masters()["mymaster"]
        return state["num-other-sentinels"] == 2 and state["num-slaves"] == 1

    def close(self):
        for _, process in self.sentinels:
            process.close()
        self.replica.close()
        self.primary.close()


class RedisCluster:
    """Three primaries with a replica each, which takes over after ``node_timeout`` ms of silence."""

    def __init__(self, replicas=1, node_timeout=1200):
        self.replicas = replicas
        self.nodes = [
            RedisServer(
                config=[
                    "cluster-enabled yes",
                    f"cluster-node-timeout {node_timeout}",
                    "cluster-replica-validity-factor 0",
                    f"cluster-port {free_port()}",
                    "repl-diskless-sync-delay 0",
                ]
            )
            for _ in range(3 * (1 + replicas))
        ]

    @property
    def url(self):
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])

    def start(self):
        for node in self.nodes:
            node.start()
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        self.nodes[0].cli(
            "--cluster", "create", *addresses, "--cluster-replicas", self.replicas, "--cluster-yes"
        )
        self.wait_well()
        return self

    def wait_well(self):
        """Until every node says that the cluster is well and every replica follows."""
        wait_until(lambda: all(self._well(node) for node in self.nodes if node.alive), "the cluster is well")

    def owner(self, key):
        """The node that serves ``key``'s slot, and the slot."""
        alive = next(node for node in self.nodes if node.alive)
        slot = int(alive.cli("CLUSTER", "KEYSLOT", key))
        for first, last, primary in self.slots():
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary), slot
        raise LookupError(slot)

    def slots(self):
        """(first, last, the primary's port) of every range."""
        alive = next(node for node in self.nodes if node.alive)
        answer = alive.client().execute_command("CLUSTER SLOTS")
        return [(int(first), int(last), int(primary[1])) for first, last, primary in _ranges(answer)]

    def move(self, slot, source, target):
        """Move one slot with all its keys, as redis-cli's reshard does."""
        ids = {node: node.cli("CLUSTER", "MYID") for node in (source, target)}
        target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        while keys := source.cli("CLUSTER", "GETKEYSINSLOT", slot, 100).split():
            source.cli("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *self.nodes):
            if node.alive and node.client().info("replication")["role"] == "master":
                node.cli("CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def _well(self, node):
        info = node.cli("CLUSTER", "INFO")
        replication = node.client().info("replication")
        return "cluster_state:ok" in info and replication.get("master_link_status", "up") == "up"

    def close(self):
        for node in self.nodes:
            node.close()


def _ranges(answer):
    """CLUSTER SLOTS, whether redis-py has parsed it or not."""
    if isinstance(answer, dict):
        return [(first, last, found["primary"]) for (first, last), found in answer.items()]
    return [(first, last, primary) for first, last, primary, *_ in answer]
