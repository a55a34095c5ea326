"""What ``sse-edge tune`` says of kept events, and that a real Redis takes no more."""

import json
import time

import pytest
from click.testing import CliRunner

from parts.ears import until
from sse_edge import ConfigError, Event, Publisher, RedisBackend
from sse_edge.cli import main
from sse_edge.tune.history import Keep, allocated, memory
from sse_edge.tune.sizing import MIB, RECENT_BYTES, REDIS_BYTES, size


@pytest.mark.parametrize(
    ("given", "expected"),
    [(1, 16), (16, 16), (17, 32), (100, 112), (128, 128), (129, 160), (1024, 1024), (1025, 1280),
     (2134, 2560), (3120, 3584), (4096, 4096), (4097, 5120), (10_040, 10_240), (60_040, 65_536)],
)  # fmt: skip
def test_what_is_allocated(given, expected):
    """jemalloc's sizes."""
    assert allocated(given) == expected


@pytest.mark.parametrize(
    ("channels", "events", "size", "at_least", "at_most"),
    [
        (0, 100, 500, 0, 0),
        (10, 0, 500, 0, 0),
        (1, 1, 50, 4416, 4600),
        (1, 10, 50, 4461, 9000),
        (1, 100, 150, 23_090, 26_000),
        (1, 1000, 150, 192_970, 206_000),
        (1, 100, 500, 63_086, 67_000),
        (1, 1000, 1000, 1_208_429, 1_220_000),
        (1, 1000, 4000, 4_122_576, 4_150_000),
        (1, 1000, 10_000, 10_276_397, 10_300_000),
        (1, 1000, 60_000, 65_575_016, 65_600_000),
        (5000, 1, 500, 5000 * 4417, 5000 * 4600),
    ],
)
def test_what_channels_take(channels, events, size, at_least, at_most):
    """At least what was measured (loadtest/results/kept.txt), and little more."""
    assert at_least <= memory(channels, events, size) <= at_most


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("task:*=10000/3600:300", Keep("task:*", 10_000, 3600.0, 300, 500)),
        ("order:*=1/86400:50000:200", Keep("order:*", 1, 86_400.0, 50_000, 200)),
        ("a=b*=5/0.5:1", Keep("a=b*", 5, 0.5, 1)),
    ],
)
def test_how_it_is_said(text, keep):
    """A pattern, what is kept of each channel, for how long, and how many there are."""
    assert Keep.parse(text) == keep


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("task:*", "keep: must be PATTERN=EVENTS/SECONDS:CHANNELS"),
        ("task:*=1/2", "keep: must be"),
        ("=1/2:3", "keep: must be"),
        ("x=1/2:3:", "keep: must be"),
        ("x=-1/2:3", "keep: must be"),
        ("x=0/2:3", "retention['x'].events: must be a whole number, 1 or more"),
        ("x=1/0:3", "retention['x'].seconds: must be a positive number of seconds"),
        ("x=1/2:0", "keep.channels: must be 1 to"),
        ("x=1/2:3:0", "keep.size: must be 1 to"),
        ("x=1/2:3:300000", "keep.size: must be 1 to"),
    ],
)
def test_what_makes_no_sense(text, named):
    """It is refused, and named; by the command too."""
    with pytest.raises(ConfigError) as error:
        Keep.parse(text)
    assert str(error.value).startswith(named)
    result = CliRunner().invoke(main, ["tune", "--connections", "10", "--keep", text])
    assert result.exit_code == 2
    assert named in result.stderr


def test_what_a_deployment_needs():
    """Redis has room for it, a worker for the part that it keeps at hand, and both are in the sum."""
    plain = size(10_000)
    keeps = [Keep("task:*", 10_000, 3600.0, 300), Keep("order:*", 1, 86_400.0, 50_000, 200)]
    found = size(10_000, keeps=keeps)
    assert found.kept_memory == sum(keep.memory for keep in keeps) > 300 * 10_000 * 500 + 50_000 * 4096
    assert found.redis_memory == plain.redis_memory + found.kept_memory
    assert found.maxmemory > 1.25 * found.kept_memory + plain.redis_memory
    assert found.memory - plain.memory >= found.kept_memory
    assert size(10, audience=1, rate=0).recent_memory == 0
    assert RECENT_BYTES < found.recent_memory < 2 * RECENT_BYTES
    assert keeps[0].gone_after == 3825


def test_what_the_command_says(tmp_path):
    """People read each pattern's share and what the app has to say; programs get it in bytes."""
    arguments = ["tune", "--connections", "10000", "--keep", "task:*=10000/3600:300"]
    lines = CliRunner().invoke(main, arguments).stdout.partition("This machine")[0].splitlines()
    said = [" ".join(line.split()) for line in lines]
    assert "memory, task:* 1,696 MiB 300 of 10,000 events; each is gone 3,825 s after its last" in said
    assert "'task:*': Retention(10_000, 3600)," in said
    assert max(map(len, lines)) <= 100
    answer = json.loads(CliRunner().invoke(main, [*arguments, "--json", "--write", str(tmp_path)]).stdout)
    assert answer["sizing"]["keeps"][0]["channels"] == 300
    assert round(answer["sizing"]["kept_memory"] / MIB) == 1696
    config = (tmp_path / "redis.conf").read_text()
    assert f"\nmaxmemory {answer['sizing']['maxmemory'] // MIB}mb\n" in config


async def test_a_real_redis(private_redis):
    """Filled as was said it takes no more than was reckoned, and not much less; then all goes by itself."""
    keeps = [
        Keep("task:*", 400, 4.0, 20, 500),
        Keep("file:*", 150, 4.0, 10, 10_000),
        Keep("order:*", 1, 4.0, 1500, 200),
    ]
    server = private_redis()
    client = server.client()
    backend = RedisBackend(server.url, retention={keep.pattern: keep.retention for keep in keeps})
    publisher = Publisher(backend)
    for keep in keeps:
        # Some more than are kept, so that the oldest are let go of in the middle of a node.
        names = [keep.pattern.replace("*", f"{n:08d}-0000-4000") for n in range(keep.channels)]
        event = Event("x" * (keep.size - len(Event("").encode())))
        for _ in range(-(-(keep.events * 11 // 10 + 1) // 50)):
            await publisher.publish_many(
                [(name, event) for name in names for _ in range(min(50, keep.events + 1))]
            )
    used, reckoned = client.info("memory")["used_memory"], REDIS_BYTES + sum(keep.memory for keep in keeps)
    streams = [key for key in client.keys("sse:*-0000-4000*") if client.type(key) == "stream"]
    assert len(streams) == sum(keep.channels for keep in keeps)
    assert sum(map(client.xlen, streams)) == sum(keep.channels * keep.events for keep in keeps)
    assert 0.6 * reckoned < used <= reckoned
    filled = time.monotonic()
    await until(lambda: not client.exists(*streams), 15)
    await until(lambda: client.info("memory")["used_memory"] < REDIS_BYTES, 15)
    assert time.monotonic() - filled < 4.0 * 17 / 16 + 5
    await backend.close()
