"""Credentials that change: a provider is asked for each connection."""

import asyncio
import threading

import pytest
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider

from servers.deployments import RedisCluster, SentinelTrio
from sse_edge import Publisher, PublishError, RedisBackend, SyncPublisher
from sse_edge.errors import ConfigError


class Tokens(CredentialProvider):
    """Gives the current token, and counts; as one does who knows redis-py's synchronous face only."""

    def __init__(self, token="one"):
        self.token = token
        self.calls = 0
        self.threads = set()

    def get_credentials(self):
        self.calls += 1
        self.threads.add(threading.get_ident())
        if isinstance(self.token, Exception):
            raise self.token
        return self.token if isinstance(self.token, tuple) else ("edge", self.token)


class AsyncTokens(Tokens):
    async def get_credentials_async(self):
        await asyncio.sleep(0)
        return self.get_credentials()


class Duck:
    """No relation of redis-py's class."""

    def __init__(self):
        self.tokens = Tokens()

    def get_credentials(self):
        return self.tokens.get_credentials()


def allow(server, token):
    """Let the user in with this token alone, and end what it has open."""
    admin = server.client()
    admin.execute_command("ACL", "SETUSER", "edge", "reset", "on", f">{token}", "~*", "&*", "+@all")
    admin.client_kill_filter(user="edge")


class Ear:
    def __init__(self):
        self.texts = asyncio.Queue()

    def deliver(self, channel, id, frame, except_user=None):
        self.texts.put_nowait(frame.partition(b"data: ")[2].strip().decode())

    def flush(self):
        pass

    def reset(self, reset):
        raise AssertionError(reset)


@pytest.mark.parametrize("kind", [Tokens, AsyncTokens])
async def test_a_token_that_changes(private_redis, kind):
    """Publishing and listening go on when the token changes: every new connection asks for its own."""
    server = private_redis()
    allow(server, "one")
    tokens = kind()
    backend = RedisBackend(server.url, credentials=tokens)
    ear = Ear()
    subscriber = backend.subscriber(ear)
    await subscriber.start()
    try:
        await subscriber.subscribe(["c"])
        await Publisher(backend).publish("c", "first")
        assert await asyncio.wait_for(ear.texts.get(), 5) == "first"
        asked = tokens.calls
        assert asked >= 2
        tokens.token = "two"
        allow(server, "two")
        await Publisher(backend).publish("c", "second")
        assert await asyncio.wait_for(ear.texts.get(), 5) == "second"
        assert tokens.calls >= asked + 2
        assert (threading.get_ident() in tokens.threads) is (kind is AsyncTokens)
    finally:
        await subscriber.close()
        await backend.close()


def test_without_an_event_loop(private_redis):
    """A SyncPublisher asks it as well."""
    server = private_redis()
    allow(server, "one")
    duck = Duck()
    backend = RedisBackend(server.url, credentials=duck)
    SyncPublisher(backend).publish("c", "x")
    backend.close_sync()
    assert duck.tokens.calls == 1


@pytest.mark.parametrize(
    "bad", [RuntimeError("s3cr3t"), (), ("edge", 5), ("edge", "one", "s3cr3t"), "wrong"], ids=range(5)
)
async def test_a_provider_that_fails(private_redis, bad):
    """Then nothing was published, nothing secret is said, and later it works."""
    server = private_redis()
    allow(server, "one")
    tokens = Tokens(bad)
    async with Publisher(RedisBackend(server.url, credentials=tokens)) as events:
        with pytest.raises(PublishError) as caught:
            await events.publish("c", "x")
        assert caught.value.may_have_happened is False
        assert "s3cr3t" not in str(caught.value)
        tokens.token = "one"
        await events.publish("c", "x")
        await events._backend.close()


@pytest.mark.parametrize("make", [RedisCluster, SentinelTrio])
async def test_with_several_servers(make):
    """Every node of a Cluster, and whichever server Sentinel names, is given the credentials."""
    servers = make(replicas=0) if make is RedisCluster else make()
    try:
        await asyncio.to_thread(servers.start)
        for node in servers.nodes if make is RedisCluster else [servers.primary]:
            allow(node, "one")
            node.cli("ACL", "SETUSER", "default", "-evalsha", "-eval")
        tokens = AsyncTokens()
        backend = RedisBackend(servers.url, credentials=tokens, partitions=6)
        for n in range(24):
            await Publisher(backend).publish(f"c{n}", "x")
        assert tokens.calls == (3 if make is RedisCluster else 1)
        await backend.close()
    finally:
        servers.close()


@pytest.mark.parametrize(
    "url", ["redis://:s3cr3t@h", "redis://u@h", "redis://h?password=s3cr3t", "redis+cluster://u:s3cr3t@h:1"]
)
def test_one_of_both(url):
    """Credentials beside a user or password in the URL are refused."""
    with pytest.raises(ConfigError, match="^credentials: ") as caught:
        RedisBackend(url, credentials=UsernamePasswordCredentialProvider("u", "p"))
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("credentials", ["s3cr3t", ("u", "s3cr3t"), 5, object(), Tokens])
def test_what_is_no_provider(credentials):
    """Anything without the methods of a provider is refused, and not repeated."""
    with pytest.raises(ConfigError, match="^credentials: must have get_credentials") as caught:
        RedisBackend(credentials=credentials)
    assert "s3cr3t" not in str(caught.value)
