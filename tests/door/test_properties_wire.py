"""Whatever is put on the wire is read back as it was meant, and nothing besides."""

import json
from enum import Enum

from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.oracles import accepted, check_events, check_message, check_place, read
from parts.hostile import CHANNEL, CUTS, JSON, LINE, RETRY, SENDABLE, TEXT, lines, looking_at
from sse_edge.backends.base import Reset
from sse_edge.backends.redis.announcement import parse
from sse_edge.delivery import frames
from sse_edge.errors import EventError
from sse_edge.event import Event, EventId, Place, check_channel, comment
from sse_edge.outcome import DRAIN, FORBIDDEN

PLACE = Place(EventId(5, 1), "abcde")


FIELDS = {"data": TEXT, "event": st.none() | LINE, "id": st.none() | LINE, "retry": RETRY}


@looking_at(250)
@given(fields=st.lists(st.fixed_dictionaries(FIELDS), min_size=1, max_size=3), cuts=CUTS)
@example([{"data": "a", "event": None, "id": None, "retry": 10**4400}], [1])
def test_what_an_event_accepts_is_read_back(fields, cuts):
    """In pieces of any size, one event after the other, each arrives as it was given."""
    check_events(fields, cuts)


@looking_at(200)
@given(JSON, CUTS)
def test_json_is_read_back(value, cuts):
    """Any JSON is one line of data that says the same."""
    wire = Event(json=value).encode()
    _, [(name, data, id)] = read(wire, cuts)
    assert (name, id, wire.count(b"\n")) == ("message", "", 2)
    assert json.loads(data) == value


class Name(str, Enum):  # noqa: UP042 - StrEnum writes its text into an f-string, and this its name
    """Names as applications write them down."""

    STATUS = "status"


def test_a_name_of_another_class_is_its_text():
    """A member of an enumeration of texts is sent as that text, whatever it says of itself."""
    assert Event(Name.STATUS, event=Name.STATUS, id=Name.STATUS).encode() == (
        b"id: status\nevent: status\ndata: status\n\n"
    )
    assert type(check_channel(Name.STATUS)) is str


@looking_at(200)
@given(SENDABLE, CUTS)
def test_a_comment_says_nothing(text, cuts):
    """No text of a comment is an event or a field."""
    decoder, events = read(comment(text), cuts, "1-1.abcde")
    assert (events, decoder.commits, decoder.retry) == ([], [], None)
    assert "\n".join(decoder.comments) == lines(text)


@looking_at(200)
@given(CHANNEL, SENDABLE, CUTS)
def test_what_the_edge_says_is_one_event(channel, text, cuts):
    """Whatever a channel is called and a refusal says, it is one event of the edge's own."""
    try:
        check_channel(channel)
    except EventError:
        return
    for wire, name, said in [
        (frames.dropped(channel, DRAIN), "edge-dropped", {"channel": channel, "reason": "drain"}),
        (
            frames.reset(Reset(channel, "gap", PLACE), PLACE),
            "edge-reset",
            {"channel": channel, "reason": "gap"},
        ),
        (frames.refused(FORBIDDEN.because(text), 5), "edge-refused", {"error": "forbidden", "detail": text}),
    ]:
        _, [event] = read(wire, cuts)
        assert (event.event, json.loads(event.data)) == (name, said)


# What comes over Redis

SEALED = st.tuples(
    st.sampled_from([b"s", b"seal", b"", b"{"]),
    st.sampled_from([b"5-1", b"-", b"1-1\r", b"9" * 20 + b"-1", b""]) | st.binary(max_size=8),
    st.sampled_from([b"4-2", b"-", b"0-0", b""]),
    st.lists(
        st.sampled_from([b"data: a", b"data:a", b"data: ", b"event: e", b"event: edge-close", b"event: open"])
        | st.sampled_from(
            [b"id: 9", b"id", b"retry: 5", b"retry: x", b":", b": c", b"", b"data: a\rid: 9", b"x"]
        )
        | st.binary(max_size=6),
        max_size=5,
    ),
    st.sampled_from([b"\n\n", b"\n", b"\r\n\r\n", b"\n\n\n", b""]),
).map(lambda parts: b" ".join(parts[:3]) + b"\n" + b"\n".join(parts[3]) + parts[4])

PLAIN = st.dictionaries(
    st.sampled_from(["data", "event", "event_type", "id", "retry", "Data", "data\n"]) | SENDABLE,
    JSON | st.sampled_from(["a\nid: 9", "edge-close", "open", "\ud800", "e"]),
    max_size=4,
).map(lambda message: json.dumps(message).encode())


@looking_at(250)
@given(SEALED | PLAIN | st.binary(max_size=60))
def test_a_message_from_redis_is_one_event_or_none(payload):
    """Nothing that is said over Redis puts a second event, an id or a name of the edge's into a stream."""
    check_message(payload)


@looking_at(200)
@given(st.fixed_dictionaries(FIELDS), st.sampled_from([b"5-1 4-2", b"5-1 -", b"- -"]))
def test_every_event_is_announced(fields, ids):
    """Whatever an event is, our own announcement of it is taken, unchanged."""
    event = accepted(**{**fields, "id": None})
    if event is not None:
        assert parse(b"seal %b\n%b" % (ids, event.encode())).body == event.encode()


# Places


@looking_at(250)
@given(st.from_regex(r"[0-9]{1,17}-[0-9]{1,17}(\.[a-z0-9]{0,66})?\s?") | LINE)
def test_a_place_is_what_it_is_written_as(text):
    """There is one way to write a place, and whatever else is sent is none."""
    check_place(text)
