"""How a Source's stream ends, in the middle of whatever it is, and how it waits for its client."""

import asyncio
import contextlib
import json
import threading

import pytest

from parts.delivery import ListSink, ScriptedBackend, make_hub, settle
from parts.playing import AUTH, NOTHING, Numbers, Played, cookie, held, numbers, reason, said, sources, until
from sse_edge import Limits, Publisher, SignedCookie, Source
from sse_edge.delivery import source as playing
from sse_edge.outcome import DRAIN


@pytest.fixture
async def edge():
    async with sources() as make:
        yield make


@pytest.fixture
def patience(monkeypatch):
    """Iterators have less time to end than in earnest."""
    monkeypatch.setattr(playing, "PATIENCE", 0.2)


async def end(middleware, how, client):
    """Have the stream end so; what the client is told, if anything."""
    if how == "client-gone":
        client.disconnect()
    elif how == "drain":
        await middleware.drain(0)
    elif how == "stopped":
        await middleware.stop()
    else:
        assert middleware.disconnect(**{how: {"user": "u1", "channel": "clock"}[how]}) == 1


@pytest.mark.parametrize("how", ["client-gone", "drain", "stopped", "user", "channel"])
@pytest.mark.parametrize("where", ["item", "client"])
async def test_it_is_closed(edge, asgi, how, where):
    """However its stream ends, in the middle of an item or waiting for the client, its finally has run."""
    played = Played("x") if where == "item" else Played(*["x" * 60_000] * 100)
    middleware = edge(Source(played, "clock"))
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"retry: ")
    if where == "item":
        await client.wait_for(b"data: x")
        await played.waits.wait()
    else:
        client.block_send()
        await until(lambda: client.waiting_sends)
    ending = asyncio.create_task(end(middleware, how, client))
    await until(lambda: played.closed == 1)  # before the client has taken the goodbye
    assert where == "item" or not client.complete
    client.unblock_send()
    await client.ended()
    await ending
    await until(lambda: played.closed == 1)
    if how != "client-gone":
        assert reason(client) == {"drain": "drain", "stopped": "drain"}.get(how, "revoked")
    if how != "stopped":
        await until(lambda: held(middleware) == NOTHING)


@pytest.mark.parametrize(
    ("settings", "ending"), [({"max_duration": 0.2}, "max-duration"), ({"auth": "short"}, "session-expired")]
)
async def test_it_ends_in_time(edge, asgi, settings, ending):
    """After the longest life of a stream, and with its session."""
    auth = SignedCookie("a secret of the tests", secure=False, max_age=1) if "auth" in settings else AUTH
    played = Played("x")
    middleware = edge(played, **{**settings, "auth": auth})
    client = asgi(middleware, "/events/x", headers={"cookie": f"session={auth.issue('u1')}"})
    await client.whole()
    assert reason(client) == ending
    await until(lambda: played.closed == 1)


async def test_its_slot_is_free_again(edge, asgi):
    """A source's stream is a stream of its user."""
    middleware = edge(Played("x"), limits=Limits(per_user=1))
    first = asgi(middleware, "/events/x", headers=cookie())
    await first.wait_for(b"data: x")
    second = asgi(middleware, "/events/x", headers=cookie())
    await second.whole()
    assert (second.status, json.loads(second.body())["error"]) == (429, "user-limit")
    first.disconnect()
    await first.ended()
    await asgi(middleware, "/events/x", headers=cookie()).wait_for(b"data: x")


async def test_an_iterator_without_aclose(edge, asgi):
    """It is cancelled where it waits, which is all that can be done."""
    middleware = edge(Numbers)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"data: made")
    client.disconnect()
    await client.ended()
    await until(lambda: held(middleware) == NOTHING)


class Closing:
    """An iterator of objects, which is closed by ``aclose`` alone; that may raise, or take for ever."""

    def __init__(self, closing):
        self.closing = closing
        self.closes = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.Event().wait()

    async def aclose(self):
        self.closes += 1
        async with asyncio.TaskGroup() as group:  # as one that has to end what it began
            group.create_task(asyncio.sleep(0))
        assert not asyncio.current_task().cancelling()
        if self.closing == "raises":
            raise RuntimeError("no more")
        if self.closing == "hangs":
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("closing", "line"),
    [
        ("well", None),
        ("raises", "source failed to close for /events/x, user=u1"),
        ("hangs", "source did not stop within 0 s and was let go of, for /events/x, user=u1"),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
async def test_closing_an_iterator(edge, asgi, caplog, patience, closing, line, begun):
    """Also one that was asked for nothing yet; what goes wrong then is logged, and holds up nobody."""
    iterator, asked, go = Closing(closing), asyncio.Event(), asyncio.Event()

    async def make(request, identity, after):
        asked.set()
        if not begun:
            await go.wait()
        return iterator

    middleware = edge(make)
    client = asgi(middleware, "/events/x", headers=cookie()).open()
    await asked.wait()
    if begun:
        await client.wait_for(b"retry: ")
    middleware.disconnect(user="u1")
    await until(lambda: all(stream.ending for stream in middleware._worker.hub.streams))
    go.set()
    await client.whole()
    assert reason(client) == "revoked"
    await until(lambda: held(middleware) == NOTHING)
    assert iterator.closes == 1
    lines = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert lines == ([] if line is None else [line])


async def swallows_once(request, identity, after):
    try:
        yield "x"
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        yield "after the end"


async def swallows(request, identity, after):
    yield "x"
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def swallows_everything(request, identity, after):
    yield "x"
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.Event().wait()


class Swallows(Closing):
    """The same as a class."""

    async def __anext__(self):
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("make", "let_go"),
    [
        (swallows_once, False),
        (swallows, True),
        (swallows_everything, True),
        (lambda request, identity, after: Swallows("well"), True),
    ],
)
async def test_an_iterator_that_does_not_end(edge, asgi, caplog, patience, make, let_go):
    """It is let go of in a second, and the worker stops: no task is left."""
    before = asyncio.all_tasks()
    middleware = edge(make)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"retry: ")
    await until(lambda: middleware._worker.hub.sources._pumps)
    for _ in range(5):
        await asyncio.sleep(0)
    async with asyncio.timeout(3):
        await middleware.stop()
    await client.whole()
    assert reason(client) == "drain"
    assert ("was let go of, for /events/x, user=u1" in caplog.text) is let_go
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


@pytest.mark.parametrize("kind", ["waits", "blocks"])
async def test_cancelled_while_it_is_made(edge, asgi, kind):
    """Nothing is held."""
    began, release, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    async def waits(request, identity, after):
        began.set()
        await asyncio.Event().wait()

    def blocks(request, identity, after):
        loop.call_soon_threadsafe(began.set)
        release.wait(5)
        return numbers()

    middleware = edge(waits if kind == "waits" else blocks)
    client = asgi(middleware, "/events/x", headers=cookie()).open()
    await began.wait()
    assert held(middleware)[0] == 1
    timer = loop.call_later(0.1, release.set)
    await client.cancel()
    timer.cancel()
    release.set()
    assert held(middleware) == NOTHING


@pytest.mark.parametrize("how", ["user", "channel"])
async def test_ended_while_it_is_made(edge, asgi, how):
    """The client is told why, gets no item, and the iterator is closed."""
    began, go, played = asyncio.Event(), asyncio.Event(), Played("a secret")

    async def make(request, identity, after):
        began.set()
        await go.wait()
        return played(request, identity, after)

    middleware = edge(Source(make, "clock"))
    client = asgi(middleware, "/events/x", headers=cookie()).open()
    await began.wait()
    ending = asyncio.create_task(end(middleware, how, client))
    await until(lambda: all(stream.ending for stream in middleware._worker.hub.streams))
    go.set()
    await client.whole()
    await ending
    assert said(client) == ["edge-close"]
    assert played.made == []  # a generator that was asked for nothing has not begun
    await until(lambda: held(middleware) == NOTHING)


async def test_the_client_leaves_while_it_is_made(edge, asgi):
    """It is closed as soon as it is there."""
    began, go, iterator = asyncio.Event(), asyncio.Event(), Closing("well")

    async def make(request, identity, after):
        began.set()
        await go.wait()
        return iterator

    middleware = edge(make)
    client = asgi(middleware, "/events/x", headers=cookie(), spec_version="2.4").open()
    await began.wait()
    client.disconnect()
    go.set()
    await client.ended()
    await until(lambda: held(middleware) == NOTHING)
    assert iterator.closes == 1


async def test_the_head_is_not_taken(edge, asgi):
    """An iterator that nobody asked yet is closed when its request ends before the first byte."""
    iterator = Closing("well")

    async def make(request, identity, after):
        return iterator

    middleware = edge(make)
    client = asgi(middleware, "/events/x", headers=cookie())
    client.block_send()
    client.open()
    await until(lambda: client.waiting_sends)
    await client.cancel()
    await until(lambda: held(middleware) == NOTHING)
    assert iterator.closes == 1


@pytest.mark.parametrize(("most", "expected"), [(1_048_576, 65_536), (20_000, 10_000)])
async def test_it_waits_while_the_client_does_not_read(edge, asgi, most, expected):
    """It is asked for no more than 64 KiB ahead, or half of what may wait; and goes on with the client."""
    asked = []

    async def endless(request, identity, after):
        while True:
            asked.append(len(asked))
            yield f"{len(asked)} ".ljust(1000)

    middleware = edge(endless, max_unsent=most)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"data: 10 ")
    client.block_send()
    await until(lambda: client.waiting_sends)
    (stream,) = middleware._worker.hub.streams
    await until(lambda: stream.sink.unsent > expected)
    count = len(asked)
    assert stream.sink.unsent <= expected + 2_100
    await asyncio.sleep(0.3)  # in which it could make thousands
    assert len(asked) == count
    client.unblock_send()
    await client.wait_for(b"data: %d " % (count + 50))
    assert stream.ending is None
    client.disconnect()


async def test_a_client_that_never_reads_is_slow(edge, asgi):
    """As on any other stream, and its iterator is closed."""
    played = Played(*["x" * 1000] * 1000)
    middleware = edge(played, max_unsent_age=0.3)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"data: x")
    client.block_send()
    await client.ended()
    assert middleware.figures()["endings"] == {"slow": 1}
    await until(lambda: played.closed == 1)
    assert held(middleware) == NOTHING


async def test_one_item_that_is_too_much(edge, asgi):
    """What may wait for a client holds for a single item, too."""
    go, closed = asyncio.Event(), []

    async def large(request, identity, after):
        try:
            yield "small"
            await go.wait()
            yield "x" * 200_000
        finally:
            closed.append(True)

    middleware = edge(large, max_unsent=100_000, max_unsent_age=0.5)
    client = asgi(middleware, "/events/x", headers=cookie())
    await client.wait_for(b"data: small")
    client.block_send()
    go.set()
    await client.ended()
    assert middleware.figures()["endings"] == {"slow": 1}
    await until(lambda: closed)


async def test_an_iterator_faster_than_anything_leaves_others_their_turn(edge, asgi):
    """It gives one item in a turn of the loop, so that other streams' events are on time."""
    turn, turns = [0], []

    async def endless(request, identity, after):
        while True:
            if identity.user == "watched":
                turns.append(turn[0])
            yield "x"

    async def count_turns():
        while True:
            turn[0] += 1
            await asyncio.sleep(0)

    middleware = edge(endless, limits=Limits(None, None, None, None))
    listener = asgi(middleware, "/events/news", headers=cookie())
    await listener.wait_for(b"\nid: ")
    counting = asyncio.create_task(count_turns())
    busy = [asgi(middleware, "/events/x", headers=cookie(user)) for user in ["watched", *["u1"] * 50]]
    for client in busy:
        await client.wait_for(b"data: x\n")
    for n in range(20):
        await Publisher(middleware.backend).publish("news", f"n{n}")
        await listener.wait_for(b"data: n%d\n" % n)
    assert len(turns) > 10
    assert len(set(turns)) == len(turns)
    for client in busy:
        client.disconnect()
    counting.cancel()


async def test_nothing_follows_the_goodbye():
    """What an iterator gives that was not heard when it was cancelled is given to nobody."""
    hub = await make_hub(ScriptedBackend())
    stream = hub.new_stream((), ListSink(), None, "u1", None)
    hub.own(stream)
    hub.sources.add(stream, swallows_once(None, None, None))
    hub.sources.begin(stream)
    await settle()
    hub.end(stream, DRAIN)
    await settle()
    assert stream.sink.data.startswith(b"data: x\n\nevent: edge-close\n")
    assert b"after the end" not in stream.sink.data
    hub.close_stream(stream)
    await hub.close()
    assert not hub.sources._pumps
