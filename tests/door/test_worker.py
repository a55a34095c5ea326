"""What runs on one event loop: rights that are asked for again, and the drain."""

import asyncio
import itertools
import json
import logging
import signal
import time

import pytest

from parts.delivery import ListSink, ScriptedBackend, join, make_hub
from parts.door import AUTH, CHANNELS, TWO, answer, closed, cookie, decoded, eventually, said
from servers.sse import Decoder
from sse_edge import ConfigError, Limits, MemoryBackend, SSEMiddleware
from sse_edge import worker as worker_module
from sse_edge.admission import callback
from sse_edge.asgi_server import Server
from sse_edge.backends.memory.subscriber import MemorySubscriber
from sse_edge.delivery import clock as clock_module
from sse_edge.outcome import CLIENT_GONE

SETTINGS = {"limits": Limits(per_user=None, per_ip=None, connects_per_ip=None)}
"""Of every edge here."""


class Rights:
    """An ``authorize`` that says who may read what at the moment, and counts how often it is asked."""

    def __init__(self):
        self.lost = set()
        self.asked = []
        self.error = None
        self.hangs = False
        self.at_once = self.most = 0

    async def __call__(self, identity, channel):
        self.asked.append(channel)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return channel not in self.lost

    async def again(self, times=1):
        """Wait until it was asked so much more often."""
        before = len(self.asked)
        await eventually(lambda: len(self.asked) >= before + times)


@pytest.fixture
def rights():
    return Rights()


async def test_a_channel_is_lost(edge, listen, url, async_publisher, rights):
    """Only what may not be read any more is dropped, and said to be; the stream goes on with the rest."""
    middleware = edge(backend=url, authorize=rights, reauthorize_every=0.2)
    client = await listen(middleware, path=TWO)
    rights.lost.add("a")
    await client.wait_for(b"edge-dropped")
    await async_publisher.publish("a", "lost")
    await async_publisher.publish("b", "kept")
    await client.wait_for(b"kept")
    assert said(client) == [("edge-dropped", {"channel": "a", "reason": "forbidden"}), ("message", "kept")]
    assert middleware.figures()["streams"] == 1
    rights.asked.clear()
    await rights.again(3)
    assert set(rights.asked) == {"b"}
    rights.lost.add("b")
    await closed(client, "forbidden")
    assert middleware.figures()["endings"] == {"forbidden": 1}
    assert middleware._worker.hub._feeds == {}


async def test_asked_again_with_the_values(edge, listen):
    """An ``authorize`` that takes the values is told them at first and each time it is asked again."""
    asked = []

    async def told(identity, channel, values):
        asked.append((channel, dict(values)))
        return True

    await listen(edge(authorize=told, reauthorize_every=0.1), path=TWO)
    expected = [("a", {"a": "a"}), ("b", {"b": "b"})]
    await eventually(lambda: len(asked) >= 6)
    assert asked[:6] == expected * 3


async def test_all_channels_are_lost(edge, listen, rights):
    """A stream with nothing left to hear ends, and only then."""
    middleware = edge(authorize=rights, reauthorize_every=0.2)
    client = await listen(middleware, path=TWO)
    other = await listen(middleware, path="/events/two/c/d")
    rights.lost |= {"a", "b"}
    await closed(client, "forbidden")
    assert [name for name, _ in said(client)] == ["edge-dropped", "edge-close"]
    assert middleware.figures()["streams"] == 1
    assert said(other) == []


async def test_authorize_fails(edge, listen, url, async_publisher, rights, caplog):
    """An ``authorize`` that fails, or whose database is away, ends nobody, and is asked again."""
    client = await listen(edge(backend=url, authorize=rights, reauthorize_every=0.2), path=TWO)
    rights.error = OSError("the database is away")
    await rights.again(4)
    await async_publisher.publish("a", "still here")
    await client.wait_for(b"still here")
    rights.error = None
    rights.lost |= {"a", "b"}
    await closed(client, "forbidden")
    assert "authorize failed" in caplog.text


async def test_authorize_is_cancelled(edge, listen, rights):
    """An ``authorize`` in which something else was cancelled, a query of its own perhaps, is asked again."""
    client = await listen(edge(authorize=rights, reauthorize_every=0.1), path=TWO)
    rights.error = asyncio.CancelledError()
    await rights.again()
    rights.error = None
    rights.lost |= {"a", "b"}
    await closed(client, "forbidden")


async def test_authorize_hangs(edge, listen, rights, monkeypatch):
    """However many wait for an answer that does not come, all are asked for again."""
    monkeypatch.setattr(worker_module, "ASKING", 2)
    monkeypatch.setattr(callback, "ANSWER", 0.2)
    middleware = edge(authorize=rights, reauthorize_every=0.1)
    clients = [await listen(middleware, f"u{n}", TWO) for n in range(4)]
    rights.hangs = True
    await rights.again(3)
    rights.hangs = False
    rights.lost |= {"a", "b"}
    for client in clients:
        await closed(client, "forbidden")


@pytest.mark.parametrize(
    ("path", "patterns", "every"),
    [
        pytest.param("/events/me", [], 0.1, id="template"),
        pytest.param(TWO, ["a", "b*"], 0.1, id="cookie"),
        pytest.param(TWO, [], None, id="off"),
    ],
)
async def test_not_asked_again(edge, asgi, rights, path, patterns, every):
    """What the template or the cookie opened is not asked for, and nothing is when it is off."""
    middleware = edge(authorize=rights, reauthorize_every=every)
    await asgi(middleware, path, headers=cookie(channels=patterns)).wait_for(b"\nid: ")
    (stream,) = middleware._worker.hub.streams
    assert stream.recheck == float("inf")
    assert rights.asked == ([] if every else ["a", "b"])


async def test_asking_is_spread(edge, listen, rights):
    """Streams that began together do not ask together, but each within 80 to 100 % of the setting."""
    middleware = edge(authorize=rights, reauthorize_every=100)
    await asyncio.gather(*(listen(middleware, f"u{n}", TWO) for n in range(50)))
    waits = [stream.recheck - stream.opened for stream in middleware._worker.hub.streams]
    assert 80 <= min(waits) < 85
    assert 95 < max(waits) <= 100.5
    assert len(set(waits)) == 50


async def test_asking_is_bounded(edge, listen, rights, monkeypatch):
    """However many are due, only so many ask at the same time, and all get their turn."""
    monkeypatch.setattr(worker_module, "ASKING", 4)
    middleware = edge(authorize=rights, reauthorize_every=0.3)
    await asyncio.gather(*(listen(middleware, f"u{n}", f"/events/two/a{n}/b{n}") for n in range(30)))
    rights.asked.clear()
    rights.most = 0
    await eventually(lambda: len(set(rights.asked)) == 60)
    assert rights.most <= 4


async def test_over_while_asked(edge, listen, rights):
    """A stream that ends while it is asked for is left in peace."""
    asking, go_on = asyncio.Event(), asyncio.Event()
    middleware = edge(authorize=rights, reauthorize_every=0.1)
    client = await listen(middleware, path=TWO)

    async def slow(identity, channel):
        asking.set()
        await go_on.wait()
        return False

    middleware._gate._authorize = slow
    await asyncio.wait_for(asking.wait(), 5)
    client.disconnect()
    await client.ended()
    go_on.set()
    await eventually(
        lambda: len(middleware._worker._tasks) == 2
    )  # what keeps it informed, and looks for the dead
    assert middleware.figures()["endings"] == {"client-gone": 1}


class Client(ListSink):
    """A client that is gone as soon as its stream is finished; notes when."""

    def __init__(self, hub, ends):
        super().__init__()
        self.hub, self.ends = hub, ends
        self.stream = None

    def finish(self, data):
        super().finish(data)
        self.ends.append((self.hub.now, self))
        asyncio.get_running_loop().call_soon(self.hub.close_stream, self.stream, CLIENT_GONE)


async def populate(count):
    """A hub with so many live streams, the clients in the order they came, and the list of their ends."""
    hub = await make_hub(ScriptedBackend())
    ends, clients = [], []
    for _ in range(count):
        client = Client(hub, ends)
        client.stream = await join(hub, sink=client)
        clients.append(client)
    return hub, clients, ends


async def test_drain_is_spread():
    """Streams end in random order, evenly over the window, each with everything it was owed."""
    hub, clients, ends = await populate(400)
    hub.deliver("c", None, b"data: the last\n\n")
    began = hub.now
    await hub.drain(0.8)
    assert 0.75 <= hub.now - began <= 2
    order = [clients.index(client) for _, client in ends]
    assert sorted(order) == list(range(400))
    rising = sum(a < b for a, b in itertools.pairwise(order))
    assert 120 < rising < 280
    for part in range(4):
        within = [at for at, _ in ends if part <= 4 * (at - began) / 0.8 < part + 1]
        assert 20 <= len(within) <= 250
    for client in clients:
        decoder = Decoder()
        events = decoder.feed(client.data)
        assert [event.data for event in events] == ["the last", '{"reason": "drain"}']
        assert not decoder.pending
        assert decoder.retry >= 1
    assert hub.endings == {"drain": 400}
    await hub.close()


async def test_retries_after_a_drain_are_spread(edge, listen):
    """Drained clients are not told to come back together."""
    middleware = edge(retry=2.0)
    clients = [await listen(middleware, f"u{n}") for n in range(40)]
    await middleware.drain(0)
    waits = {decoded(client)[0].retry for client in clients}
    assert len(waits) > 30
    assert 1000 <= min(waits) < max(waits) <= 3000


async def test_a_few_are_no_herd():
    """A handful of streams does not wait for the whole window, and one alone for hardly anything."""
    for count, seconds in ((0, 0.05), (1, 0.1), (5, 0.5)):
        hub, _, ends = await populate(count)
        began = hub.now
        await hub.drain(30)
        assert len(ends) == count
        assert hub.now - began <= seconds
        await hub.close()


async def test_drain_of_an_edge(edge, asgi, listen, async_publisher, url):
    """At once nothing new is taken; what is open ends over the window, and then ``drain`` returns."""
    middleware = edge(backend=url, refusals="status")
    clients = [await listen(middleware, f"u{n}") for n in range(20)]
    assert middleware.ready
    draining = asyncio.create_task(middleware.drain(0.5))
    await asyncio.sleep(0)
    assert not middleware.ready
    assert middleware.figures()["ready"] is False
    assert await answer(asgi, middleware) == "draining"
    await async_publisher.publish("news", "to all who are left")
    began = time.monotonic()
    await draining
    assert time.monotonic() - began < 1.5
    ends = [said(client) for client in clients]
    assert all(events[-1] == ("edge-close", {"reason": "drain"}) for events in ends)
    assert [("message", "to all who are left")] in [events[:-1] for events in ends]
    assert all(client.complete and not decoded(client)[0].pending for client in clients)
    assert middleware.figures()["endings"] == {"drain": 20}


@pytest.mark.parametrize("how", ["drain", "hurry"])
async def test_a_second_time_at_once(how):
    """Being told again ends what is left at once."""
    hub, _, ends = await populate(300)
    first = asyncio.create_task(hub.drain(5))
    await eventually(lambda: ends)
    assert len(ends) < 300
    async with asyncio.timeout(1):
        if how == "drain":
            await hub.drain(0)
        else:
            hub.drain.hurry()
        await first
    assert len(ends) == 300
    await hub.close()


async def test_streams_that_leave_by_themselves():
    """A drain does not wait for those that are gone already."""
    hub, clients, ends = await populate(300)
    draining = asyncio.create_task(hub.drain(5))
    await eventually(lambda: ends)
    for client in clients:
        hub.close_stream(client.stream, CLIENT_GONE)
    await asyncio.wait_for(draining, 1)
    assert hub.endings["client-gone"] > 200
    await hub.close()


@pytest.mark.parametrize("first", ["_on_signal", "_on_stopping"])
async def test_a_second_signal(edge, listen, caplog, first):
    """The first signal drains over ``drain_window``, and the second ends what is left at once.

    A signal may be heard after the stop that it caused was seen: it is the first all the same.  The log says
    once that the drain begins, and once that it is over.
    """
    caplog.set_level(logging.INFO, "sse_edge")
    middleware = edge(drain_window=30)
    clients = [await listen(middleware, f"u{n}") for n in range(20)]
    getattr(middleware._worker, first)()
    if first == "_on_stopping":
        middleware._worker._on_signal()
    await eventually(lambda: any(client.complete for client in clients))
    assert not all(client.complete for client in clients)
    middleware._worker._on_signal()
    for client in clients:
        await closed(client, "drain")
    await middleware.stop()
    said = [record.sse_edge for record in caplog.records if record.msg.startswith("drain")]
    assert [(each["event"], each["streams"]) for each in said] == [("drain", 20), ("drained", 20)]


async def test_a_held_signal_after_a_drain(edge, monkeypatch):
    """A server that is kept from a signal hears of it also where the app itself had begun to drain."""
    heard, before = [], signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
        monkeypatch.setattr("sse_edge.worker.find", lambda: Server("one that cuts", cuts=True))
        middleware = edge()
        await middleware.drain(0)
        signal.raise_signal(signal.SIGTERM)
        assert heard == []
        await eventually(lambda: heard)
        await middleware.stop()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("stops", [True, False, None])
async def test_a_server_that_goes_on(edge, monkeypatch, caplog, stops):
    """Where a signal does not stop the server, one line says so; of some that cannot be known."""
    monkeypatch.setattr("sse_edge.worker.STILL", 0.05)
    server = Server(
        "uvicorn 1.0", None if stops is None else lambda: stops and middleware._worker.hub.drain.begun
    )
    monkeypatch.setattr("sse_edge.worker.find", lambda: server)
    middleware = edge()
    await middleware.start()
    worker = middleware._worker
    tasks = set(worker._tasks)
    worker._on_signal()
    (drain,) = worker._tasks - tasks
    await asyncio.wait_for(drain, 5)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (stops is False)
    assert all("uvicorn 1.0 goes on" in warning for warning in warnings)


async def test_nothing_to_drain(edge, asgi):
    """Without streams ``drain`` returns at once, also before the first request, and refuses new ones."""
    middleware = edge(refusals="status")
    async with asyncio.timeout(0.5):
        await middleware.drain(60)
    assert not middleware.ready
    assert await answer(asgi, middleware) == "draining"


async def test_drained_while_admitted(edge, asgi):
    """A stream whose admission the drain overtakes is refused, and nobody waits for it."""
    asking, go_on = asyncio.Event(), asyncio.Event()

    async def slow(identity, channel):
        asking.set()
        await go_on.wait()
        return True

    middleware = edge(authorize=slow, refusals="status")
    client = asgi(middleware, TWO, headers=cookie()).open()
    await asyncio.wait_for(asking.wait(), 5)
    async with asyncio.timeout(1):
        await middleware.drain(0)
        go_on.set()
        assert json.loads(await client.whole())["error"] == "draining"
        await middleware.drain(0)


async def test_drained_while_subscribing(edge, asgi):
    """A request whose channels are not heard yet when the drain comes is refused."""
    subscribing = asyncio.Event()

    class SlowSubscriber(MemorySubscriber):
        async def subscribe(self, channels):
            if "news" in channels:
                subscribing.set()
                await asyncio.Event().wait()
            await super().subscribe(channels)

    class Backend(MemoryBackend):
        def subscriber(self, receiver):
            return SlowSubscriber(self.store, receiver)

    middleware = edge(backend=Backend())
    client = asgi(middleware, "/events/me", headers=cookie()).open()
    await asyncio.wait_for(subscribing.wait(), 5)
    draining = asyncio.create_task(middleware.drain(0))
    assert json.loads(await client.whole())["error"] == "draining"
    await asyncio.wait_for(draining, 1)
    assert not middleware._worker.hub.streams


async def test_a_client_that_does_not_read(edge, listen, monkeypatch):
    """Who takes no goodbye does not hold up the drain for long."""
    monkeypatch.setattr(clock_module, "GOODBYE", 0.2)
    middleware = edge()
    client = await listen(middleware)
    client.block_send()
    async with asyncio.timeout(2):
        await middleware.drain(0)
    await client.ended()


async def test_a_client_that_does_not_read_while_the_server_waits(edge, listen, monkeypatch):
    """Nor for longer than its server waits: all requests are over before that gives up."""
    middleware = edge(drain_window=30)
    clients = [await listen(middleware, f"u{n}") for n in range(3)]
    monkeypatch.setattr(middleware._worker, "_server", Server("a server", grace=0.6))
    for client in clients:
        client.block_send()
    began = time.monotonic()
    await middleware._worker._drain()
    assert time.monotonic() - began < 2  # and not GOODBYE
    for client in clients:
        await client.ended()


def bad(field, *values):
    return [pytest.param(field, value, id=f"{field}={value!r}") for value in values]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *bad("refusals", "json", "", None, True, 200),
        *bad("on_backend_down", "wait", "", None, True),
        *bad("drain_window", -1, -0.001, 86_401, True, "10", None, float("nan"), float("inf")),
        *bad("reauthorize_every", 0, -1, True, "300", float("nan"), float("inf"), 1e9),
    ],
)
def test_bad_settings(field, value):
    """A setting it cannot work with is refused by name."""
    with pytest.raises(ConfigError) as caught:
        SSEMiddleware(auth=AUTH, channels=CHANNELS, **{field: value})
    assert caught.value.field == field
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"refusals": "status", "on_backend_down": "accept"},
        {"drain_window": 0, "reauthorize_every": 0.5},
        {"drain_window": 86_400, "reauthorize_every": None},
    ],
    ids=str,
)
def test_good_settings(settings):
    """What makes sense is taken."""
    SSEMiddleware(auth=AUTH, channels=CHANNELS, **settings)


@pytest.mark.parametrize("seconds", [-1, -0.001, True, "5", None, float("nan"), float("inf"), 86_401])
async def test_bad_seconds(edge, asgi, listen, seconds):
    """``drain`` with no time at all is refused, and drains nothing."""
    middleware = edge()
    client = await listen(middleware)
    with pytest.raises(ConfigError) as caught:
        await middleware.drain(seconds)
    assert caught.value.field == "seconds"
    assert middleware.ready
    assert not client.complete
