"""The sinks of streams that share a response: whose bytes are whose, what waits, and when it is over."""

import asyncio

import pytest

from parts.delivery import ListSink, join, make_hub, settle
from parts.strands import strands
from sse_edge.delivery.joint import Joint


class SharedSink(ListSink):
    """Keeps its owner, and when the response began."""

    async def start(self, first, owner):
        self.writes.append(first)
        self.owner = owner

    async def run(self):
        pass


class Owner:
    """How often it was told."""

    def __init__(self):
        self.gone = self.stopped = 0

    def closed(self):
        self.gone += 1

    def stopping(self):
        self.stopped += 1


async def begun(count=2, first=b": hello\n\n"):
    """A joint of so many strands, each with an owner and its first bytes; the shared sink, and strands."""
    sink, found = SharedSink(), []

    async def enter(strand):
        found.append(strand)
        await strand.start(first, Owner())

    joint = Joint(sink, [enter] * (count - 1))
    found.append(joint.first)
    await joint.first.start(first, Owner())
    await joint.first.run()
    assert [strand.number for strand in found] == list(range(count))
    return sink, found


async def test_a_line_says_whose_it_is():
    """Once for all that one strand writes on end."""
    sink, (a, b) = await begun()
    a.write(b"data: 1\n\n")
    a.write(b"data: 2\n\n")
    b.write(b"data: 3\n\n")
    assert sink.data == (
        b": strand 0\n: hello\n\n: strand 1\n: hello\n\n"
        b": strand 0\ndata: 1\n\ndata: 2\n\n: strand 1\ndata: 3\n\n"
    )


async def test_no_block_is_of_two():
    """What has not ended its block is ended before another speaks."""
    sink, (a, b) = await begun(first=b": hello\nretry: 1\n")
    b.write(b": keep-alive\n")
    a.write(b"data: 1\n\n")
    assert strands(sink.data) == {
        0: b": hello\nretry: 1\n\ndata: 1\n\n",
        1: b": hello\nretry: 1\n: keep-alive\n\n",
    }


async def test_who_speaks_has_shared_chunks():
    """What is framed for all streams is written as it is, unless a line has to go before it."""
    sink, (a, b) = await begun()
    given = []
    sink.write = lambda data, chunk=None: given.append((data, chunk)) or 0
    b.write(b"data: 1\n\n", b"framed")
    a.write(b"data: 1\n\n", b"framed")
    a.write(b"data: 2\n\n", b"framed")
    assert given == [
        (b"data: 1\n\n", b"framed"),
        (b": strand 0\ndata: 1\n\n", None),
        (b"data: 2\n\n", b"framed"),
    ]


async def test_the_response_ends_with_the_last():
    """A strand that ends leaves the others; its owner learns it when the turn is over."""
    sink, (a, b) = await begun()
    first, second = a.owner, b.owner
    a.finish(b"data: bye\n\n")
    a.write(b"data: lost\n\n")
    assert first.gone == 0
    await settle()
    assert (first.gone, second.gone, sink.finished, sink.aborted) == (1, 0, False, False)
    b.finish(b"data: 2\n\n")
    b.finish(b"data: 3\n\n")
    assert sink.finished
    assert sink.data.endswith(b": strand 0\ndata: bye\n\n: strand 1\ndata: 2\n\n")
    await settle()
    assert second.gone == 0  # until the response is over
    sink.owner.closed()
    sink.owner.closed()
    assert (first.gone, second.gone) == (1, 1)


async def test_the_client_leaves():
    """All learn it, once."""
    sink, found = await begun(4)
    owners = [strand.owner for strand in found]
    sink.owner.closed()
    assert [owner.gone for owner in owners] == [1] * 4
    count = len(sink.writes)
    found[2].write(b"data: late\n\n")
    found[1].finish(b"data: late\n\n")
    found[0].abort()
    await settle()
    assert [owner.gone for owner in owners] == [1] * 4
    assert (len(sink.writes), sink.finished, sink.aborted) == (count, False, False)


@pytest.mark.parametrize("number", [0, 1])
async def test_one_is_cut_off(number):
    """Whoever does not read one of them reads none."""
    sink, found = await begun()
    owners = [strand.owner for strand in found]
    found[number].abort()
    assert sink.aborted
    await settle()
    assert [owner.gone for owner in owners] == [1, 1]


async def test_the_last_is_cut_off_after_its_end():
    """A client that does not take the end is let go of."""
    sink, (a, b) = await begun()
    a.finish(b"data: bye\n\n")
    await settle()
    b.finish(b"data: bye\n\n")
    b.abort()
    assert sink.aborted


async def test_nobody_waits_for_the_last_refusal(monkeypatch):
    """Where no stream is left that would, the response itself lets go of who does not take its end."""
    monkeypatch.setattr("sse_edge.delivery.joint.PATIENCE", 0.01)
    sink, enter = SharedSink(), asyncio.Event()

    async def refuse(strand):
        await enter.wait()
        strand.finish(b"data: no\n\n")

    joint = Joint(sink, [refuse])
    await joint.first.start(b": hello\n\n", Owner())
    joint.first.finish(b"data: bye\n\n")
    assert not sink.finished
    enter.set()
    await joint.first.run()
    assert sink.finished
    async with asyncio.timeout(5):
        while not sink.aborted:
            await asyncio.sleep(0.005)


async def test_who_is_being_let_in_when_the_client_leaves():
    """What it waits for is given up."""
    sink, left = SharedSink(), []

    async def enter(strand):
        try:
            await asyncio.Event().wait()
        finally:
            left.append(strand.number)

    joint = Joint(sink, [enter, enter])
    await joint.first.start(b": hello\n\n", Owner())
    running = asyncio.ensure_future(joint.first.run())
    await settle()
    sink.owner.closed()
    await running
    assert sorted(left) == [1, 2]


async def test_who_comes_when_all_is_over():
    """A stream that was opened while its client left is told so."""
    sink, late = SharedSink(), Owner()

    async def enter(strand):
        sink.owner.closed()
        await strand.start(b": hello\n\n", late)

    joint = Joint(sink, [enter])
    await joint.first.start(b": hello\n\n", Owner())
    await joint.first.run()
    await settle()
    assert late.gone == 1
    assert strands(sink.data) == {0: b": hello\n\n"}


async def test_a_fault_ends_all(caplog):
    """A task that fails is told, and leaves no response that lacks a strand."""
    sink = SharedSink()

    async def enter(strand):
        raise ZeroDivisionError

    joint = Joint(sink, [enter])
    await joint.first.start(b": hello\n\n", Owner())
    await joint.first.run()
    assert sink.aborted
    assert "could not be joined" in caplog.text


async def test_one_is_told_that_the_server_stops():
    """The owners are of one worker."""
    sink, found = await begun(3)
    owners = [strand.owner for strand in found]
    sink.owner.stopping()
    assert [owner.stopped for owner in owners] == [1, 0, 0]


async def test_what_waits_of_each():
    """Bytes of others before its own count until they have left, those behind them never."""
    sink, (a, b) = await begun()
    total = len(sink.data)
    a.write(b"data: %s\n\n" % (b"a" * 92))
    b.write(b"data: %s\n\n" % (b"b" * 92))
    sink.lag = len(sink.data) - total
    assert a.unsent == 100  # and no line, nor what comes after
    assert b.unsent == 100
    sink.lag = 100  # a's have left
    assert a.unsent == 0
    assert b.unsent == 100
    sink.lag = 30
    assert b.unsent == 30
    sink.lag = 0
    assert b.unsent == 0


async def test_what_has_left_never_waits_again():
    """However the marks lie: what was known to have left counts no more when there is more to send."""
    sink, (a, b) = await begun()
    a.write(b"data: %s\n\n" % (b"1" * 92))
    sink.lag = 100
    assert a.unsent == 100  # which marks where this one ends
    a.write(b"data: %s\n\n" % (b"2" * 92))
    sink.lag = 0
    assert a.unsent == 0
    b.write(b"data: %s\n\n" % (b"b" * 992))
    a.write(b"data: %s\n\n" % (b"3" * 92))
    sink.lag = 1100
    assert a.unsent == 100


@pytest.mark.parametrize("is_last", [False, True], ids=["first", "last"])
async def test_the_end_of_each_waits_as_well(is_last):
    """Its last bytes count until they have left, whoever ends the response."""
    sink, (a, b) = await begun()
    if is_last:
        a.finish(b"data: a\n\n")
    b.finish(b"data: %s\n\n" % (b"b" * 92))
    sink.lag = 100
    assert b.unsent == 100
    sink.lag = 0
    assert b.unsent == 0


async def test_a_steady_lag_is_progress():
    """Who reads all the time, some way behind, is seen to read by each strand, also where another has
    written nearly all that waits."""
    sink, (busy, rare) = await begun()
    seen, own = [], 0
    for turn in range(200):
        busy.write(b"data: %s\n\n" % (b"x" * 992))
        if turn % 20 == 0:
            own += 14
            rare.write(b"data: event\n\n\n")
        sink.lag = 50_000
        seen.append(own - rare.unsent)
    assert seen == sorted(seen)
    assert seen[-1] > seen[100] > 0


async def test_one_after_the_other_is_asked_for_more():
    """What waits for a client is no more because several want to be written."""
    sink, (a, b) = await begun()
    asked = []
    sink.stuck = True
    a.when_ready(lambda: asked.append("a"))
    b.when_ready(lambda: asked.append("b"))
    first = sink.then
    del sink.then
    first()
    assert asked == ["a"]
    await settle()
    sink.then()
    assert asked == ["a", "b"]


async def test_streams_of_a_hub(hub):
    """Two streams of a hub on one response: the same event is written for each."""
    sink, (a, b) = await begun()
    one, two = await join(hub, "c", sink=a), await join(hub, "c", "d", sink=b)
    a.owner, b.owner = one, two
    hub.deliver("c", None, b"data: both\n\n")
    hub.deliver("d", None, b"data: second\n\n")
    await settle()
    found = strands(sink.data)
    assert found[0].endswith(b"data: both\n\n")
    assert found[1].endswith(b"data: both\n\ndata: second\n\n")
    sink.owner.closed()
    assert not hub.streams


async def test_signs_of_life_go_out_together(backend):
    """When one of the streams has been silent, so have others for a while: the client is woken once."""
    hub = await make_hub(backend, keep_alive=0.4)
    sink, (a, b) = await begun()
    for strand, channel in ((a, "a"), (b, "b")):
        strand.owner = await join(hub, channel, sink=strand)
    hub.deliver("b", None, b"data: b\n\n")
    await settle()
    a.owner.last_write -= 0.15  # its time comes sooner
    hub.recheck_at(a.owner, 10)  # as it is placed anew
    lives = [0, 0]
    async with asyncio.timeout(5):
        while lives != [3, 3]:
            await asyncio.sleep(0.01)
            lives = [piece.count(b": keep-alive\n") for piece in strands(sink.data).values()]
            assert lives[0] == lives[1]
    sink.owner.closed()
    await hub.close()
