"""A plain PUBLISH by anybody: what is taken for an event, and what is dropped."""

import json
import logging

import pytest

from parts.publishers import after_a_last_event, listeners
from sse_edge import Publisher, RedisBackend
from sse_edge.event import MAX_EVENT_BYTES


@pytest.fixture
async def listen():
    """See ``listeners``."""
    async with listeners() as listen:
        yield listen


# ---- A plain PUBLISH by anybody

PLAIN = [
    ({"data": "text"}, ("message", "text")),
    ({"event": "status", "data": "text"}, ("status", "text")),
    ({"event_type": "status", "data": "text"}, ("status", "text")),
    ({"event": "first", "event_type": "second", "data": "x"}, ("first", "x")),
    ({"event": None, "data": "x"}, ("message", "x")),
    ({"data": {"a": [1, "é"]}}, ("message", '{"a":[1,"é"]}')),
    ({"data": None}, ("message", "null")),
    ({"data": 5, "more": "ignored"}, ("message", "5")),
    ({"data": "a\r\nb\rc"}, ("message", "a\nb\nc")),
    ({"data": ""}, ("message", "")),
]


@pytest.fixture
async def plain(redis_server, redis_url, listen):
    """``publish(payload)`` by redis-cli or a client, a listener on channel ``c``, and its subscriber."""
    backend = RedisBackend(redis_url)
    listener, subscriber = await listen(backend, "c")
    client = redis_server.client(decode_responses=False)

    def publish(payload, *, cli=False):
        if cli:
            assert redis_server.cli("PUBLISH", "sse:c", payload) == "1"
        else:
            assert client.publish("sse:c", payload) == 1

    yield publish, listener, subscriber, Publisher(backend)
    await subscriber.close()
    await backend.close()


@pytest.mark.live
async def test_plain_publish(plain):
    """JSON that any Redis client publishes arrives as a live-only event."""
    publish, listener, subscriber, _ = plain
    for payload, _ in PLAIN:
        publish(json.dumps(payload), cli=True)
    heard = await listener.wait(len(PLAIN))
    assert heard == [("c", *expected, "") for _, expected in PLAIN]
    assert {id for _, id, _ in listener.heard} == {None}
    assert subscriber.dropped["malformed"] == 0


BIG = MAX_EVENT_BYTES


MALFORMED = {
    "bad JSON": b'{"data": ',
    "not JSON": b"hello",
    "empty": b"",
    "JSON list": b'["data"]',
    "JSON text": b'"data"',
    "no data": b'{"event": "x"}',
    "empty object": b"{}",
    "CR in name": b'{"event": "a\\rb", "data": "x"}',
    "LF in name": b'{"event": "a\\nid: 1", "data": "x"}',
    "NUL in name": b'{"event_type": "a\\u0000", "data": "x"}',
    "reserved name": b'{"event": "error", "data": "x"}',
    "number as name": b'{"event": 5, "data": "x"}',
    "object as name": b'{"event": {}, "data": "x"}',
    "surrogate": b'{"data": "\\ud800"}',
    "surrogate in JSON": b'{"data": {"a": "\\ud800"}}',
    "infinite": b'{"data": 1e999}',
    "NaN": b'{"data": NaN}',
    "not UTF-8": b'{"data": "\xff"}',
    "deep": b'{"data": ' + b"[" * 100_000,
    "too large": b'{"data": "' + b"x" * BIG + b'"}',
    "far too large": b'{"data": "' + b"x" * 3 * BIG + b'"}',
    "many digits": b'{"data": ' + b"9" * 5000 + b"}",
    "id without body": b"1-1 -",
    "no blank line": b"1-1 -\ndata: x\n",
    "no id": b"\ndata: x\n\n",
    "words for ids": b"now then\ndata: x\n\n",
    "id out of range": b"99999999999999999999-1 -\ndata: x\n\n",
    "negative id": b"-1--1 -\ndata: x\n\n",
    "bad previous id": b"1-1 x\ndata: x\n\n",
    "id with a line": b"1\r-1 -\ndata: x\n\n",
    "spaced id": b" 1 - 1  -\ndata: x\n\n",
    "underscored id": b"1_0-1 -\ndata: x\n\n",
    "not our bytes": bytes(range(256)),
}


@pytest.mark.live
@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed(plain, caplog, name):
    """What is no event is counted and logged in one line, and nobody gets it; the next event arrives."""
    publish, listener, subscriber, publisher = plain
    caplog.set_level(logging.DEBUG, "sse_edge")
    publish(MALFORMED[name])
    assert [event[2] for event in await after_a_last_event(publisher, listener)] == ["last"]
    assert subscriber.dropped["malformed"] == 1
    records = [record for record in caplog.records if record.name == "sse_edge"]
    assert [record.levelno for record in records] == [logging.WARNING]
    assert records[0].exc_info is None
    line = records[0].getMessage()
    assert "channel=c" in line
    assert "\n" not in line
    assert "\r" not in line
    assert len(line) < 500


@pytest.mark.live
async def test_a_flood_of_malformed_messages(plain):
    """Malformed messages by the thousand are each counted, and the connection survives them."""
    publish, listener, subscriber, publisher = plain
    for _ in range(2000):
        publish(b"garbage")
    await after_a_last_event(publisher, listener)
    assert subscriber.dropped["malformed"] == 2000
    assert subscriber.generation == 1
