"""The log as JSON: one schema, which deploy/logs.schema.json is, and a valid line whatever is logged."""

import ast
import asyncio
import functools
import gc
import itertools
import json
import logging
import logging.config
import queue
import re
import sys
from collections import Counter
from logging.handlers import QueueHandler
from pathlib import Path

import click
import jsonschema
import pytest

import sse_edge
from servers.processes import TESTS, ServerProcess, free_port
from servers.sse import get
from sse_edge import JSONLines
from sse_edge.cli.failure import ENDS, ended
from sse_edge.cli.serving.logs import Lines, Requests
from sse_edge.jsonlines import LONGEST_LINE
from sse_edge.logline import LONGEST, about
from sse_edge.outcome import NOT_FOUND
from sse_edge.refusals import RefusalLog

DEPLOY = Path(sse_edge.__path__[0]).parent / "deploy"
SCHEMA = json.loads((DEPLOY / "logs.schema.json").read_text())
KINDS = {kind["properties"]["event"]["const"]: kind for kind in SCHEMA["oneOf"]}
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
TIME = "2026-11-29T05:13:46.123Z"
FORMATTERS = {"request", "websocket", "server", "log"}
"""Events that the formatter names itself."""


def read(line):
    """A line that is as the schema says, as an object."""
    assert line.isascii()
    assert len(line) <= LONGEST_LINE
    assert "\n" not in line.removesuffix("\n")
    said = json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    VALIDATOR.validate(said)
    return said


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
    return [wide(depth - 1) for _ in range(40)] if depth else "x" * 500


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


# ---- The schema is what is logged, and what the page says


CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
LOGGERS = {"logger", "log", "access_log", "_server_log"}


@functools.cache
def calls():
    """Every call in the modules of sse_edge that log, each with where it is."""
    found = []
    gc.disable()  # on Python 3.11 a collection during ast.parse can break it (python/cpython#106905)
    try:
        for path in Path(sse_edge.__path__[0]).rglob("*.py"):
            source = path.read_text()
            if "getLogger" in source or "about(" in source:
                calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
                found += [(f"{path.name}:{call.lineno}", call) for call in calls]
    finally:
        gc.enable()
    return found


def test_every_line_of_ours_has_a_name():
    """No call of a logger is without ``extra``."""
    logged = [
        (where, {each.arg for each in call.keywords})
        for where, call in calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in CALLS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in LOGGERS
    ]
    assert len(logged) > 50
    assert [where for where, given in logged if "extra" not in given] == []


def test_the_schema_has_every_event():
    """With the fields that it is logged with, and none besides."""
    found, wrong = set(), []
    for where, call in calls():
        name = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
        if name not in ("about", "_about") or not call.args or not isinstance(call.args[0], ast.Constant):
            continue
        event, given = call.args[0].value, {each.arg for each in call.keywords if each.arg}
        found.add(event)
        known = set(KINDS[event]["properties"]) if event in KINDS else set()
        if not given <= known:
            wrong.append(f"{where}: {event} {given - known}")
    assert wrong == []
    assert found | {"source-failed"} == set(KINDS) - FORMATTERS


def table(page, head):
    rows = page.partition(head)[2].partition("\n\n")[0].split("\n")[2:]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]


def test_the_page():
    """deploy/LOGS.md has every event with its fields, and every field with its type."""
    page = (DEPLOY / "LOGS.md").read_text()
    events = {row[0].strip("`"): re.findall(r"`(\w+)`", row[2]) for row in table(page, "| `event` | when |")}
    kinds = {name: [key for key in kind["properties"] if key != "event"] for name, kind in KINDS.items()}
    assert events == kinds
    types = {}
    for kind in KINDS.values():
        for key, value in kind["properties"].items():
            if key != "event":
                types[key] = value["type"] if isinstance(value["type"], str) else value["type"][0]
    assert {row[0].strip("`"): row[1] for row in table(page, "| field |")} == types
    for name in SCHEMA["properties"]:
        assert f"| `{name}` |" in page, name


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn", "hypercorn"])
def test_a_configuration_of_the_page(server, tmp_path):
    """What it says for other servers is a configuration for logging."""
    page = (DEPLOY / "LOGS.md").read_text()
    (block,) = re.findall(r"```json\n(\{\n.*?)```", page, re.DOTALL)
    config = json.loads(block)
    assert config["formatters"] == {"json": {"()": "sse_edge.JSONLines"}}
    assert server in config["loggers"] or f"{server}.access" in config["loggers"]


# ---- Real servers


def lines(process):
    """Every line of its log, each valid."""
    return [read(line) for line in process.log.splitlines()]


async def flood(port, text, count):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(count):
            writer.write(text)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: ([0-9]+)", head)[1])
            await reader.readexactly(length)
    finally:
        writer.close()


WEBSOCKET = (
    b"GET /socket?token=abc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.heavy), 2])
async def test_a_server_of_which_every_line_is_valid(serve_app, connect, redis_url, workers):
    """Streams, refusals, floods, probes, an application that fails and logs what cannot be written, and a
    drain: each line is as the schema says, and each request has its one."""
    options = ["--log-format", "json", "--status-path", "/probe"]
    env = {"BACKEND": redis_url}
    server = serve_app("apps.logged:edge", server="sse-edge serve", workers=workers, env=env, options=options)
    server.wait_for_log("startup complete")
    url = server.url
    streams = [await connect(f"{url}/events/me?user=u{n}") for n in range(3)]
    await streams[0].aclose()
    server.wait_for_log("client-gone")
    await flood(server.port, b"GET /events/none?token=abc HTTP/1.1\r\nHost: a\r\n\r\n", 50)
    await flood(server.port, b"GET /page?token=abc HTTP/1.1\r\nHost: a\r\n\r\n", 40)
    await get(f"{url}/events/room/a?user=Zo%C3%AB%20x%3D%0A")
    for path in ("/say?token=abc", "/fail", "/thread", "/warn"):
        await get(url + path)
    for probe in ("live", "ready", "metrics", "metrics?by=worker"):
        for method in ("GET", "HEAD"):
            await get(f"{url}/probe/{probe}", method=method)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(WEBSOCKET)
    server.wait_for_log("[accepted]")
    writer.close()
    server.signal(15)
    assert await server.exited() == 0
    said = lines(server)
    by = Counter(each["event"] for each in said)
    ended = [each for each in said if each["event"] == "stream-ended"]
    assert sorted((each["reason"], each["user"]) for each in ended) == [
        ("client-gone", "u0"),
        ("drain", "u1"),
        ("drain", "u2"),
    ]
    assert all(each["path"] == "/events/me" and each["bytes"] > 0 for each in ended)
    refused = [each for each in said if each["event"] == "refused" and each["code"] == "not-found"]
    more = [each for each in said if each["event"] == "refusals-left-out"]
    assert len(refused) + sum(each["count"] for each in more) == 50
    answered = [each for each in said if each["event"] == "request" and each["path"] == "/page"]
    left = [each for each in said if each["event"] == "lines-left-out" and each["kind"] == "answered 404"]
    assert 5 <= len(answered) < 40
    assert sum(each["count"] for each in left) >= 40 - len(answered)
    (failed,) = [each for each in said if each["event"] == "callback-failed"]
    assert (failed["function"], failed["user"], failed["channel"]) == ("authorize", "Zoë x=\\n", "room:a")
    assert failed["exception"] == "OSError"
    assert [each["level"] for each in said if each.get("exception") == "ExceptionGroup"] == ["error"]
    (thread,) = [each for each in said if each["event"] == "uncaught"]
    assert thread["traceback"].endswith("RuntimeError: a thread\nfailed")
    assert [each["message"] for each in said if each["logger"] == "shop"][:2] == [
        "two\\nlines\\x1b[2J \\ud800",
        "no %d number ('so',)",
    ]
    assert any(each["logger"] == "py.warnings" and "this is\\nold" in each["message"] for each in said)
    assert by["drain"] == by["drained"] == workers
    assert len({each["pid"] for each in said}) == (1 if workers == 1 else 3)
    for hidden in ("abc", "s3cret", "hunter2", "/probe", "token="):
        assert hidden not in server.log, hidden


ENDINGS = {
    "nothing": (None, 2, "APP 'nothing:app': Could not import module \"nothing\"."),
    "says": ("import sys\nsys.exit('bye\x1b[1m\\nforged')", 1, "SystemExit: bye\\x1b[1m forged"),
    "interrupts": ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
}


def serving(tmp_path, name, *options):
    program = [Path(sys.executable).with_name("sse-edge"), "serve", f"{name}:app", "--app-dir", tmp_path]
    return ServerProcess([*program, *options], env={"PYTHONPATH": str(DEPLOY.parent)})


def test_a_server_that_does_not_start(tmp_path):
    """Why not is a line like any other; as text it is one, too, and moves no cursor."""
    for name, (text, *_) in ENDINGS.items():
        if text is not None:
            (tmp_path / f"{name}.py").write_text(text)
    text = serving(tmp_path, "says")
    started = {name: serving(tmp_path, name, "--log-format", "json") for name in ENDINGS}
    try:
        for name, (_, code, why) in ENDINGS.items():
            assert started[name].wait() == code, name
            (line,) = lines(started[name])
            assert (line["event"], line["level"]) == ("failed", "critical")
            assert line["detail"] == (why if code == 2 else f"APP '{name}:app': ended with {why}")
        assert text.wait() == 1
        assert text.log == "Error: APP 'says:app': ended with SystemExit: bye\\x1b[1m forged\n"
    finally:
        for process in (text, *started.values()):
            process.close()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SystemExit("by\x1be"), 1, "SystemExit: by\\x1be"),
        (SystemExit(3), 3, "SystemExit: 3"),
        (SystemExit(), 0, "SystemExit"),
        (KeyboardInterrupt(), 1, "KeyboardInterrupt"),
        (EOFError("EOF when reading a line"), 1, "EOFError: EOF when reading a line"),
        (click.UsageError("no\nURL"), 2, "UsageError: no URL"),
        (click.Abort(), 1, "Abort"),
        (click.exceptions.Exit(4), 4, "Exit: 4"),
    ],
    ids=repr,
)
def test_an_application_that_ends_the_command(error, code, said):
    """Has the exit code that it says, and one line."""
    assert isinstance(error, ENDS)
    failure = ended("APP", error)
    assert (failure.format_message(), failure.exit_code) == (f"APP: ended with {said}", code)


RAISED = {"OSError('no\\nfile')": "OSError: no\nfile", "SystemExit('by\x1be')": "SystemExit: by\\x1be"}


def test_a_worker_that_does_not_start(tmp_path):
    """Nor does multiprocessing write why not, in lines of its own."""
    options, started = ["--log-format", "json", "--workers", "2"], []
    for number, raised in enumerate(RAISED):
        fails = f"import multiprocessing\nif multiprocessing.parent_process(): raise {raised}\napp = print"
        (tmp_path / f"app{number}.py").write_text(fails)
        started.append(serving(tmp_path, f"app{number}", "--port", free_port(), *options))
    try:
        for process, ends in zip(started, RAISED.values(), strict=True):
            process.wait_for_log(ends.partition(":")[0])
            process.kill()
            said = [read(line) for line in process.log.splitlines(keepends=True) if line.endswith("\n")]
            failed = [line for line in said if line["event"] == "uncaught"]
            assert failed[0]["traceback"].endswith(ends)
    finally:
        for process in started:
            process.close()


PLACE = "127.0.0.1:{port}"


@pytest.mark.heavy
async def test_other_servers(serve, connect, redis_url, tmp_path):
    """With the page's configuration every line of each is the same."""
    (block,) = re.findall(r"```json\n(\{\n.*?)```", (DEPLOY / "LOGS.md").read_text(), re.DOTALL)
    config = tmp_path / "logging.json"
    config.write_text(block)
    env = {"BACKEND": redis_url, "PYTHONPATH": f"{DEPLOY.parent}:{TESTS}"}
    options = {
        "uvicorn": ["--port", "{port}", "--log-config", config],
        "hypercorn": [
            "--bind",
            "127.0.0.1:{port}",
            "--log-config",
            f"json:{config}",
            "--access-logfile",
            "-",
        ],
        "gunicorn": ["--bind", PLACE, "-k", "asgi", "--log-config-json", config],
    }

    async def visit(server):
        port = free_port()
        given = [str(option).format(port=port) for option in options[server]]
        command = [sys.executable, "-m", server, "apps.logged:edge", *given]
        process = await asyncio.to_thread(serve, command, port=port, env=env)
        url = f"http://127.0.0.1:{port}"
        await get(f"{url}/events/none?token=abc")
        await get(f"{url}/page?token=abc")
        stream = await connect(f"{url}/events/me?user=u42")
        await stream.aclose()
        await asyncio.to_thread(process.wait_for_log, "client-gone")
        await asyncio.to_thread(process.wait_for_log, '"/page"')
        process.signal(15)
        await process.exited()
        return process

    for process in await asyncio.gather(*map(visit, options)):
        assert {"refused", "request", "stream-ended", "server"} <= {each["event"] for each in lines(process)}
        assert "abc" not in process.log
