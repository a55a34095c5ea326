"""Caddy with the shipped Caddyfile: what is its own."""

import functools
import subprocess
from pathlib import Path

import pytest

from servers.processes import command, packaged
from servers.proxies import figures, until
from sse_edge import Publisher

FILE = Path(__file__).parents[2] / "Caddyfile"


@pytest.fixture(params=["caddy", pytest.param("new caddy", marks=pytest.mark.heavy)])
def caddy(behind, request):
    """``caddy(apps=2, env=…, **values)``: as ``behind`` starts it, Debian's and with --heavy a new one."""
    return functools.partial(behind, request.param)


def test_streams_begin_to_be_idle(idle_streams):
    """Streams are opened now, early, to be looked at again when they have been idle for long."""
    assert set(idle_streams.sites) == {"nginx", "caddy"}


def test_the_shipped_file_is_valid(caddy):
    """Caddy validates the shipped file with nothing to say about it."""
    site = caddy(apps=1)
    said = site.proxy.check()
    assert "Valid configuration" in said
    assert '"level":"warn"' not in said
    assert '"level":"error"' not in said


@pytest.mark.parametrize("find", [command, packaged])
def test_the_shipped_file_is_formatted(find):
    """The file is as ``caddy fmt`` writes it, old or new, so that Caddy does not complain at each start."""
    formatted = subprocess.run([find("caddy"), "fmt", FILE], capture_output=True, check=True).stdout
    assert formatted.decode() == FILE.read_text()


async def test_the_log(caddy, stream):
    """A stream is one line when it is over, with how long it lived and what it was."""
    site = caddy(apps=1, env={"MAX_DURATION": "0.5"})
    client = await stream(site)
    assert await client.ended()
    lines = []

    async def logged():
        lines[:] = site.proxy.requests()
        return len(lines) == 1

    await until(logged)
    (line,) = lines
    assert line["request"]["uri"] == "/events/me"
    assert line["status"] == 200
    assert line["duration"] >= 0.3
    assert "headers" not in line["request"]
    assert "resp_headers" not in line


async def test_clients_are_seen_to_leave_after_a_reload(caddy, stream, redis_url):
    """After a reload an older stream still comes piece by piece, and still ends when its client leaves."""
    site = caddy(apps=1, env={"KEEP_ALIVE": "3600"})
    client = await stream(site)
    site.proxy.reload()
    async with Publisher(redis_url) as events:
        await events.publish("news", "after")
    assert (await client.next()).data == "after"
    client.abort()

    async def gone():
        return (await figures(site.apps[0]))["streams"] == 0

    await until(gone)


async def test_a_stream_of_the_apps_own_is_not_compressed(caddy, connect):
    """Where the app's pages are compressed, a stream outside of /events still comes piece by piece."""
    site = caddy(apps=1, app="apps.hello:app")
    headers = {"Accept-Encoding": "gzip"}
    client = await connect(f"{site.url}/stream", ssl=site.ssl, headers=headers)
    assert client.header("content-encoding") is None
    for number in range(1, 6):
        assert (await client.next()).id == str(number)
