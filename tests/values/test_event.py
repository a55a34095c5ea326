import json

import pytest

from sse_edge.errors import EventError
from sse_edge.event import MAX_EVENT_BYTES, NOWHERE, ZERO, Event, EventId, Place, check_channel, comment


def parse(stream: bytes) -> list[dict[str, str]]:
    """What a browser makes of a stream: the parser of WHATWG HTML 9.2.6, written down plainly."""
    text = stream.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    events, fields, data = [], {}, []
    for line in text.split("\n")[:-1]:
        if not line:
            if data:
                events.append({**fields, "data": "\n".join(data)})
            fields, data = {}, []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name:
            fields[name] = value
    return events


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (Event("hi"), b"data: hi\n\n"),
        (Event(""), b"data: \n\n"),
        (Event("a\nb"), b"data: a\ndata: b\n\n"),
        (Event("hi", event="status"), b"event: status\ndata: hi\n\n"),
        (Event("hi", id="1-1", retry=0), b"id: 1-1\nretry: 0\ndata: hi\n\n"),
        (Event(json={"a": [1, None]}), b'data: {"a":[1,null]}\n\n'),
        (Event(json=None), b"data: null\n\n"),
        (Event("é"), b"data: \xc3\xa9\n\n"),
    ],
)
def test_encode(event, wire):
    """An event is these bytes."""
    assert event.encode() == wire


@pytest.mark.parametrize(
    "data",
    [
        "",
        "plain",
        " leading and trailing ",
        "  two",
        "\n",
        "a\n\nb\n",
        "data: x\nid: 9",
        ": comment",
        "event: error",
        "\u2028\u2029\x85\x0b\x0c\x1c",
        "\ufeffbom",
        "tab\there",
        "\0",
        "😀",
    ],
)
def test_data_arrives_unchanged(data):
    """Whatever the text, a browser reads exactly that text."""
    assert parse(Event(data, event="e", id="i").encode()) == [{"event": "e", "id": "i", "data": data}]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_every_line_end_is_split(end):
    """No line ending of the specification can start a field of the sender's choice."""
    wire = Event(f"a{end}id: 9{end}{end}data: x").encode()
    assert parse(wire) == [{"data": "a\nid: 9\n\ndata: x"}]
    assert b"\r" not in wire


def test_json_stays_on_one_line():
    """JSON with line ends inside is one data line, and reads back the same."""
    value = {"text": "a\r\nb\u2028", "é": 1.5}
    wire = Event(json=value).encode()
    assert wire.count(b"data:") == 1
    assert json.loads(parse(wire)[0]["data"]) == value


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("data", {}),
        ("data", {"data": "a", "json": 1}),
        ("data", {"data": b"bytes"}),
        ("data", {"data": None}),
        ("data", {"data": "\ud800"}),
        ("data", {"data": "x" * MAX_EVENT_BYTES}),
        ("json", {"json": object()}),
        ("json", {"json": float("nan")}),
        *(("event", {"data": "a", "event": f"a{bad}b"}) for bad in "\r\n\0"),
        *(("id", {"data": "a", "id": f"a{bad}b"}) for bad in "\r\n\0"),
        ("event", {"data": "a", "event": "error"}),
        ("event", {"data": "a", "event": "open"}),
        ("event", {"data": "a", "event": "edge-close"}),
        ("event", {"data": "a", "event": "edge-"}),
        ("event", {"data": "a", "event": 1}),
        ("event", {"data": "a", "event": "\ud800"}),
        ("id", {"data": "a", "id": 1}),
        ("retry", {"data": "a", "retry": -1}),
        ("retry", {"data": "a", "retry": 1.5}),
        ("retry", {"data": "a", "retry": True}),
        ("retry", {"data": "a", "retry": "1\ndata: x"}),
        ("retry", {"data": "a", "retry": 2**31}),
        ("retry", {"data": "a", "retry": 10**4400}),
        ("data", {"data": 10**4400}),
    ],
)
def test_refused_where_it_is_made(field, arguments):
    """What cannot be sent safely raises at construction, naming the field."""
    with pytest.raises(EventError) as caught:
        Event(**arguments)
    assert caught.value.field == field


def test_endless_json_is_refused():
    """A structure that contains itself is an EventError, not a crash."""
    loop = []
    loop.append(loop)
    with pytest.raises(EventError, match="json"):
        Event(json=loop)


def test_largest_event():
    """The bound is on the encoded bytes, inclusive."""
    room = MAX_EVENT_BYTES - len(b"data: \n\n")
    assert len(Event("x" * room).encode()) == MAX_EVENT_BYTES
    with pytest.raises(EventError):
        Event("x" * (room + 1))


def test_event_does_not_change():
    """A checked event stays as it was checked."""
    with pytest.raises(AttributeError):
        Event("a").event = "error"


@pytest.mark.parametrize(
    ("text", "wire"),
    [("", b": \n"), ("hi", b": hi\n"), ("a\rdata: x\r\n\nb", b": a\n: data: x\n: \n: b\n")],
)
def test_comment(text, wire):
    """A comment of any text dispatches nothing."""
    assert comment(text) == wire
    assert parse(wire) == []


@pytest.mark.parametrize("text", ["0-0", "1-0", "1700000000000-12", "999999999999999-999999999999999"])
def test_event_id_there_and_back(text):
    """An id reads back as written."""
    assert str(EventId.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1-",
        "-1",
        "1-1-1",
        "01-1",
        "1-01",
        " 1-1",
        "1-1\n",
        "1-1 ",
        "+1-1",
        "1_0-1",
        "\uff11-1",
        "a-b",
        "*",
        "$",
        "1" * 16 + "-1",
        "1-" + "1" * 16,
    ],
)
def test_event_id_is_strict(text):
    """Anything but two plain numbers is refused: the text came from a client."""
    with pytest.raises(ValueError, match="milliseconds"):
        EventId.parse(text)


def test_event_ids_are_ordered_by_time_then_number():
    """Ids compare as numbers, not as text."""
    ids = [EventId(9, 10), EventId(10, 1), EventId(9, 9), ZERO]
    assert sorted(ids) == [ZERO, EventId(9, 9), EventId(9, 10), EventId(10, 1)]


@pytest.mark.parametrize("name", ["edge", "Edge-close", "my-edge-", " edge-", "knowledge-base"])
def test_names_that_only_look_like_the_edges_own(name):
    """Only what begins like the names of the edge's own events is kept for them."""
    assert Event("a", event=name).event == name


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0-0.a", Place(ZERO, "a")),
        ("5-2.abcde", Place(EventId(5, 2), "abcde")),
        ("1700000000000-12.k3k3k", Place(EventId(1_700_000_000_000, 12), "k3k3k")),
        ("999999999999999-999999999999999." + "z" * 64, Place(EventId(10**15 - 1, 10**15 - 1), "z" * 64)),
    ],
)
def test_place_there_and_back(text, place):
    """A place reads back as written."""
    assert Place.parse(text) == place
    assert str(place) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5-2",
        "5-2.",
        ".abcde",
        "5.abcde",
        "-2.abcde",
        "5-.abcde",
        "05-2.abcde",
        "5-02.abcde",
        "5-2.Abcde",
        "5-2.abcde.abcde",
        "5-2.ab cde",
        "5-2.ab-de",
        "5-2.ab_de",
        "5-2.\xe4bcde",
        "5-2.\uff41bcde",
        "\uff15-2.abcde",
        "5-2.abcde\n",
        "5-2.abcde ",
        " 5-2.abcde",
        "+5-2.abcde",
        "5_0-2.abcde",
        "5-2,abcde",
        "5-2." + "a" * 65,
        "1" * 16 + "-1.abcde",
        "1-" + "1" * 16 + ".abcde",
    ],
)
def test_place_is_strict(text):
    """Anything but an id and a tag is refused: the text came from a client."""
    with pytest.raises(ValueError, match="tag"):
        Place.parse(text)


def test_nowhere_is_no_place_that_a_client_can_name():
    """The place of an id of another kind has a tag that none can be given."""
    with pytest.raises(ValueError, match="tag"):
        Place.parse(str(NOWHERE))


def test_place_line():
    """The id line is a whole line of the wire format."""
    assert Place(EventId(5, 2), "abcde").line() == b"id: 5-2.abcde\n"


@pytest.mark.parametrize("name", ["a", "order:1", "x" * 256, "{news}", "é 😀", "a/b*"])
def test_channel_names(name):
    """Any readable text of up to 256 characters is a channel."""
    assert check_channel(name) == name


@pytest.mark.parametrize("name", ["", "x" * 257, "a\n", "a\0", "a\x7f", "\ud800", b"a", None, 1, ["a"]])
def test_refused_channel_names(name):
    """What is no channel name raises."""
    with pytest.raises(EventError, match="channel"):
        check_channel(name)
