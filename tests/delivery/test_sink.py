"""The contract of a sink, over a scripted server: writes join, endings are clean, nothing is left behind."""

import asyncio
import gc
import weakref

import pytest

from sse_edge.delivery.sink import TaskSink

HEADERS = [(b"content-type", b"text/event-stream")]


class Wire:
    """A server's side of one response: ``sent`` is what it took, ``stuck`` holds up every send."""

    def __init__(self):
        self.sent = []
        self.entered = asyncio.Event()
        self.flow = asyncio.Event()
        self.flow.set()
        self.send_error = None
        self.gone = asyncio.Event()
        self.receive_error = None
        self.receives = 0

    async def send(self, message):
        self.entered.set()
        await self.flow.wait()
        if self.send_error is not None:
            raise self.send_error
        self.sent.append(message)

    async def receive(self):
        self.receives += 1
        if self.receives == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        if self.receive_error is not None:
            raise self.receive_error
        return {"type": "http.disconnect"}

    def stick(self):
        """From now on a send waits until ``flow`` is set."""
        self.flow.clear()
        self.entered.clear()

    @property
    def bodies(self):
        return [(message["body"], message["more_body"]) for message in self.sent[1:]]


class Running:
    """A started sink and the task that runs it; ``closings`` are how often it said that it is over."""

    def __init__(self, wire):
        self.wire = wire
        self.closings = 0
        self.sink = TaskSink(wire.send, wire.receive, list(HEADERS))
        self.task = None

    async def open(self, first=b"first"):
        await self.sink.start(first, self)
        self.task = asyncio.ensure_future(self.sink.run())
        return self

    def closed(self):
        """See Owner."""
        self.closings += 1

    async def stuck(self, data=b"stuck"):
        """Write ``data`` and wait until its send hangs."""
        self.wire.stick()
        self.sink.write(data)
        await asyncio.wait_for(self.wire.entered.wait(), 5)

    async def over(self):
        """Wait for the end; raises what ``run`` raised."""
        await asyncio.wait_for(asyncio.shield(self.task), 5)
        assert self.closings == 1


def others():
    """Every task but the one that asks, which is another in each phase of a test."""
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
async def sink(wire):
    """A running sink; afterwards no task of it may be left and no task's error unseen."""
    unseen = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unseen.append(context))
    running = Running(wire)
    before = others()
    yield await running.open()
    if not running.task.done():
        wire.flow.set()
        wire.gone.set()
        await running.over()
    assert others() == before
    gc.collect()  # a task's exception that nobody asked for is reported when the task goes
    assert unseen == []


async def test_start(wire, sink):
    """The response's start and the first bytes are sent before ``run``."""
    assert wire.sent == [
        {"type": "http.response.start", "status": 200, "headers": HEADERS},
        {"type": "http.response.body", "body": b"first", "more_body": True},
    ]


async def test_writes_join(wire, sink):
    """What is written while a send is held up goes out joined, in order, in one send."""
    await sink.stuck(b"1")
    for piece in (b"2", b"3", b"4"):
        sink.sink.write(piece)
    assert sink.sink.unsent == 4
    wire.flow.set()
    sink.sink.finish(b"5")
    await sink.over()
    assert wire.bodies == [(b"first", True), (b"1", True), (b"2345", True), (b"", False)]
    assert sink.sink.unsent == 0


async def test_unsent_counts_what_a_send_holds(wire, sink):
    """Bytes count as unsent until the server's send has returned, and no longer."""
    assert sink.sink.unsent == 0
    await sink.stuck(b"12345")
    assert sink.sink.unsent == 5
    wire.stick()
    sink.sink.write(b"678")
    assert sink.sink.unsent == 8
    wire.flow.set()
    sink.sink.finish(b"")
    await sink.over()
    assert sink.sink.unsent == 0


async def test_ready_when_every_send_has_returned(wire, sink):
    """More is asked for once the server has taken everything, and again each time it is wanted."""
    await sink.stuck(b"1")
    sink.sink.write(b"2")
    asked = []
    sink.sink.when_ready(lambda: asked.append(sink.sink.unsent))
    await asyncio.sleep(0)
    assert asked == []
    wire.flow.set()
    while not asked:
        await asyncio.sleep(0)
    again = asyncio.Event()
    sink.sink.when_ready(again.set)  # with nothing to wait for
    assert not again.is_set()
    await asyncio.wait_for(again.wait(), 5)
    sink.sink.finish(b"3")
    await sink.over()
    assert asked == [0]
    assert wire.bodies == [(b"first", True), (b"1", True), (b"2", True), (b"3", True), (b"", False)]


@pytest.mark.parametrize("end", ["abort", "gone"])
async def test_never_ready_when_it_is_over(wire, sink, end):
    """A response that is over asks for nothing more, and keeps nothing that was to be called."""

    class Then:
        def __call__(self):
            raise AssertionError("it is over")

    then = Then()
    there = weakref.ref(then)
    await sink.stuck()
    sink.sink.when_ready(then)
    del then
    sink.sink.abort() if end == "abort" else wire.gone.set()
    await sink.over()
    wire.flow.set()
    sink.sink.when_ready(Then())
    await asyncio.sleep(0)
    assert there() is None


async def test_finish_after_writes(wire, sink):
    """Finishing sends everything written, the last bytes, and then the final message."""
    sink.sink.write(b"a")
    sink.sink.finish(b"bye")
    await sink.over()
    assert wire.bodies == [(b"first", True), (b"abye", True), (b"", False)]


async def test_nothing_after_finish(wire, sink):
    """What is written after the finish is not sent."""
    sink.sink.finish(b"bye")
    sink.sink.write(b"late")
    await sink.over()
    sink.sink.write(b"later")
    assert wire.bodies == [(b"first", True), (b"bye", True), (b"", False)]
    assert sink.sink.unsent == 0


async def test_finish_before_run(wire):
    """A stream that ends while it still reads history ends cleanly as soon as it runs."""
    running = Running(wire)
    await running.sink.start(b"first", running)
    running.sink.finish(b"bye")
    await asyncio.wait_for(running.sink.run(), 5)
    assert wire.bodies == [(b"first", True), (b"bye", True), (b"", False)]


async def test_abort_releases_a_stuck_send(wire, sink):
    """An abort ends a send that hangs, and forgets at once what was unsent."""
    await sink.stuck(b"x" * 1000)
    sink.sink.write(b"y" * 1000)
    sink.sink.abort()
    assert sink.sink.unsent == 0
    await sink.over()
    assert wire.bodies == [(b"first", True)]


async def test_abort_after_finish(wire, sink):
    """A finish that no client reads can still be aborted."""
    await sink.stuck()
    sink.sink.finish(b"bye")
    sink.sink.abort()
    assert sink.sink.unsent == 0
    await sink.over()
    assert wire.bodies == [(b"first", True)]


async def test_abort_of_an_idle_stream(wire, sink):
    """An abort ends a stream that has nothing to send, without a final message."""
    sink.sink.abort()
    sink.sink.abort()
    await sink.over()
    assert wire.bodies == [(b"first", True)]


async def test_abort_before_run(wire):
    """A stream that is aborted before it runs does not begin to."""
    running = Running(wire)
    await running.sink.start(b"first", running)
    running.sink.write(b"unsent")
    running.sink.abort()
    await asyncio.wait_for(running.sink.run(), 5)
    assert running.sink.unsent == 0
    assert wire.bodies == [(b"first", True)]


@pytest.mark.parametrize("sends", [1, 2], ids=["headers", "first bytes"])
async def test_abort_of_a_stuck_start(wire, sends):
    """An abort ends a start that hangs, be it at the headers or at the first bytes."""
    running = Running(wire)
    entered = 0

    async def send(message):
        nonlocal entered
        entered += 1
        if entered == sends:
            wire.stick()
        await wire.send(message)

    running.sink = TaskSink(send, wire.receive, list(HEADERS))
    task = asyncio.ensure_future(running.open())
    await asyncio.wait_for(wire.entered.wait(), 5)
    while wire.flow.is_set():
        await asyncio.sleep(0)
    running.sink.abort()
    await asyncio.wait_for(task, 5)
    await running.over()
    assert len(wire.sent) == sends - 1


async def test_client_gone(wire, sink):
    """A client that leaves ends the stream, although there was nothing to send."""
    wire.gone.set()
    await sink.over()
    assert wire.bodies == [(b"first", True)]


async def test_client_gone_during_a_stuck_send(wire, sink):
    """A client that leaves while a send hangs ends the stream, and what was unsent is forgotten."""
    await sink.stuck(b"x" * 1000)
    wire.gone.set()
    await sink.over()
    assert sink.sink.unsent == 0
    assert wire.bodies == [(b"first", True)]


async def test_disconnect_is_asked_for_once(wire, sink):
    """After http.disconnect ``receive`` is not called again: some servers repeat it, some never do."""
    wire.gone.set()
    await sink.over()
    assert wire.receives == 2  # the request's body and the disconnect


ERRORS = [OSError("gone"), ConnectionResetError(), RuntimeError("unable to perform operation")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_send_raises(wire, sink, error):
    """A send that raises is a client that has left, and nothing more is sent."""
    wire.send_error = error
    sink.sink.write(b"x")
    await sink.over()
    sink.sink.write(b"y")
    assert sink.sink.unsent == 0
    assert wire.bodies == [(b"first", True)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_start_raises(wire, error):
    """A client that left before the response began is no error, and ``run`` returns at once."""
    wire.send_error = error
    running = await Running(wire).open()
    await running.over()
    assert wire.sent == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_receive_raises(wire, sink, error):
    """A receive that raises is a client that has left, and its error is not left for the loop to report."""
    wire.receive_error = error
    wire.gone.set()
    await sink.over()
    assert wire.bodies == [(b"first", True)]


async def test_cancelled(wire, sink):
    """Cancelling the request cancels ``run``, also while a send hangs, and leaves no task."""
    await sink.stuck()
    sink.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sink.task
    assert sink.closings == 0  # whoever is cancelled knows
    assert sink.sink.unsent == 0
    sink.sink.abort()  # too late, and harmless


async def test_send_with_a_timeout_of_its_own(wire):
    """A wrapped send may use cancellation itself; its timeout is a lost client and cancels nothing else."""

    async def send(message):
        async with asyncio.timeout(0.01 if message["type"] == "http.response.body" else None):
            await wire.send(message)

    running = Running(wire)
    running.sink = TaskSink(send, wire.receive, list(HEADERS))
    await running.open()
    await running.stuck()
    await running.over()
    assert running.sink.unsent == 0
    assert wire.bodies == [(b"first", True)]
