"""Which events the pieces of a producer become, and when."""

import random

import pytest

from sse_edge.errors import EventError
from sse_edge.event import MAX_EVENT_BYTES, Event, encode
from sse_edge.publishing.writer.joining import JOIN, Joining, beat

ALL = 1 << 30
OTHER = Event("whole", event="other")


def texts(bodies):
    """What a client reads of events, with their names."""
    found = []
    for body in bodies:
        lines = body.decode().removesuffix("\n\n").split("\n")
        names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        assert len(names) + len(data) == len(lines)
        found.append((names[0] if names else "message", "\n".join(data)))
    return found


def played(steps):
    """``(time, piece)`` pairs through the model, published whenever something is due: (time, name, data)."""
    joining, out = Joining("token"), []
    for at, piece in [*steps, (1e9, None)]:
        while joining.due is not None and joining.due <= at:
            due = joining.due
            out += [(round(due, 3), *each) for each in texts(joining.take(ALL))]
        if piece is not None:
            joining.add(piece, at)
    joining.close(0)
    return out + [("end", *each) for each in texts(joining.take(ALL))]


@pytest.mark.parametrize(
    ("steps", "events"),
    [
        ([], []),
        ([(0, "a")], [(0.02, "token", "a")]),
        ([(0, "a"), (0.005, "b"), (0.01, "c")], [(0.02, "token", "abc")]),
        ([(0, "a"), (0.019, "b"), (0.021, "c")], [(0.02, "token", "ab"), (0.041, "token", "c")]),
        ([(0, "a"), (5, "b")], [(0.02, "token", "a"), (5.02, "token", "b")]),
        ([(0, ""), (0.01, "a"), (0.015, "")], [(0.03, "token", "a")]),
        ([(0, ""), (1, "")], []),
        (
            [(0, "a"), (0.001, OTHER), (0.002, "b"), (0.003, "c")],
            [(0.02, "token", "a"), (0.02, "other", "whole"), (0.02, "token", "bc")],
        ),
        ([(0, OTHER), (0.001, OTHER)], [(0.02, "other", "whole")] * 2),
        ([(0, "a\r"), (0.001, "\nb")], [(0.02, "token", "a\nb")]),
        ([(0, "a\r"), (1, "\nb")], [(0.02, "token", "a"), (1.02, "token", "\nb")]),
        ([(0, "a\r"), (1, "b")], [(0.02, "token", "a"), (1.02, "token", "\nb")]),
        ([(0, "a\r"), (1, "\r")], [(0.02, "token", "a"), (1.02, "token", "\n"), ("end", "token", "\n")]),
        ([(0, "\r"), (1, "")], [("end", "token", "\n")]),
        ([(0, "\r"), (1, OTHER)], [(1.02, "token", "\n"), (1.02, "other", "whole")]),
        ([(0, "a\r\nb\rc\nd")], [(0.02, "token", "a\nb\nc\nd")]),
        ([(0, "a\n"), (0.001, "\n")], [(0.02, "token", "a\n\n")]),
    ],
)
def test_joined(steps, events):
    """Texts that come within 20 ms of the first are one event; Events keep themselves and their place."""
    assert JOIN == 0.02
    assert played(steps) == events


@pytest.mark.parametrize(("name", "text"), [("token", "a b"), (None, ""), (None, " a"), ("t", "x\ny\n")])
def test_bytes(name, text):
    """A text is written as an Event of the same data is."""
    joining = Joining(name)
    joining.add(text, 0)
    assert joining.take(ALL) == ([Event(text, event=name).encode()] if text else [])


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10_000_000,
        "é" * 1_000_000,
        "😀" * 400_000,
        "\n" * 200_000,
        "\r\n" * 200_000,
        "x\n" * 300_000,
        "x" * (MAX_EVENT_BYTES - 21),
        "x" * (MAX_EVENT_BYTES - 20),
        "data: " * 100_000,
        "\ndata: " * 100_000,
    ],
    ids=lambda text: f"{text[:8]!r}*{len(text)}",
)
def test_large(text):
    """A text that no event can carry is several, as large as may be, which together say the same."""
    joining = Joining("token")
    joining.add(text, 0)
    bodies = []
    while joining.due is not None:
        bodies += joining.take(MAX_EVENT_BYTES)
    assert joining.size == 0
    assert all(MAX_EVENT_BYTES - 10 <= len(body) <= MAX_EVENT_BYTES for body in bodies[:-1])
    assert len(bodies[-1]) <= MAX_EVENT_BYTES
    said = "".join(data for _, data in texts(bodies))
    assert said == text.replace("\r\n", "\n")


def test_any_text_arrives():
    """However a text falls into pieces, and they into events: what is heard is the text."""
    chance = random.Random(15)
    for _ in range(300):
        pieces = ["".join(chance.choices("aé😀\r\n", k=chance.randrange(6))) for _ in range(30)]
        joining, bodies = Joining(None), []
        joining._room = chance.randrange(12, 60)
        for at, piece in enumerate(pieces):
            joining.add(piece, at)
            if chance.random() < 0.5:
                bodies += joining.take(chance.randrange(1, 100))
        joining.close(0)
        bodies += joining.take(ALL)
        said = "".join(data for _, data in texts(bodies))
        assert said == "".join(pieces).replace("\r\n", "\n").replace("\r", "\n")
        assert joining.size == 0
        assert joining.due is None
        assert max(len(body) for body in bodies) <= joining._room + 8


def test_some_at_a_time():
    """Of much that is due, about as many bytes are taken as are asked for; the rest stays due."""
    joining = Joining(None)
    for number in range(10):
        joining.add(Event(str(number)), 1)
    first = joining.take(25)
    assert [data for _, data in texts(first)] == ["0", "1", "2"]
    assert joining.due == 1 + JOIN
    assert len(joining.take(ALL)) == 7
    assert joining.due is None


def test_more_than_one_event():
    """What is more than one event can be waits for nothing."""
    joining = Joining("token")
    joining.add("x" * 200_000, 1)
    assert joining.due == 1 + JOIN
    joining.add("x" * 200_000, 1.01)
    assert joining.due == 1.01


@pytest.mark.parametrize("uptime", [0, 1_000, 33_000, 84_400, 88_000, 131_072, 1_000_000, 100_000_000])
def test_due_when_the_timer_goes_off(uptime):
    """However long a machine has been up: by a clock of milliseconds, and by one that is a bit early."""
    for ms in range(uptime * 1000, uptime * 1000 + 20_000):
        joining = Joining(None)
        joining.add("x", ms / 1000)
        moment = beat(joining.due)
        uvloop = (ms + round((moment - ms / 1000) * 1000)) / 1000
        assert joining.is_due(uvloop)
        assert joining.is_due(moment - 1e-9)  # as much as asyncio's own may be


def test_not_due_before():
    """What came just now waits for what comes next, and nothing is due where nothing is."""
    joining = Joining(None)
    assert not joining.is_due(5.0)
    joining.add("x", 5.0)
    assert not joining.is_due(5.0 + JOIN / 2)
    assert joining.is_due(5.0 + JOIN)


def test_no_text():
    """A lone surrogate is refused as an Event refuses it."""
    with pytest.raises(EventError, match="surrogate"):
        Joining(None).add("\ud800", 0)


def test_encoded_the_same():
    """The first bytes are those that event.encode writes."""
    assert encode("x", event="token") == b"event: token\ndata: x\n\n"
