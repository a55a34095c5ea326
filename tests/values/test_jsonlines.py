"""The log as JSON: a valid line whatever is logged."""

import asyncio
import itertools
import logging
import logging.config
import queue
import sys
from logging.handlers import QueueHandler

import pytest

from parts.logged import read
from sse_edge import JSONLines
from sse_edge.cli.serving.logs import Lines, Requests
from sse_edge.logline import LONGEST, about
from sse_edge.outcome import NOT_FOUND
from sse_edge.refusals import RefusalLog

TIME = "2026-11-29T05:13:46.123Z"


def record(text="a text", *args, name="shop", level=logging.INFO, **more):
    made = logging.LogRecord(name, level, "/app/main.py", 1, text, args, more.pop("exc_info", None))
    made.created = 1795929226.1234
    vars(made).update(more)
    return made


def said(text="a text", *args, **more):
    return read(JSONLines().format(record(text, *args, **more)))


class Raises:
    """Cannot be printed, and neither what is in it."""

    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Broken(dict):
    """A dictionary that gives nothing."""

    def items(self):
        raise OSError("gone")


class Name(str):
    """A text of a kind of its own."""

    def __str__(self):
        return "another"


def circle():
    made = {}
    made["itself"] = made
    return made


def wide(depth):
    return [wide(depth - 1)] * 40 if depth else "x" * 500


def test_what_every_line_has():
    """When in UTC and milliseconds, how bad, from whom, where, what; and what an application adds apart."""
    line = said("user %s", "u42", level=logging.WARNING, order=7, tags=["a", True, None])
    assert line.pop("pid") > 0
    assert line == {
        "time": TIME,
        "level": "warning",
        "logger": "shop",
        "event": "log",
        "message": "user u42",
        "extra": {"order": 7, "tags": ["a", True, None]},
    }


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (5, "debug"),
        (10, "debug"),
        (20, "info"),
        (25, "info"),
        (30, "warning"),
        (40, "error"),
        (60, "critical"),
    ],
)
def test_levels(level, name):
    """There are five, and a library's own lie between them."""
    assert said(level=level)["level"] == name


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        ("one\ntwo\r\n", (), "one\\ntwo"),
        ("\x1b[2J\x00\x9b\u202e", (), "\\x1b[2J\\x00\\x9b\\u202e"),
        ("a \ud800 half", (), "a \\ud800 half"),
        ("Zoë 李 😀", (), "Zoë 李 😀"),
        ('"quoted" \\', (), '"quoted" \\'),
        ("%d of them", ("no",), "%d of them ('no',)"),
        ("bad %d %s\n", ("x\n",), "bad %d %s ('x\\n',)"),
        ("to redis://u:s3cret@h:1/0, mailto a@b", (), "to redis://u:***@h:1/0, mailto a@b"),
        ("%s", ("https://s3cret@h/a?b=c",), "https://***@h/a?b=c"),
        ("%d", ("amqp://u:s3cret@h",), "%d ('amqp://u:***@h',)"),
        ("%s", (), "%s"),
        ("%s", (Raises(),), "%s <tuple>"),
        (Raises(), (), "<Raises>"),
        ({"a": 1}, (), "{'a': 1}"),
        (Name("a name"), (), "another"),
        (None, (), "None"),
        ("", (), ""),
        ("x" * 100_000, (), "x" * 8192 + "..."),
        ("😀" * 100_000, (), "😀" * 512 + "..."),
    ],
    ids=itertools.count(),
)
def test_messages(text, args, message):
    """As in a line of text: nothing that a terminal would obey, no second line; and not without end."""
    assert said(text, *args)["message"] == message


@pytest.mark.parametrize(
    ("added", "shown"),
    [
        (Raises(), "<Raises>"),
        (Broken(a=1), "<Broken>"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1.5, 1.5),
        (2**53, str(2**53)),
        (10**5000, "<int>"),
        (b"\xff", "b'\\xff'"),
        ({1: 2, None: 3, (4,): 5}, {"1": 2, "None": 3, "(4,)": 5}),
        (
            {"password": "s3cret", "token": ["a"], "user": {"api_token": 1}},
            {"password": "***", "token": "***", "user": {"api_token": "***"}},
        ),
        (
            {
                "X-API-Key": 1,
                "apiKey": 2,
                "passwd": 3,
                "session_id": 4,
                "JWT": 5,
                "private-key": 6,
                "keys": 7,
            },
            {
                "X-API-Key": "***",
                "apiKey": "***",
                "passwd": "***",
                "session_id": "***",
                "JWT": "***",
                "private-key": "***",
                "keys": 7,
            },
        ),
        ([(b"Authorization", b"Bearer x"), ("a", "b")], [["b'Authorization'", "***"], ["a", "b"]]),
        ("redis://u:s3cret@host/0?x=1", "redis://u:***@host/0?***"),
        ("a\nb\x1b", "a\\nb\\x1b"),
        ("a\udfff", "a\\udfff"),
        ({"\n": 1}, {"\\n": 1}),
        (Name("n"), "n"),
        (logging, str(logging)),
    ],
    ids=itertools.count(),
)
def test_what_an_application_adds(added, shown):
    """What JSON has, as it is; anything else as a text, without what is called a secret."""
    assert said(added=added)["extra"] == {"added": shown}


@pytest.mark.parametrize(
    "added", [circle(), wide(4), {str(n): "😀" * 900 for n in range(200)}], ids=["circle", "wide", "long"]
)
def test_more_than_there_is_room_for(added):
    """An object without end, or too large, is a line all the same."""
    assert said(added=added)["message"] == "a text"


def test_a_strange_record():
    """What is no record as logging makes them is told of."""
    assert said(created="yesterday")["message"] == "a record could not be read: TypeError"
    assert said(levelno=None)["level"] == "error"


def raised():
    try:
        raise OSError(f"{'postgres'}://user:{'hunter'}2@db\nforged\x85\x9b2J")
    except OSError:
        return sys.exc_info()


def test_exceptions():
    """By name, and with a traceback in one text, without passwords and what terminals obey."""
    line = said(exc_info=raised())
    assert line["exception"] == "OSError"
    first, *_, told, forged, _ = line["traceback"].split("\n")
    assert first == "Traceback (most recent call last):"
    assert (told, forged) == ("OSError: postgres://user:***@db", "forged")
    assert "\\x9b2J" in line["traceback"]
    assert "stack" in said(stack_info="Stack:\n  File x")
    for none in ((None, None, None), True, ()):
        assert "traceback" not in said(exc_info=none)


def test_a_long_traceback():
    """Its end says most."""
    try:
        raise ExceptionGroup("several", [ValueError("x" * 900 + f"number {n}") for n in range(60)])
    except ExceptionGroup:
        text = said(exc_info=sys.exc_info())["traceback"]
    assert text.startswith("...")
    assert "number 14" in text[-800:]


def test_a_record_from_a_queue():
    """Other processes' records have no exception any more, but its text."""
    waiting = queue.SimpleQueue()
    QueueHandler(waiting).handle(record("it failed", exc_info=raised(), **about("task-failed")))
    line = read(JSONLines().format(waiting.get_nowait()))
    assert line["event"] == "task-failed"


def test_our_fields():
    """They are as they came, unlike in the text, and no longer; nothing of them is another's."""
    extra = about(
        "refused",
        method="GET",
        path="/a b\n",
        code="origin",
        detail="redis://u:p@h?x",
        user="Zoë=",
        address="x" * 300,
    )
    line = said(**extra, name="sse_edge.access", request_id="7")
    assert (line["event"], line["path"], line["user"]) == ("refused", "/a b\\n", "Zoë=")
    assert line["detail"] == "redis://u:***@h?***"
    assert line["address"] == "x" * LONGEST + "..."
    assert line["extra"] == {"request_id": "7"}


@pytest.mark.parametrize(
    "forged",
    [
        {"event": "refused"},
        {"event": "log", "time": "now", "message": "x", "pid": "x"},
        {"event": "stream-ended", "user": ["admin"], "level": 5},
        "mine",
        [1],
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["shop", "sse_edge"])
def test_an_event_that_an_application_makes(forged, name):
    """Is none of the edge's, but what it is to all others: something that was added."""
    line = said(sse_edge=forged, sampled=True, name=name)
    assert (line["event"], line["time"], line["message"]) == ("log", TIME, "a text")
    assert line["extra"] == {"sse_edge": forged, "sampled": True}


def test_a_servers_logger_with_something_else():
    """Whatever is logged there by its name."""
    line = said("%s %s %s %s %s", 1, 2, 3, 4, 5, name="uvicorn.access")
    assert (line["event"], line["message"]) == ("server", "1 2 3 4 5")


REQUEST = {"event": "request", "address": "192.0.2.1", "method": "GET", "path": "/a b", "status_code": 404}
ATOMS = {
    "m": "GET",
    "U": "/a b",
    "s": "404",
    "L": "0.25",
    "q": "token=x",
    "r": "GET /a?token=x",
    "{cookie}i": "session=x",
}


@pytest.mark.parametrize(
    ("name", "text", "args", "fields", "message"),
    [
        (
            "uvicorn.access",
            '%s - "%s %s HTTP/%s" %d',
            ("192.0.2.1:5", "GET", "/a%20b?token=x", "1.1", 404),
            REQUEST,
            '192.0.2.1:5 - "GET /a%20b?*** HTTP/1.1" 404',
        ),
        (
            "uvicorn.access",
            '%s - "%s %s HTTP/%s" %d',
            ("2001:db8::1:5", "GET", "/", "1.1", 200),
            {**REQUEST, "address": "2001:db8::1", "path": "/", "status_code": 200},
            '2001:db8::1:5 - "GET / HTTP/1.1" 200',
        ),
        (
            "uvicorn.error",
            '%s - "WebSocket %s" [accepted]',
            ("192.0.2.1:5", "/a?token=x"),
            {"event": "websocket", "address": "192.0.2.1", "path": "/a", "status_code": 101},
            '192.0.2.1:5 - "WebSocket /a?***" [accepted]',
        ),
        (
            "uvicorn.access",
            '%s - "%s %s HTTP/%s" %d',
            ("", "GET", "/", "1.1", 200),
            {**REQUEST, "address": "unix", "path": "/", "status_code": 200},
            'unix - "GET / HTTP/1.1" 200',
        ),
        (
            "uvicorn.error",
            '%s - "WebSocket %s" [accepted]',
            ("", "/a"),
            {"event": "websocket", "address": "unix", "path": "/a", "status_code": 101},
            'unix - "WebSocket /a" [accepted]',
        ),
        (
            "uvicorn.error",
            '%s - "WebSocket %s" %d',
            ("192.0.2.1:5", "/a", 418),
            {"event": "websocket", "address": "192.0.2.1", "path": "/a", "status_code": 418},
            '192.0.2.1:5 - "WebSocket /a" 418',
        ),
        (
            "uvicorn.error",
            "Started server process [%d]",
            (7,),
            {"event": "server"},
            "Started server process [7]",
        ),
        (
            "gunicorn.access",
            '%(h)s "%(r)s"',
            ({"h": "2001:db8::1", **ATOMS},),
            {**REQUEST, "address": "2001:db8::1", "seconds": 0.25},
            '2001:db8::1 - "GET /a b" 404',
        ),
        (
            "hypercorn.access",
            '%(h)s "%(R)s"',
            ({"h": "192.0.2.1:5", **ATOMS},),
            {**REQUEST, "seconds": 0.25},
            '192.0.2.1:5 - "GET /a b" 404',
        ),
        (
            "granian.access",
            "%(addr)s",
            (
                {
                    "addr": "192.0.2.1",
                    "method": "GET",
                    "path": "/a b",
                    "status": 404,
                    "dt_ms": 250.0,
                    "query_string": "token=x",
                },
            ),
            {**REQUEST, "seconds": 0.25},
            '192.0.2.1 - "GET /a b" 404',
        ),
    ],
    ids=lambda each: each if isinstance(each, str) and "." in each else "",
)
def test_the_lines_of_servers(name, text, args, fields, message):
    """Of each server a request is the same, and has no query and no header."""
    line = said(text, *args, name=name, color_message="x", websocket=object())
    assert {
        key: line[key] for key in line if key not in ("time", "level", "logger", "pid", "message")
    } == fields
    assert line["message"] == message


async def test_text_and_json_agree(caplog):
    """What a line of text says is the message, of every kind of refusal too."""
    caplog.set_level(logging.INFO, "sse_edge.access")
    log = RefusalLog(asyncio.get_running_loop())
    for number in range(20):
        log.tell("GET", '/events/x" user=admin\n', NOT_FOUND.of("Zoë\n", f"why{number}"), "192.0.2.1")
    log.close()
    assert len(caplog.records) == 6
    for each in caplog.records:
        line = read(JSONLines().format(each))
        assert line["message"] == Lines("%(message)s").format(each)
        assert (line["code"], line["address"]) == ("not-found", "192.0.2.1")
    assert line | {"event": "refusals-left-out", "count": 15, "addresses": 1, "most": 15} == line


def test_a_password_is_in_neither():
    """What an application logs of its database."""
    made = record("no answer from %s", "postgres://shop:hunter2@db/1")
    assert Lines("%(message)s").format(made) == said(made.msg, *made.args)["message"]
    assert "hunter2" not in Lines("%(message)s").format(made)


def test_a_websockets_query_is_in_no_line():
    """It may hold a token, as any other."""
    made = record('%s - "WebSocket %s" [accepted]', "192.0.2.1:5", "/ws?token=abc", name="uvicorn.error")
    assert Requests("/events", "/status").filter(made)
    assert made.getMessage() == '192.0.2.1:5 - "WebSocket /ws?***" [accepted]'
    made = record('%s - "WebSocket %s" [accepted]', "", "/ws", name="uvicorn.error")
    assert Requests("/events", "/status").filter(made)
    assert made.getMessage() == 'unix - "WebSocket /ws" [accepted]'
