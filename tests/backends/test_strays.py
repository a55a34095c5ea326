"""Messages that are no events of ours, against a real Redis: malformed, forged, of another connection."""

import json

import pytest
from redis.exceptions import ResponseError

from parts.ears import out, until
from sse_edge import RedisBackend
from sse_edge.backends.base import CONTROL

pytestmark = pytest.mark.usefixtures("impatient", "spoken")


@pytest.fixture
def make_backend(redis_url):
    return lambda url=redis_url, **settings: RedisBackend(url, **settings)


async def test_a_tick_that_is_not_awaited_is_ignored(start, redis_server):
    """A tick of an earlier connection, or anybody's message on the worker's channel, moves nothing."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    await until(lambda: subscriber.connected)
    client = redis_server.client()
    ahead = 99_999_999_999_999
    for payload in (
        f"00000000 {ahead}-0 abcde 0 -",
        f"{ahead}-0",
        f"{ahead}-0 ",
        "",
        "x",
        b"\xff\xfe",
        "- -\n",
    ):
        client.publish(subscriber._own, payload)
    await backend.publish([out("a", "on")])
    await ear.wait(1)
    assert subscriber.position.id.ms < ahead
    assert subscriber.generation == 1


BAD = [
    b"",
    b"x",
    b"- -",
    b"- -\n",
    b"s 1-1 -\ndata: x\n",
    b"s 1 -\ndata: x\n\n",
    b"s 1-1\ndata: x\n\n",
    b"s -1-1 -\ndata: x\n\n",
    b"s 1-1 1\ndata: x\n\n",
    b"s " + b"9" * 5000 + b"-1 -\ndata: x\n\n",
    b"s 9999999999999999-1 -\ndata: x\n\n",
    b"s \xff\xfe -\ndata: x\n\n",
    b"1-1 -\ndata: x\n\n",
    b"{",
    b"{}",
    b'{"data": NaN}',
    b'{"data": "x", "event": 5}',
    b'{"data": "x", "event": "a\\nb"}',
    b'{"data": "x", "event": "error"}',
    b'{"data": "x", "event": "edge-close"}',
    b'{"data": "\\ud800"}',
    b'{"data": "\xff"}',
    b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"data": "' + b"x" * 300_000 + b'"}',
    b"[1]",
    b'"data"',
]


async def test_malformed_messages_are_counted_and_dropped(start, redis_server):
    """Whatever anybody publishes on a channel, the worker goes on, and says how much it dropped."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    client = redis_server.client()
    for n, payload in enumerate(BAD):
        client.publish("sse:a", payload)
        client.publish("sse:a", json.dumps({"data": f"good {n}"}))
    await backend.publish([out("a", "end")])
    await ear.until(lambda: ear.data and ear.data[-1] == "end")
    assert ear.data[:-1] == [f"good {n}" for n in range(len(BAD))]
    assert subscriber.dropped["malformed"] == len(BAD)
    assert subscriber.generation == 1
    assert ear.resets == []


async def test_other_replies(start):
    """A push of another kind, or about what nobody asked for, is nothing; an error ends the session."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    for reply in (
        [b"invalidate", [b"a"]],
        [b"pong", b""],
        [b"message", b"elsewhere", b"x"],
        [b"moving", b"sse:a", b"x"],
        [b"unsubscribe", b"elsewhere", 0],
        b"OK",
        b"abc",
        None,
        5,
    ):
        subscriber._on_reply(reply)
    with pytest.raises(ResponseError):
        subscriber._on_reply(ResponseError("NOPERM"))
    await backend.publish([out("a", "on")])
    await ear.wait(1)
    assert (subscriber.generation, subscriber.dropped) == (1, {"malformed": 0, "foreign": 0})


FORGED = [
    b"%s 99999999999999-1 -\ndata: far ahead\n\n",
    b"%s - -\ndata: live only\n\n",
    b"%s 99999999999999-1 99999999999998-1\ndata: a gap\n\n",
    b"%s - -\nevent: edge-close\ndata: {}\n\n",
    b"%s - -\ndata: two\n\ndata: events\n\n",
]


@pytest.mark.parametrize("seal", [b"00000000", b"x"])
async def test_who_may_only_publish_moves_nothing(start, redis_server, seal, caplog):
    """An announcement without the seal that only the data set knows is dropped, counted, and logged once."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe(["a"])
    client = redis_server.client()
    for forged in FORGED:
        client.publish("sse:a", forged % seal)
    await backend.publish([out("a", "real")])
    await ear.until(lambda: "real" in ear.data)
    assert ear.data == ["real"]
    assert (subscriber.generation, ear.resets) == (1, [])
    assert subscriber.dropped == {"malformed": 2, "foreign": len(FORGED) - 2}  # two are no single events
    assert len([record for record in caplog.records if "somebody else" in record.message]) == 1


async def test_a_plain_order_to_all_workers_is_dropped(start, redis_server):
    """Streams are ended by who can read the data set, and not by who may only PUBLISH."""
    backend, subscriber, ear = await start()
    await subscriber.subscribe([CONTROL])
    redis_server.client().publish(f"sse:{CONTROL}", json.dumps({"data": {"channel": "a"}}))
    await backend.publish([out(CONTROL, "real")])
    await ear.wait(1)
    assert ear.data == ["real"]
    assert subscriber.dropped == {"malformed": 0, "foreign": 1}
