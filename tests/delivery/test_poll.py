"""What a poll tells, and when, with one partition or several."""

import asyncio
import json

import pytest

from parts.delivery import ListSink, ScriptedBackend, at, make_hub, place
from parts.ears import until
from sse_edge.backends.base import Reset
from sse_edge.delivery import frames, poll
from sse_edge.delivery.poll import Said, Told
from sse_edge.event import REOPENED, Event, EventId, Place, comment, finishing
from sse_edge.outcome import ANSWERED, ENDINGS, FINISHED, FORBIDDEN_SINCE

AT, BEFORE = Place(EventId(7, 1), "abcde"), Place(EventId(7, 0), "abcde")


def numbered(event, place=AT):
    return place.line() + event.encode()


@pytest.mark.parametrize(
    ("frame", "events", "resets", "dropped"),
    [
        (numbered(Event("x")), [{"id": "7-1.abcde", "event": "message", "data": "x"}], [], []),
        (Event("x", event="a").encode(), [{"event": "a", "data": "x"}], [], []),
        (Event("a\n\n b\r\nc").encode(), [{"event": "message", "data": "a\n\n b\nc"}], [], []),
        (Event("").encode(), [{"event": "message", "data": ""}], [], []),
        (Event('"\\é\U0001f600').encode(), [{"event": "message", "data": '"\\é\U0001f600'}], [], []),
        (Event("data: x\nid: 1", retry=5).encode(), [{"event": "message", "data": "data: x\nid: 1"}], [], []),
        (finishing(Event("end").encode()), [{"event": "message", "data": "end"}], [], []),
        (AT.line() + REOPENED, [], [], []),
        (frames.position(AT), [], [], []),
        (comment("keep-alive"), [], [], []),
        (frames.reset(Reset("é", "trimmed", AT)), [], [{"channel": "é", "reason": "trimmed"}], []),
        (frames.reset(Reset("c", "epoch", AT), AT), [], [{"channel": "c", "reason": "epoch"}], []),
        (frames.dropped("c", FORBIDDEN_SINCE), [], [], [{"channel": "c", "reason": "forbidden"}]),
    ],
)  # fmt: skip
def test_what_is_told_of_a_streams_bytes(frame, events, resets, dropped):
    """Events as they are, and what the edge itself says by its kind; what no page is told is left out."""
    answer = json.loads(Told.of([frame]).answer(AT, ANSWERED, 0))
    assert answer == {
        "events": events,
        "next": str(AT),
        "resets": resets,
        "dropped": dropped,
        "close": None,
        "retry": 0,
    }
    assert Said(None, frame).matters is bool(events or resets or dropped)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.reason)
def test_why_it_ended(ending):
    """Every ending has its reason, but that of a poll itself."""
    answer = json.loads(Told.of([]).answer(None, ending, 1234))
    assert answer["close"] == (None if ending is ANSWERED else {"reason": ending.reason})
    assert (answer["next"], answer["retry"]) == (None, 1234)


@pytest.mark.parametrize(
    ("said", "place", "within"),
    [
        (Said(None, b"data: live only\n\n"), None, True),
        (Said(AT.id, numbered(Event("of one order"))), None, True),
        (Said(AT.id, Event("of several, ahead").encode()), None, False),
        (Said(AT.id, Event("of several, ahead").encode()), BEFORE, False),
        (Said(AT.id, numbered(Event("ahead"), BEFORE)), BEFORE, False),
        (Said(AT.id, Event("all are there").encode()), AT, True),
        (Said(AT.id, Event("all are past it").encode()), Place(EventId(8, 0), "abcde"), True),
    ],
)  # fmt: skip
def test_what_the_next_poll_gives_again(said, place, within):
    """An event past the place that the client comes back with is kept for the next poll."""
    assert said.is_within(place) is within


class AnswerSink(ListSink):
    async def start(self, first, owner):
        assert not first


class Poller:
    """A poll over a hub whose subscriber says what it is told, and how far all partitions have come."""

    async def start(self, wait=60.0):
        self.backend = ScriptedBackend()
        self.hub = await make_hub(self.backend)
        self.sink = AnswerSink()
        self.stream = self.hub.new_stream(("c",), self.sink, None, None, None, wait=wait, cursor=place(0))
        await self.hub.subscribe(self.stream)
        await self.stream.begin_response(b"")
        await self.hub.catch_up(self.stream, place(0))
        return self

    def deliver(self, n, at_place=None):
        """The n-th event comes, said to be at another place."""
        line = b"" if at_place is None else place(at_place).line()
        self.hub.deliver("c", at(n), line + b"data: %d\n\n" % n)

    async def told(self):
        await until(lambda: self.sink.finished)
        self.hub.close_stream(self.stream)
        await self.hub.close()
        answer = json.loads(self.sink.data)
        return (
            [int(event["data"]) for event in answer["events"]],
            answer["next"],
            [each["channel"] for each in answer["resets"]],
        )


async def test_an_event_past_the_place_of_all():
    """It is told when all have come as far, and not before: the next poll would give it again."""
    poller = await Poller().start()
    poller.backend.position = place(2)
    poller.deliver(3)
    await asyncio.sleep(4 * poll.LOOK)
    assert not poller.sink.finished
    poller.backend.position = place(4)
    assert await poller.told() == ([3], str(place(4)), [])


async def test_an_event_that_is_left_to_the_next_poll():
    """Of two events the one is told that all have come to."""
    poller = await Poller().start()
    poller.backend.position = place(2)
    poller.deliver(2, at_place=1)
    poller.deliver(3, at_place=2)
    assert await poller.told() == ([2], str(place(2)), [])


async def test_a_partition_is_away():
    """What the others have is told when the poll's time is over, though the next will be told it again."""
    poller = await Poller().start(wait=0.1)
    poller.backend.connected, poller.backend.position = False, place(0)
    poller.deliver(3)
    assert await poller.told() == ([3], str(place(0)), [])


async def test_the_end_comes_before_the_others_are_there():
    """While all partitions are heard nothing is told that would be told again."""
    poller = await Poller().start(wait=0.1)
    poller.backend.position = place(2)
    poller.deliver(3)
    assert await poller.told() == ([], str(place(2)), [])


async def test_what_cannot_be_left_to_the_next_poll():
    """A reset and an event that went missing wait for the others too, and events wait with them."""
    poller = await Poller().start()
    poller.backend.position = place(2)
    poller.hub.deliver_late("c", at(3), b"data: 3\n\n")
    poller.hub.reset(Reset("c", "trimmed", place(4)))
    poller.deliver(2, at_place=2)
    await asyncio.sleep(4 * poll.LOOK)
    assert not poller.sink.finished
    poller.backend.position = place(5)
    assert await poller.told() == ([3, 2], str(place(5)), ["c"])


async def test_the_end_while_a_partition_is_away():
    """Who is told that all is finished has been told all, and his place says so."""
    poller = await Poller().start()
    poller.backend.position = place(2)
    poller.backend.finished = lambda channels: place(3)
    poller.deliver(3)
    poller.hub.end(poller.stream, FINISHED)
    assert json.loads(poller.sink.data)["close"] == {"reason": "finished"}
    assert await poller.told() == ([3], str(place(3)), [])
