"""``max_event_bytes``: how large an event may be, wherever one is taken."""

import inspect
import json

import pytest
import redis

from servers.sse import Decoder
from sse_edge import (
    Anonymous,
    Channel,
    ConfigError,
    Event,
    EventError,
    MemoryBackend,
    Publisher,
    PublishToken,
    RedisBackend,
    Source,
    SSEMiddleware,
    SyncPublisher,
)
from sse_edge.event import MAX_EVENT_BYTES
from sse_edge.publishing.sync_publisher import prepared

MOST = 2000
FITS = "x" * (MOST - len("data: \n\n"))
TOKENS = PublishToken("a secret of the tests")


@pytest.mark.parametrize("make", [Publisher, SyncPublisher, SSEMiddleware])
@pytest.mark.parametrize("value", [1023, 262_145, 0, True, "2000", None, 2000.0])
def test_what_it_may_be(make, value):
    """A whole number of bytes from 1,024 to 262,144: what is larger belongs behind a link."""
    settings = (
        {"auth": Anonymous(["news"]), "channels": {"/events/x": "news"}} if make is SSEMiddleware else {}
    )
    with pytest.raises(
        ConfigError, match=r"max_event_bytes: must be a whole number of bytes, 1,024 to 262,144"
    ):
        make(backend=MemoryBackend(), max_event_bytes=value, **settings)
    for fine in (1024, MAX_EVENT_BYTES):
        make(backend=MemoryBackend(), max_event_bytes=fine, **settings)


@pytest.mark.parametrize(
    ("method", "given", "field"),
    [
        ("publish", {"channel": "c", "data": FITS + "x"}, "data"),
        ("publish", {"channel": "c", "data": Event(FITS + "x")}, "data"),
        ("publish", {"channel": "c", "data": "\n" * 400}, "data"),
        ("publish", {"channel": "c", "json": FITS}, "json"),
        ("finish", {"channel": "c", "data": FITS + "x"}, "data"),
        ("publish_many", {"events": [("c", "fits"), ("c", FITS + "x")]}, "data"),
    ],
)
async def test_a_publisher(method, given, field):
    """The field is named and the size said, and nothing is published."""
    backend = MemoryBackend()
    events = Publisher(backend, max_event_bytes=MOST)
    with pytest.raises(EventError, match=f"{field}.*larger than {MOST} bytes") as caught:
        await getattr(events, method)(**given)
    assert caught.value.field == field
    assert await events.recent("c", 9) == []
    await events.publish("c", FITS)
    await events.finish("c", FITS)
    with pytest.raises(EventError, match=f"larger than {MOST} bytes"):
        SyncPublisher(backend, max_event_bytes=MOST).publish("c", FITS + "x")
    sync = SyncPublisher(backend, max_event_bytes=MOST)
    bound = inspect.signature(getattr(sync, method)).bind(**given)
    bound.apply_defaults()
    with pytest.raises(EventError, match=f"larger than {MOST} bytes"):
        prepared(sync, method, bound.arguments)  # as for after a commit
    await getattr(Publisher(MemoryBackend()), method)(**given)


async def test_an_iterator():
    """Its text is cut where an event is full; an Event that is too large fails, and so does a long name."""
    events = Publisher(MemoryBackend(), max_event_bytes=1024)
    text = "".join(f"{n}\n" for n in range(2000))
    assert (await events.write("a", [text])).reason == "complete"
    *written, _ = await events.recent("a", 99)
    assert "".join(event.data for event in written) == text
    assert all(len(Event(each.data, event=each.event).encode()) <= 1024 for each in written)
    assert (await events.write("b", [Event("x" * 1024)])).reason == "failed"
    for given in ({"event": "x" * 600}, {"complete": "x" * 1024}):
        with pytest.raises(EventError, match="1024 bytes"):
            await events.write("c", ["x"], **given)


def greeting(request, identity):
    """As much as is asked for."""
    return "x" * int(request.params["size"])


async def items(request, identity, after):
    """One that fits, and another."""
    yield FITS
    yield FITS + "x"


@pytest.fixture
async def edge():
    """An edge whose events have MOST bytes at most."""
    channels = {
        "/events/greeting/{size}": Channel("news", greeting=greeting),
        "/events/source": Source(items),
    }
    settings = {"publish_path": "/publish", "publish_auth": TOKENS, "max_event_bytes": MOST}
    settings |= {"hosts": ["testserver"], "auth": Anonymous(["*"])}
    async with SSEMiddleware(channels=channels, **settings) as edge:
        yield edge


async def test_a_greeting(edge, asgi):
    """One that is too large fails: nobody gets a stream without its state."""
    await asgi(edge, f"/events/greeting/{len(FITS)}").wait_for(FITS.encode())
    client = asgi(edge, f"/events/greeting/{MOST}")
    assert json.loads(await client.whole())["error"] == "backend-down"


async def test_a_source(edge, asgi):
    """A stream whose iterator gives too much ends, as when that fails."""
    client = asgi(edge, "/events/source")
    await client.whole()
    (first, last) = Decoder().feed(client.body())
    assert (first.data, last.event, json.loads(last.data)) == (FITS, "edge-close", {"reason": "error"})


async def test_a_request_to_publish(edge, asgi):
    """It is told which event and field, and nothing of it is published."""
    headers = [("content-type", "application/json"), ("authorization", f"Bearer {TOKENS.issue(['*'])}")]
    asked = [{"channel": "news", "data": FITS}, {"channel": "news", "json": FITS}]
    client = asgi(edge, "/publish", method="POST", headers=headers, body=json.dumps(asked).encode())
    told = json.loads(await client.whole())
    assert (client.status, told["error"], told["index"], told["field"]) == (400, "bad-request", 1, "json")
    assert f"larger than {MOST} bytes" in told["detail"]
    assert await Publisher(edge.backend).recent("news", 9) == []


@pytest.mark.parametrize("partitions", [1, 3])
async def test_plain_publish(redis_url, asgi, partitions):
    """What anybody may PUBLISH is dropped where it is too large; a publisher has a setting of its own."""
    backend = RedisBackend(redis_url, partitions=partitions)
    settings = {"backend": backend, "max_event_bytes": MOST, "auth": Anonymous(["news"])}
    settings |= {"hosts": ["testserver"]}
    async with SSEMiddleware(channels={"/events/news": "news"}, **settings) as edge:
        client = asgi(edge, "/events/news")
        await client.wait_for(b"\nid: ")
        plain = redis.Redis.from_url(redis_url)
        for data in (FITS + "x", FITS):
            plain.publish(backend.partition("news").names.announce("news"), json.dumps({"data": data}))
        plain.close()
        await client.wait_for(b"data: " + FITS.encode() + b"\n\n")
        await Publisher(backend).publish("news", "y" * MOST)
        await client.wait_for(b"y\n\n")
        assert [event.data for event in Decoder().feed(client.body())] == [FITS, "y" * MOST]
        assert edge.figures()["dropped"] == {"malformed": 1, "foreign": 0}
    await backend.close()
