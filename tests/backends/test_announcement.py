"""What is taken from pub/sub, and what is refused, as tables."""

import json

import pytest

from sse_edge.backends.redis.announcement import NONE, Announcement, marked, parse, unmarked
from sse_edge.errors import EventError
from sse_edge.event import MAX_EVENT_BYTES

CONTEXT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVENT, NAMED = b"data: a\n\n", b"event: e\ndata: a\n\n"


@pytest.mark.parametrize(
    ("payload", "announcement"),
    [
        (b"s 5-1 4-2\ndata: a\n\n", Announcement(b"s", b"5-1", b"4-2", None, None, b"data: a\n\n")),
        (b"s 5-1 -\ndata: a\n\n", Announcement(b"s", b"5-1", NONE, None, None, b"data: a\n\n")),
        (
            b"s - -\nevent: e\ndata: a\n\n",
            Announcement(b"s", NONE, NONE, None, None, b"event: e\ndata: a\n\n"),
        ),
        (
            b"s 5-1 4-2\n: except u%201\ndata: a\n\n",
            Announcement(b"s", b"5-1", b"4-2", b"u%201", None, b"data: a\n\n"),
        ),
        (
            b"s 5-1 4-2\n: except u\n: trace %b\ndata: a\n\n" % CONTEXT,
            Announcement(b"s", b"5-1", b"4-2", b"u", CONTEXT, b"data: a\n\n"),
        ),
        (
            b"s 5-1 -\n: trace %b\ndata: a\n\n" % CONTEXT,
            Announcement(b"s", b"5-1", NONE, None, CONTEXT, EVENT),
        ),
        (b"s - -\n: except u\ndata: a\n\n", Announcement(b"s", NONE, NONE, b"u", None, b"data: a\n\n")),
        (b'{"data": "a\\nb"}', Announcement(b"", NONE, NONE, None, None, b"data: a\ndata: b\n\n")),
        (b'{"event": "e", "data": "a"}', Announcement(b"", NONE, NONE, None, None, b"event: e\ndata: a\n\n")),
        (
            b'{"event_type": "e", "data": {"n": 1}}',
            Announcement(b"", NONE, NONE, None, None, b'event: e\ndata: {"n":1}\n\n'),
        ),
        (b'{"event": null, "data": null}', Announcement(b"", NONE, NONE, None, None, b"data: null\n\n")),
        (
            '{"data": "\u2028é"}'.encode(),
            Announcement(b"", NONE, NONE, None, None, "data: \u2028é\n\n".encode()),
        ),
    ],
)
def test_taken(payload, announcement):
    """Our own announcements and plain JSON become frames."""
    assert parse(payload) == announcement


@pytest.mark.parametrize("user", ["u", "u 1", "ü\n: x", "%", "%ff", "\0"])
def test_a_user_is_read_back(user):
    """From an announcement and from history, whatever it is called; nothing is left of it in the event."""
    body = marked(b"data: a\n\n", user)
    assert body.count(b"\n") == 3
    assert unmarked(body) == (b"data: a\n\n", user)
    heard = parse(b"s 5-1 4-2\n" + body)
    assert (heard.body, heard.except_user) == (b"data: a\n\n", user)


@pytest.mark.parametrize("user", [None, "u 1"])
def test_a_context_is_taken_off(user):
    """In which context it was published, no client is told, from history either."""
    body = marked(EVENT, user, CONTEXT.decode())
    assert unmarked(body) == (EVENT, user)
    heard = parse(b"s 5-1 4-2\n" + body)
    assert (heard.body, heard.except_user, heard.trace) == (EVENT, user, CONTEXT)


@pytest.mark.parametrize("body", [b"data: a\n\n", b": reopened\n\n", b"data: x\ndata: : except u\n\n"])
def test_an_event_for_everybody(body):
    """It has no user, and is left as it is."""
    assert unmarked(marked(body, None)) == (body, None)
    assert parse(b"s 5-1 4-2\n" + body).except_user is None


def test_a_name_that_is_none():
    """What somebody else has written in the place of a name is nobody's, and breaks nothing."""
    assert parse(b"s 5-1 4-2\n: except %ff\ndata: a\n\n").except_user == "\ufffd"
    assert unmarked(b": except \xff\ndata: a\n\n") == (b"data: a\n\n", "\ufffd")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"s 5-1 4-2\ndata: a",
        b"s 5-1 4-2\ndata: a\n\nid: 9-9.abcde\n\n",
        b"s 5-1 4-2\nid: 9-9.abcde\ndata: a\n\n",
        b"s 5-1 4-2\ndata: a\rid: 9-9.abcde\n\n",
        b"s 5-1 4-2\ndata: a\nretry: 1\n\n",
        b"s 5-1 4-2\nevent: edge-close\ndata: a\n\n",
        b"s 5-1 4-2\nevent: error\ndata: a\n\n",
        b"s 5-1 4-2\nevent: e\n\n",
        b"s 5-1 4-2\n\n\n",
        b"s 5-1 4-2\n: except \ndata: a\n\n",
        b"s 5-1 4-2\n: except u 1\ndata: a\n\n",
        b"s 5-1 4-2\n: except u\n\n",
        b"s 5-1 4-2\n: trace x\ndata: a\n\n",
        b"s 5-1 4-2\n: trace %b\n: except u\ndata: a\n\n" % CONTEXT,
        b"s 5-1 4-2\n: except u\n: except v\ndata: a\n\n",
        b"s 5-1 4-2\ndata: a\n: except u\n\n",
        b"5-1 4-2\ndata: a\n\n",
        b" 5-1 4-2\ndata: a\n\n",
        b"s 5-1 4-2 3-1\ndata: a\n\n",
        b"s x-y -\ndata: a\n\n",
        b"s 05-1 -\ndata: a\n\n",
        b"s - 4-2\ndata: a\n\n",
        b"s 5 -\ndata: a\n\n",
        b"s 5-1 4-2\ndata: " + b"x" * 2 * MAX_EVENT_BYTES + b"\n\n",
        b'"text"',
        b"[1]",
        b"{",
        b'{"event": "e"}',
        b'{"event": "a\\rb", "data": ""}',
        b'{"event": "a\\nb", "data": ""}',
        b'{"event": "error", "data": ""}',
        b'{"event": "edge-close", "data": ""}',
        b'{"event": 5, "data": ""}',
        b'{"data": "\\ud800"}',
        b'{"data": NaN}',
        b"{" * 100_000,
        b'{"data": ' + b"[" * 100_000,
        b"\xff\xfe",
        b'{"data": "\xff"}',
        json.dumps({"data": "x" * MAX_EVENT_BYTES}).encode(),
        b'{"data": "' + b"x" * 3 * MAX_EVENT_BYTES,
    ],
)
def test_refused(payload):
    """Anything else is refused, and nothing of it could reach a client."""
    with pytest.raises(EventError):
        parse(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"4242",
        b"s 4242 -\ndata: a\n\n",
        b"s 1-1 -\n4242\n",
        b"{4242",
        b'{"card": "4242"}',
        b'{"data": "4242", "event": "edge-close"}',
        b'{"data": "4242\\ud800"}',
        b'{"data": [4242, NaN]}',
    ],
)
def test_an_error_repeats_nothing_of_it(payload):
    """What it says goes into a log, and what was published does not."""
    with pytest.raises(EventError) as caught:
        parse(payload)
    assert "4242" not in str(caught.value)


@pytest.mark.parametrize("payload", [b"5-1 4-2\ndata: a\n\n", b"5-1 -\ndata: a\n\n", b"- -\ndata: a\n\n"])
def test_an_earlier_release_is_named(payload):
    """Whoever forgot to update a publisher reads in the workers' log what is wrong."""
    with pytest.raises(EventError, match="comes from an earlier release of sse_edge"):
        parse(payload)
