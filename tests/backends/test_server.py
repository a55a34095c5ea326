"""Reaching Redis: what an error says about what has happened, dead connections, sentinels that are away."""

import asyncio
import contextlib
import socket
import time

import pytest
from redis._parsers import BaseParser
from redis.exceptions import ConnectionError as LostError

from servers.deployments import SentinelTrio
from servers.processes import ServerProcess, command, free_port
from servers.redis import RedisServer
from sse_edge import Publisher, PublishError, RedisBackend
from sse_edge.backends.redis.failure import CommandError

IN_SCRIPT = " script: 8a320464b974835030034ffee04d3ec706cbc508, on @user_script:1."

ANSWERS = [
    ("NOSCRIPT No matching script. Please use EVAL.", False),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", False),
    ("LOADING Redis is loading the dataset in memory", False),
    ("NOAUTH Authentication required.", False),
    ("WRONGPASS invalid username-password pair or user is disabled.", False),
    ("NOPERM this user has no permissions to run the 'evalsha' command", False),
    ("NOPERM this user has no permissions to access one of the keys used as arguments", False),
    ("MOVED 3999 127.0.0.1:6381", False),
    ("ASK 3999 127.0.0.1:6381", False),
    ("TRYAGAIN Multiple keys request during rehashing of slot", False),
    ("CLUSTERDOWN Hash slot not served", False),
    ("CROSSSLOT Keys in request don't hash to the same slot", False),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", False),
    # In a script, but before its first write: later Redis does not ask any more.
    ("OOM command not allowed when used memory > 'maxmemory'." + IN_SCRIPT, False),
    ("READONLY You can't write against a read only replica." + IN_SCRIPT, False),
    ("MISCONF Redis is configured to save RDB snapshots, but …" + IN_SCRIPT, False),
    ("NOREPLICAS Not enough good replicas to write." + IN_SCRIPT, False),
    # In a script, and whether before or after a write cannot be told.
    ("ERR The user executing the script can't run this command or subcommand" + IN_SCRIPT, True),
    ("NOPERM this user has no permissions to run the 'pexpire' command" + IN_SCRIPT, True),
    ("NOPERM ACL failure in script: User u has no permissions to run the 'get' command" + IN_SCRIPT, True),
    ("WRONGTYPE Operation against a key holding the wrong kind of value" + IN_SCRIPT, True),
    ("ERR Error running script (call to f_8a32): @user_script:1: NOPERM …", True),
    ("TRYAGAIN in the middle" + IN_SCRIPT, True),
    # Not known.
    ("ERR something new", True),
    ("STRANGE something newer", True),
]


@pytest.mark.parametrize(("answer", "sent"), ANSWERS)
def test_what_an_answer_says(answer, sent):
    """Only an answer of which it is known that nothing was changed counts as not having happened."""
    error = BaseParser.parse_error(answer)
    assert CommandError(error, sent=True).sent is sent
    assert CommandError(error, sent=False).sent is False


@pytest.mark.parametrize("error", [LostError("gone"), ConnectionResetError(), TimeoutError()])
def test_no_answer_may_have_happened(error):
    """Where no answer came after the request was sent, it may have been executed."""
    assert CommandError(error, sent=True).sent is True
    assert CommandError(error, sent=False).sent is False


@pytest.mark.parametrize(
    ("before", "may_have_happened"),
    [
        (["ACL", "SETUSER", "default", "-pexpire"], True),
        (["ACL", "SETUSER", "default", "-evalsha"], False),
        (["CONFIG", "SET", "maxmemory", "1mb"], False),
        (["CONFIG", "SET", "min-replicas-to-write", "1"], False),
        (["REPLICAOF", "127.0.0.1", "1"], False),
    ],
    ids=["NOPERM in the middle", "NOPERM", "OOM", "NOREPLICAS", "READONLY"],
)
async def test_a_refused_publish_says_whether_it_may_have_happened(private_redis, before, may_have_happened):
    """A script that fails after a write may have happened; one that Redis refuses has not."""
    server = private_redis(config=["maxmemory-policy noeviction"])
    admin = server.client()
    backend = RedisBackend(server.url)
    await Publisher(backend).publish("other", "makes the clock")
    admin.execute_command(*before)
    with pytest.raises(PublishError) as caught:
        await Publisher(backend).publish("c", "x")
    assert caught.value.may_have_happened is may_have_happened
    assert bool(admin.keys("*history*c")) is may_have_happened
    await backend.close()


# ---- Connections that ended while nobody looked


@pytest.fixture
def tls(certificate):
    """Lines of redis.conf for TLS, and its port."""
    cert, key = certificate
    port = free_port()
    lines = [f"tls-port {port}", f"tls-cert-file {cert}", f"tls-key-file {key}", f"tls-ca-cert-file {cert}"]
    return port, [*lines, "tls-auth-clients no"]


@pytest.mark.parametrize("way", ["tcp", "tls", "unix"])
async def test_idle_connections_that_the_server_closed(private_redis, tls, certificate, way):
    """A publish without a key succeeds where its idle connection had been closed, seen by the loop or not."""
    port, lines = tls
    server = private_redis(unixsocket=True, config=lines)
    url = {
        "tcp": server.url,
        "tls": f"rediss://localhost:{port}?ssl_ca_certs={certificate[0]}",
        "unix": server.unix_url,
    }[way]
    backend = RedisBackend(url)
    events = Publisher(backend)
    admin = server.client()
    for _ in range(5):
        await asyncio.gather(events.publish("c", "x"), *(backend.cursor() for _ in range(2)))
        # Nothing is awaited from here on: the event loop learns nothing of it.
        assert admin.client_kill_filter(_type="normal", skipme=True) > 1
        await events.publish("c", "x")
    await backend.close()


async def test_a_server_that_closes_idle_connections(private_redis):
    """With Redis's own ``timeout`` every pause costs a connection, and no publish."""
    server = private_redis(config=["timeout 1"])
    backend = RedisBackend(server.url)
    events = Publisher(backend)
    admin = server.client()
    await events.publish("c", "x")
    until = time.monotonic() + 10
    while len(admin.client_list()) > 1 and time.monotonic() < until:
        time.sleep(0.05)  # noqa: ASYNC251 - this event loop is not to see it
    await events.publish("c", "x")
    await backend.close()


# ---- Sentinels


@pytest.fixture(scope="module")
def trio():
    trio = SentinelTrio()
    try:
        yield trio.start()
    finally:
        trio.close()


@contextlib.contextmanager
def silent_port():
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield listening.getsockname()[1]


async def test_sentinels_that_are_dead_or_silent(trio):
    """As long as one sentinel answers, the others cost less than the timeout."""
    good = trio.sentinels[0][0]
    with silent_port() as silent:
        url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{silent},127.0.0.1:{good}/mymaster"
        backend = RedisBackend(url, timeout=2)
        assert await Publisher(backend).publish("c", "x")
        await backend.close()


@pytest.mark.parametrize("name", ["mymaster", "nobody"])
async def test_no_sentinel_can_help(trio, name):
    """Where no sentinel names a primary, it is said within the timeout, and nothing has happened."""
    port = free_port() if name == "mymaster" else trio.sentinels[0][0]
    backend = RedisBackend(f"redis+sentinel://127.0.0.1:{port}/{name}", timeout=1)
    began = time.monotonic()
    with pytest.raises(PublishError, match=f"no sentinel names a primary for '{name}'") as caught:
        await Publisher(backend).publish("c", "x")
    assert caught.value.may_have_happened is False
    assert time.monotonic() - began < 1.2
    await backend.close()


@pytest.fixture
def secure_sentinel(certificate, tmp_path):
    """A Redis and a sentinel which speak TLS only, each with a password: the sentinel's port."""
    cert, key = certificate
    files = [
        f"tls-cert-file {cert}",
        f"tls-key-file {key}",
        f"tls-ca-cert-file {cert}",
        "tls-auth-clients no",
    ]
    primary_port, port = free_port(), free_port()
    primary = RedisServer(
        config=[f"tls-port {primary_port}", *files, "user default on >for-redis ~* &* +@all"]
    )
    config = tmp_path / "sentinel.conf"
    lines = [
        "bind 127.0.0.1",
        "port 0",
        f"tls-port {port}",
        "tls-replication yes",
        *files,
        f"sentinel monitor main 127.0.0.1 {primary_port} 1",
        "sentinel auth-pass main for-redis",
        "requirepass for-sentinels",
    ]
    config.write_text("\n".join([*lines, ""]))
    sentinel = ServerProcess([command("redis-server"), config, "--sentinel"], port=port)
    try:
        primary.password = "for-redis"
        primary.start()
        sentinel.wait_ready()
        yield port
    finally:
        sentinel.close()
        primary.close()


async def test_tls_to_the_sentinels(secure_sentinel, certificate):
    """rediss+sentinel:// speaks TLS to the sentinels as well as to Redis, each with its own password."""
    url = (
        f"rediss+sentinel://:for-redis@127.0.0.1:{secure_sentinel}/main"
        f"?ssl_ca_certs={certificate[0]}&sentinel_password=for-sentinels"
    )
    async with Publisher(url) as events:
        assert await events.publish("c", "x")


async def test_the_sentinels_certificate_is_checked(secure_sentinel, certificate):
    """A sentinel that nobody vouches for is not believed; ``sentinel_…`` options are for sentinels alone."""
    place = f"rediss+sentinel://:for-redis@127.0.0.1:{secure_sentinel}/main"
    unknown = f"{place}?sentinel_password=for-sentinels"
    apart = (
        f"{unknown}&ssl_cert_reqs=none&sentinel_ssl_ca_certs={certificate[0]}&sentinel_ssl_cert_reqs=required"
    )
    async with Publisher(unknown) as events:
        with pytest.raises(PublishError, match="certificate"):
            await events.publish("c", "x")
    async with Publisher(apart) as events:
        assert await events.publish("c", "x")


def test_redis_repeats_what_it_does_not_understand():
    """The error of a command that it does not know holds what was sent with it, a password or an event."""
    text = "ERR unknown command 'AUTH', with args beginning with: 'edge' 'hunter2' "
    said = str(CommandError(BaseParser.parse_error(text), sent=True))
    assert said == "Redis: unknown command 'AUTH'"
