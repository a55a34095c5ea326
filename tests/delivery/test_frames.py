import json

import pytest

from servers.sse import Decoder
from sse_edge.backends.base import Replay, Reset
from sse_edge.delivery import frames
from sse_edge.event import EventId, Place
from sse_edge.outcome import ENDINGS, FORBIDDEN_SINCE, REFUSALS


def read(data, last_event_id=""):
    """What a browser makes of some bytes: its decoder, and the events; nothing may be left unfinished."""
    decoder = Decoder(last_event_id)
    events = decoder.feed(data)
    assert not decoder.pending
    return decoder, events


def at(ms, n):
    return Place(EventId(ms, n), "abcde")


def numbered(n):
    return (5, n, at(5, n).line() + b"data: e%d\n\n" % n)


def test_greeting():
    """The first bytes say how long to wait before coming back, and dispatch nothing."""
    decoder, events = read(frames.greeting(1234))
    assert (decoder.retry, decoder.comments, events) == (1234, ["stream open"], [])


@pytest.mark.parametrize("place", [None, at(5, 0)])
def test_keep_alive(place):
    """A keep-alive dispatches nothing; with a place it moves the client's cursor there."""
    decoder, events = read(frames.keep_alive(place), "1-1.abcde")
    assert (decoder.comments, events) == (["keep-alive"], [])
    assert decoder.last_event_id == ("1-1.abcde" if place is None else "5-0.abcde")


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.reason)
def test_goodbye(ending):
    """The last event says why, and how long to wait."""
    decoder, events = read(frames.goodbye(ending, at(5, 1), 77))
    assert [(event.event, json.loads(event.data), event.id) for event in events] == [
        ("edge-close", {"reason": ending.reason}, "5-1.abcde")
    ]
    assert decoder.retry == 77


def test_goodbye_without_a_place():
    """A client whose place cannot be proven keeps the one it has."""
    assert read(frames.goodbye(FORBIDDEN_SINCE, None, 1), "3-3.abcde")[0].last_event_id == "3-3.abcde"


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
def test_refused(refusal):
    """A refusal as a stream says what its JSON body would, and when to come back, and moves no cursor."""
    decoder, events = read(frames.refused(refusal, 4321), "3-3.abcde")
    ((name, data, id),) = events
    assert (name, json.loads(data), id) == ("edge-refused", json.loads(refusal.body()), "3-3.abcde")
    assert decoder.retry == 4321


@pytest.mark.parametrize("channel", ["order:7", "ü😀", 'with "quotes" \\', "a b"])
def test_dropped(channel):
    """A dropped channel is named, whatever it is called; the cursor stays."""
    _, ((name, data, id),) = read(frames.dropped(channel, FORBIDDEN_SINCE), "3-3.abcde")
    assert (name, json.loads(data), id) == (
        "edge-dropped",
        {"channel": channel, "reason": "forbidden"},
        "3-3.abcde",
    )


@pytest.mark.parametrize("place", [None, at(5, 0)])
def test_reset(place):
    """A reset names the channel and the reason, and moves the cursor only where it is told to."""
    _, ((name, data, id),) = read(frames.reset(Reset("news", "trimmed", at(9, 9)), place), "3-3.abcde")
    assert (name, json.loads(data)) == ("edge-reset", {"channel": "news", "reason": "trimmed"})
    assert id == ("3-3.abcde" if place is None else "5-0.abcde")


A, B = Reset("a", "trimmed", at(4, 0)), Reset("b", "expired", at(4, 0))


@pytest.mark.parametrize(
    ("resets", "events", "upto", "ids"),
    [
        ([], [], at(6, 0), []),
        ([], [1, 2], at(6, 0), ["5-1.abcde", "5-2.abcde"]),
        ([A], [], at(6, 0), ["6-0.abcde"]),
        ([A, B], [], at(6, 0), ["3-3.abcde", "6-0.abcde"]),
        ([A, B], [1, 2], at(6, 0), ["3-3.abcde", "3-3.abcde", "5-1.abcde", "5-2.abcde"]),
        ([], [], None, []),
        ([A], [], None, ["3-3.abcde"]),
    ],
)
def test_replay(resets, events, upto, ids):
    """Resets, then events; wherever the bytes are cut, the cursor still owes everything after the cut."""
    said = frames.replay(Replay([numbered(n) for n in events], resets, upto))
    _, heard = read(b"".join(said), "3-3.abcde")
    assert [event.id for event in heard] == ids
    assert [event.event for event in heard] == ["edge-reset"] * len(resets) + ["message"] * len(events)
    for cut in range(len(said)):
        decoder, heard = read(b"".join(said[:cut]), "3-3.abcde")
        given = [event.id for event in heard if event.event == "message"]
        assert decoder.last_event_id == (given[-1] if given else "3-3.abcde")
    decoder, _ = read(b"".join(said), "3-3.abcde")
    if upto is not None and (resets or not events):
        assert decoder.last_event_id == "6-0.abcde"


@pytest.mark.parametrize(
    ("lines", "resets", "said"),
    [
        # The place comes where nothing after it lies before it, and as soon as it can be told.
        ("", 0, "P"),
        ("ii", 0, "ii"),
        ("-i", 0, "-i"),
        ("--", 0, "P--"),
        ("i-", 0, "iP-"),
        ("-i-i--", 0, "-i-iP--"),
        ("--", 1, "rP--"),
        ("ii", 1, "riiP"),
        ("i-", 2, "rriP-"),
    ],
)
def test_where_the_place_is_told(lines, resets, said):
    """Events keep their order; those at the end that carry no id come after the place."""
    place = Place(EventId(9, 9), "abcde")
    events = [
        (1, n, (b"id: 1-%d.abcde\n" % n if line == "i" else b"") + b"data: %d\n\n" % n)
        for n, line in enumerate(lines)
    ]
    told = frames.replay(Replay(events, [Reset("c", "trimmed", place)] * resets, place))
    kinds = {frames.position(place): "P", **{frame: lines[n] for _, n, frame in events}}
    assert "".join(kinds.get(frame, "r") for frame in told) == said
    assert [frame for frame in told if frame in kinds and kinds[frame] != "P"] == [
        frame for _, _, frame in events
    ]
