"""Polls through the door: what they are told, how they end, and that nothing is ever left behind."""

import asyncio
import json
import time
import uuid

import pytest

from sse_edge import Channel, Identity, Limits, MemoryBackend, Publisher, SignedCookie, SSEMiddleware
from sse_edge.backends.base import Reset
from sse_edge.backends.memory.subscriber import MemorySubscriber
from sse_edge.delivery import poll
from sse_edge.delivery.poll import PACE
from sse_edge.errors import BackendError
from sse_edge.event import Event, EventId, Place
from sse_edge.outcome import DRAIN

AUTH = SignedCookie("a secret of the tests")
CHANNELS = {"/events/me": ["user:{user}", "news"], "/events/room/{room}": ["room:{room}", "news"]}
ORIGIN = "http://testserver"


@pytest.fixture
async def edge():
    """``edge(backend=…, …)`` makes an SSEMiddleware; at the end nothing of any request may be left in it."""
    made = []

    def make(**settings):
        settings = {"backend": f"memory://{uuid.uuid4().hex}", "auth": AUTH, "channels": CHANNELS, **settings}
        made.append(SSEMiddleware(**settings))
        return made[-1]

    yield make
    for middleware in made:
        hub = middleware._worker.hub if middleware._worker else None
        if hub is not None:
            assert (hub.streams, hub._feeds, dict(hub._clock._wheel._buckets)) == (set(), {}, {})
            assert middleware._leases.count("user:u42") == middleware._leases.count("ip:127.0.0.1") == 0
        await middleware.stop()
        await middleware._backend.close()


def cookie(user="u42", channels=(), **options):
    """Headers with a cookie that lets ``user`` in."""
    return {"cookie": f"session={AUTH.issue(user, channels, **options)}"}


class Users:
    """Lets everybody in as whom it is told."""

    def __init__(self, who):
        self.who = who

    def identify(self, request, now):
        return self.who()


@pytest.fixture
def ask(asgi):
    """``ask(edge, after, wait=…)`` begins a poll; ``await told(client)`` is what it was answered."""

    def make(middleware, after=None, wait=10, path="/events/me", headers=None, **options):
        query = f"poll={wait}" + (f"&last_event_id={after}" if after else "")
        return asgi(
            middleware, path, query=query, headers=cookie() if headers is None else headers, **options
        )

    return make


async def told(client, status=200):
    """A poll's answer, once it is there."""
    body = await client.whole(15)
    assert client.status == status, body
    assert client.header("content-type") == "application/json"
    assert client.header("cache-control") == "no-store, no-transform"
    assert int(client.header("content-length")) == len(body)
    assert [value for name, value in client.headers if name == b"vary"] == [b"Origin", b"Accept"]
    return json.loads(body)


def data(answer):
    return [event["data"] for event in answer["events"]]


async def waits(middleware, count=1):
    """Return when so many polls wait and have been given what is there."""
    async with asyncio.timeout(10):
        while True:
            hub = middleware._worker and middleware._worker.hub
            if hub and len(hub.streams) == count and not any(stream.owed for stream in hub.streams):
                return
            await asyncio.sleep(0.002)


async def test_without_a_place_it_is_told_one(edge, ask, url, async_publisher):
    """The first poll does not wait: from the place that it is told nothing is lost."""
    middleware = edge(backend=url)
    first = await told(ask(middleware, wait=60))
    assert (first["events"], first["resets"], first["close"], first["retry"]) == ([], [], None, 0)
    ids = [
        await async_publisher.publish("news", "a"),
        await async_publisher.publish("user:u42", "b", event="x"),
    ]
    await async_publisher.publish("user:u43", "not mine")
    answer = await told(ask(middleware, first["next"]))
    assert answer["events"] == [
        {"id": ids[0], "event": "message", "data": "a"},
        {"id": ids[1], "event": "x", "data": "b"},
    ]
    assert middleware.figures()["delivered"] == 2
    assert middleware.figures()["endings"] == {"answered": 2}


async def test_it_waits_for_an_event(edge, ask, url, async_publisher):
    """What is published together while it waits is told together, at once."""
    middleware = edge(backend=url)
    place = (await told(ask(middleware)))["next"]
    client = ask(middleware, place, wait=60).open()
    await waits(middleware)
    await async_publisher.publish_many([("news", Event(str(n))) for n in range(5)])
    answer = await told(client)
    assert data(answer) == list("01234")
    assert data(await told(ask(middleware, answer["next"], wait=0))) == []


async def test_events_that_come_fast(edge, ask, url, async_publisher):
    """A poll that is answered soon says when to come again, so that a busy channel does not use up what an
    address may ask; one that has waited, or has more to come, says at once."""
    middleware = edge(backend=url)
    place = (await told(ask(middleware)))["next"]
    await async_publisher.publish("news", "a")
    answer = await told(ask(middleware, place, wait=60))
    assert data(answer) == ["a"]
    assert 100 <= answer["retry"] <= 250
    client = ask(middleware, answer["next"], wait=60).open()
    await waits(middleware)
    (waiting,) = middleware._worker.hub.streams
    waiting.opened -= PACE  # as if it had waited
    await async_publisher.publish("news", "b")
    answer = await told(client)
    assert (data(answer), answer["retry"]) == (["b"], 0)


async def test_nothing_in_time(edge, ask, url, async_publisher):
    """With no event in time there is an empty list, and a place that has moved on."""
    middleware = edge(backend=url)
    place = (await told(ask(middleware)))["next"]
    await async_publisher.publish("room:other", "so that time goes on")
    answer = await told(ask(middleware, place, wait=0.2))
    assert (answer["events"], answer["close"], answer["retry"]) == ([], None, 0)
    assert Place.parse(answer["next"]) >= Place.parse(place)


async def test_at_once(edge, ask, url, async_publisher):
    """``poll=0`` waits for nothing, and says when to come again."""
    middleware = edge(backend=url, retry=3)
    place = (await told(ask(middleware)))["next"]
    await async_publisher.publish("news", "a")
    answer = await told(ask(middleware, place, wait=0))
    assert data(answer) == ["a"]
    assert 1500 <= answer["retry"] <= 4500


async def test_the_places_of_a_stream(edge, ask, asgi, url, async_publisher):
    """A poll takes a stream's place and a stream a poll's, by the header or by the query."""
    middleware = edge(backend=url)
    place = (await told(ask(middleware)))["next"]
    ids = [await async_publisher.publish("news", str(n)) for n in range(3)]
    by_header = asgi(middleware, "/events/me", query="poll", headers={**cookie(), "last-event-id": ids[0]})
    assert data(await told(by_header)) == ["1", "2"]
    other = asgi(middleware, "/events/me", query=f"poll&lastEventId={ids[1]}", headers=cookie())
    answer = await told(other)
    assert data(answer) == ["2"]
    accept = {**cookie(), "accept": "application/json", "last-event-id": place}
    assert data(await told(asgi(middleware, "/events/me", headers=accept))) == ["0", "1", "2"]
    stream = asgi(middleware, "/events/me", headers={**cookie(), "last-event-id": answer["next"]})
    await stream.start()
    await waits(middleware)
    await async_publisher.publish("news", "3")
    await stream.wait_for(b"data: 3")
    assert b"data: 2" not in stream.body()
    stream.disconnect()
    await stream.ended()


@pytest.mark.parametrize("place", ["nonsense", "5-1.zzzzz"])
async def test_a_place_that_is_not_known(edge, ask, place):
    """It is answered at once with what is reset, and a place in what there is: that is told once."""
    middleware = edge()
    answer = await told(ask(middleware, place, wait=60))
    reason = "unknown-id" if place == "nonsense" else "epoch"
    assert answer["resets"] == [{"channel": name, "reason": reason} for name in ("user:u42", "news")]
    assert (await told(ask(middleware, answer["next"], wait=0)))["resets"] == []


async def test_a_reset_while_it_waits(edge, ask, asgi):
    """It is told, with a place in the new data set."""
    backend = MemoryBackend()
    middleware = edge(backend=backend)
    place = (await told(ask(middleware)))["next"]
    client = ask(middleware, place, wait=60).open()
    await waits(middleware)
    subscriber = middleware._worker.hub.subscriber
    head = Place(EventId(1, 0), "other")
    type(subscriber).position, position = property(lambda self: head), type(subscriber).position
    try:
        middleware._worker.hub.reset(Reset("news", "epoch", head))
        answer = await told(client)
    finally:
        type(subscriber).position = position
    assert answer["resets"] == [{"channel": "news", "reason": "epoch"}]
    assert answer["next"] == str(head)


async def test_a_large_replay_is_cut(edge, ask, url, async_publisher, monkeypatch):
    """Of many bytes an answer has some, and the next poll goes on from there: nothing lost, nothing twice."""
    monkeypatch.setattr(poll, "MOST", 2000)
    middleware = edge(backend=url)
    place = (await told(ask(middleware)))["next"]
    await async_publisher.publish_many([("news", Event(f"{n} " + "x" * 300)) for n in range(40)])
    got, answers = [], 0
    while len(got) < 40:
        client = ask(middleware, place, wait=0)
        answer = await told(client)
        assert len(client.body()) < 5000
        assert (answer["retry"] == 0) is (len(got) + len(answer["events"]) < 40)
        got += [int(text.split()[0]) for text in data(answer)]
        place, answers = answer["next"], answers + 1
    assert got == list(range(40))
    assert answers > 4


async def test_a_burst_while_it_waits_is_cut(edge, ask, async_publisher, url, monkeypatch):
    """The same of what comes in one moment."""
    monkeypatch.setattr(poll, "MOST", 2000)
    middleware = edge(backend=url)
    place = (await told(ask(middleware)))["next"]
    client = ask(middleware, place, wait=60).open()
    await waits(middleware)
    await async_publisher.publish_many([("news", Event(f"{n} " + "x" * 300)) for n in range(40)])
    first = await told(client)
    got = [int(text.split()[0]) for text in data(first)]
    assert got == list(range(len(got)))
    assert 0 < len(got) < 12
    monkeypatch.undo()
    rest = await told(ask(middleware, first["next"], wait=0))
    assert got + [int(text.split()[0]) for text in data(rest)] == list(range(40))


async def test_what_is_on_no_record(edge, ask):
    """Where no history is kept there are no places: a poll is told what comes while it waits."""
    backend = MemoryBackend(history=0)
    middleware, async_publisher = edge(backend=backend), Publisher(backend)
    client = ask(middleware, wait=60).open()
    await waits(middleware)
    await async_publisher.publish("news", "live")
    answer = await told(client)
    assert answer["events"] == [{"event": "message", "data": "live"}]
    assert answer["next"] is None


JOBS = {
    "/events/job/{job}": Channel("job:{job}", first="all"),
    "/events/state/{job}": Channel("job:{job}", first=1),
}

LISTENER = {"headers": cookie(channels=["job:*"])}


async def test_what_comes_first(edge, ask, url, async_publisher):
    """Who has no place is told what a stream would begin with, at once, and then what follows."""
    middleware = edge(backend=url, channels=JOBS)
    ids = [await async_publisher.publish("job:7", str(n)) for n in range(3)]
    state = await told(ask(middleware, wait=60, path="/events/state/7", **LISTENER))
    assert (data(state), state["events"][0]["id"]) == (["2"], ids[2])
    assert data(await told(ask(middleware, wait=60, path="/events/job/7", **LISTENER))) == ["0", "1", "2"]
    await async_publisher.publish("job:7", "3")
    assert data(await told(ask(middleware, state["next"], path="/events/state/7", **LISTENER))) == ["3"]


async def test_a_channel_that_is_finished(edge, ask, asgi, url, async_publisher):
    """The last answer has the last event and says that it was; who has had that is told by a 204 alone."""
    middleware = edge(backend=url, channels=JOBS)
    job = {"path": "/events/job/7", **LISTENER}
    place = (await told(ask(middleware, **job)))["next"]
    client = ask(middleware, place, wait=60, **job).open()
    await waits(middleware)
    await async_publisher.finish("job:7", "done")
    answer = await told(client)
    assert data(answer) == ["done"]
    answer = answer if answer["close"] else await told(ask(middleware, answer["next"], wait=60, **job))
    assert answer["close"] == {"reason": "finished"}
    over = ask(middleware, answer["next"], wait=60, **job)
    assert (await over.whole(), over.status) == (b"", 204)
    late = await told(ask(middleware, wait=60, **job))
    assert (data(late), late["close"]) == (["done"], {"reason": "finished"})


async def test_a_long_history_that_is_finished(edge, ask, url, async_publisher, monkeypatch):
    """No answer but the last says that it is over: a client that stops at the end has had everything."""
    monkeypatch.setattr(poll, "MOST", 2000)
    middleware = edge(backend=url, channels=JOBS)
    job = {"path": "/events/job/7", **LISTENER}
    await async_publisher.publish_many([("job:7", Event(f"{n} " + "x" * 300)) for n in range(40)])
    await async_publisher.finish("job:7", "40")
    got, place, answers = [], None, 0
    while True:
        answer = await told(ask(middleware, place, wait=60, **job))
        got += [int(text.split()[0]) for text in data(answer)]
        place, answers = answer["next"], answers + 1
        if answer["close"]:
            break
        assert answer["retry"] == 0
    assert got == list(range(41))
    assert answers > 4
    over = ask(middleware, place, **job)
    assert (await over.whole(), over.status) == (b"", 204)


async def ended(client, reason):
    """A poll's answer that says ``reason``, and when to come back."""
    answer = await told(client)
    assert answer["close"] == {"reason": reason}
    assert answer["retry"] > 0
    return answer


async def test_a_drain_ends_polls_at_once(edge, ask):
    """However long its window is; and refuses the next with a status."""
    middleware = edge(drain_window=30)
    place = (await told(ask(middleware)))["next"]
    clients = [ask(middleware, place, wait=60, headers=cookie(f"u{n}")).open() for n in range(5)]
    await waits(middleware, 5)
    async with asyncio.timeout(5):
        await middleware.drain(60)
    for client in clients:
        assert (await ended(client, "drain"))["next"]
    late = ask(middleware, place)
    assert (await told(late, 503))["error"] == "draining"
    assert int(late.header("retry-after")) >= 1


async def test_what_came_before_the_end_is_told(edge, ask):
    """An ending in the very turn of an event takes it along."""
    middleware, async_publisher = edge(backend=(backend := MemoryBackend())), Publisher(backend)
    place = (await told(ask(middleware)))["next"]
    client = ask(middleware, place, wait=60).open()
    await waits(middleware)
    await async_publisher.publish("news", "last")
    hub = middleware._worker.hub
    (stream,) = hub.streams
    hub.end(stream, DRAIN)
    answer = await ended(client, "drain")
    assert data(answer) == ["last"]
    assert (await told(ask(middleware, answer["next"], wait=0)))["events"] == []


@pytest.mark.parametrize("by", ["user", "channel", "session"])
async def test_disconnected(edge, ask, by):
    """Polls are disconnected as streams are."""
    middleware = edge()
    place = (await told(ask(middleware)))["next"]
    client = ask(middleware, place, wait=60, headers=cookie(session="s1")).open()
    await waits(middleware)
    middleware.disconnect(**{by: {"user": "u42", "channel": "news", "session": "s1"}[by]})
    await ended(client, "revoked")


async def test_its_time_is_over(edge, ask):
    """Where streams live shorter than a poll would wait, so does it; and never longer than its session."""
    middleware = edge(max_duration=0.2)
    place = (await told(ask(middleware)))["next"]
    await ended(ask(middleware, place, wait=60), "max-duration")
    expires = time.time() + 0.5
    middleware = edge(auth=Users(lambda: Identity("u42", expires=expires)))
    place = (await told(ask(middleware)))["next"]
    await ended(ask(middleware, place, wait=60), "session-expired")
    assert (await told(ask(middleware, place), 401))["error"] == "unauthenticated"


async def test_a_channel_is_taken_away(edge, ask):
    """Of several channels it is told which; with the last one it ends."""
    allowed = {"room:1", "news"}

    async def authorize(identity, channel):
        return channel in allowed

    middleware = edge(
        auth=Users(lambda: Identity("u42")),
        authorize=authorize,
        reauthorize_every=0.2,
    )
    room = "/events/room/1"
    place = (await told(ask(middleware, path=room)))["next"]
    client = ask(middleware, place, wait=60, path=room).open()
    await waits(middleware)
    allowed.remove("room:1")
    answer = await told(client)
    assert answer["dropped"] == [{"channel": "room:1", "reason": "forbidden"}]
    assert answer["close"] is None
    assert (await told(ask(middleware, answer["next"], path=room), 403))["error"] == "forbidden"


async def test_the_backend_is_lost_while_history_is_read(edge, ask):
    """The client is told to come back with the place that it had."""
    backend = MemoryBackend()

    class Lost(MemorySubscriber):
        async def replay(self, *arguments):
            raise BackendError("gone")

    backend.subscriber = lambda receiver: Lost(backend.store, receiver)
    middleware = edge(backend=backend)
    answer = await ended(ask(middleware, "5-1.abcde"), "backend-lost")
    assert answer["next"] == "5-1.abcde"


async def test_the_client_leaves(edge, ask):
    """Its slot and its subscriptions are free at once."""
    middleware = edge()
    place = (await told(ask(middleware)))["next"]
    client = ask(middleware, place, wait=60).open()
    await waits(middleware)
    client.disconnect()
    await client.ended()
    assert middleware.figures()["endings"]["client-gone"] == 1
    assert client.messages == []


@pytest.mark.parametrize("turns", range(12))
async def test_it_is_cancelled(edge, ask, turns):
    """At whatever await the server cancels it, nothing is left; the fixture looks."""
    middleware = edge()
    await told(ask(middleware))
    client = ask(middleware, "nonsense" if turns % 2 else None, wait=0).open()
    for _ in range(turns):
        await asyncio.sleep(0)
    await client.cancel()


async def test_a_client_that_does_not_take_its_answer(edge, ask):
    """It holds its slot for max_unsent_age, and no longer."""
    middleware = edge(max_unsent_age=0.3)
    place = (await told(ask(middleware)))["next"]
    client = ask(middleware, place, wait=0)
    client.block_send()
    client.open()
    await client.ended(10)
    assert not client.complete


@pytest.mark.parametrize("said_as", ["auto", "stream", "status"])
async def test_a_refusal_is_a_status(edge, ask, asgi, said_as):
    """Always: a client that polls reads statuses, whatever it accepts besides."""
    middleware = edge(limits=Limits(per_user=1), refusals=said_as)
    place = (await told(ask(middleware)))["next"]
    holder = ask(middleware, place, wait=60).open()
    await waits(middleware)
    headers = {**cookie(), "accept": "text/event-stream", "origin": ORIGIN}
    client = asgi(middleware, "/events/me", query="poll", headers=headers)
    assert (await told(client, 429))["error"] == "user-limit"
    assert int(client.header("retry-after")) >= 1
    assert client.header("access-control-allow-origin") == ORIGIN
    holder.disconnect()
    await holder.ended()
    assert (await told(ask(middleware, place, wait=0)))["events"] == []


async def test_a_poll_needs_a_backend(edge, ask):
    """While it is away a poll is refused, also where streams are let in to wait for it."""
    backend = MemoryBackend()

    class Away(MemorySubscriber):
        connected = False

        async def subscribe(self, channels):
            if "news" in channels:
                raise BackendError("away")
            return await super().subscribe(channels)

    backend.subscriber = lambda receiver: Away(backend.store, receiver)
    client = ask(edge(backend=backend, on_backend_down="accept"))
    assert (await told(client, 503))["error"] == "backend-down"
    assert int(client.header("retry-after")) >= 1


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"headers": {}}, 401, "unauthenticated"),
        ({"headers": {**cookie(), "origin": "https://evil.example"}}, 403, "origin"),
        ({"path": "/events/room/1"}, 403, "forbidden"),
        ({"path": "/events/nowhere"}, 404, "not-found"),
        ({"method": "POST"}, 405, "method"),
        ({"wait": "soon"}, 400, "bad-request"),
    ],
)
async def test_it_is_admitted_like_a_stream(edge, ask, options, status, code):
    """Every other check is the same."""
    client = ask(edge(), **options)
    assert (await told(client, status))["error"] == code


async def test_head_and_options(edge, ask):
    """HEAD says what GET would, and waits for nothing; a preflight lets Last-Event-ID through."""
    middleware = edge()
    head = ask(middleware, wait=60, method="HEAD")
    assert await head.whole() == b""
    assert (head.status, head.header("content-type")) == (200, "application/json")
    options = ask(middleware, method="OPTIONS", headers={"origin": ORIGIN})
    await options.whole()
    assert (options.status, options.header("access-control-allow-headers")) == (
        204,
        "last-event-id, cache-control",
    )
