"""The fixtures that are a Redis: empty, restarted, crashed, paused."""

import pytest
import redis


@pytest.mark.parametrize("number", [1, 2])
def test_the_shared_redis_is_empty_for_each_test(redis_url, redis_server, number):
    """What one test leaves behind is gone in the next."""
    client = redis_server.client()
    assert client.dbsize() == 0
    client.set("left", number)
    assert redis_url == f"redis://127.0.0.1:{redis_server.port}/0"


@pytest.mark.parametrize("options", [{}, {"appendonly": True, "appendfsync": "always"}])
def test_a_restart_keeps_or_loses_the_data(private_redis, options):
    """A restart comes back on the same port with everything, or with nothing."""
    server = private_redis(**options)
    port = server.port
    client = server.client()
    client.set("key", "value")
    server.restart(keep_data=True)
    assert server.port == port
    assert client.get("key") == "value"
    server.restart(keep_data=False)
    assert client.get("key") is None


def test_a_crash_loses_what_is_not_on_disk(private_redis):
    """Without persistence a killed Redis comes back empty, also after a restart that kept its data."""
    server = private_redis()
    server.client().set("key", "value")
    server.restart(keep_data=True)
    server.kill()
    assert not server.alive
    server.start()
    assert server.client().get("key") is None


def test_a_crash_keeps_what_is_on_disk(private_redis):
    """With the append-only file written at once, a killed Redis comes back with its data."""
    server = private_redis(appendonly=True, appendfsync="always")
    server.client().set("key", "value")
    server.kill()
    server.start()
    assert server.client().get("key") == "value"


def test_a_paused_redis_answers_nothing(private_redis):
    """A paused Redis accepts and stays silent; afterwards it goes on."""
    server = private_redis()
    server.pause()
    with pytest.raises(redis.TimeoutError):
        server.client(socket_timeout=0.1).ping()
    server.resume()
    assert server.client().ping()


def test_a_redis_with_a_password_and_a_unix_socket(private_redis):
    """Password, unix socket, further configuration and redis-cli work together."""
    server = private_redis(password="p@ss/word", unixsocket=True, config=["maxmemory 50mb"])
    for url in (server.url, server.unix_url):
        with redis.Redis.from_url(url) as client:
            assert client.ping()
    with pytest.raises(redis.AuthenticationError):
        server.client(password=None).ping()
    assert server.cli("CONFIG", "GET", "maxmemory") == "maxmemory\n52428800"


def test_a_redis_ends_with_its_fixture(private_redis):
    """Stopping twice, or pausing before the end, harms nothing."""
    server = private_redis()
    server.stop()
    server.stop()
    assert not server.alive
    private_redis().pause()
