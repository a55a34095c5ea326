"""What others chose, as it is in a log: no second line, no field that is not one."""

import json
import logging
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

import sse_edge
from sse_edge import Anonymous, Publisher, SSEMiddleware, logline
from sse_edge.logline import LONGEST, Seldom, sentence, value, why

FORGED = [
    "a address=1.2.3.4",
    'a" user=admin',
    "a\nINFO user=admin",
    "a\r\nINFO user=admin",
    "a\x85INFO user=admin",
    "a\u2028INFO user=admin",
    "a\u2029INFO user=admin",
    "a\x0bINFO user=admin",
    "\x9b2J\x1b]0;x\x07",
    "\u202eadmin",
    "a%20address%3D1.2.3.4",
    "a\x00b\x7f",
    "Zoë 李",
    "-",
    "",
]


@pytest.mark.parametrize("text", FORGED, ids=ascii)
def test_values(text):
    """One word of printable ASCII without an equals sign, which can be read back."""
    said = value(text)
    assert said.isascii()
    assert said.isprintable()
    assert not set(said) & set(' ="&')
    assert said != "-"
    assert unquote(said) == text


@pytest.mark.parametrize("text", FORGED, ids=ascii)
def test_sentences(text):
    """Blanks and quotes stay; nothing else is different."""
    said = sentence(f"channel '{text}' may not be read")
    assert said.isascii()
    assert said.isprintable()
    assert "=" not in said
    assert unquote(said) == f"channel '{text}' may not be read"


@pytest.mark.parametrize(
    "text", ["u42", "bob@example.com", "auth0|5f7c8ec7c33c6c004bbafe82", "order:1,2", "2001:db8:0:1::/64"]
)
def test_what_is_harmless_stays(text):
    """Names as applications choose them are found by a plain grep."""
    assert value(text) == text


def test_nobody():
    """No user is a dash, and no user has that name."""
    assert value(None) == "-"
    assert value("-") == "%2D"


def test_lone_surrogates():
    """What UTF-8 cannot carry is no error in a log."""
    assert value("a\ud800b") == "a%ED%A0%80b"


def test_long_values_are_cut():
    """Nobody fills a disk with one request; where something is missing is to be seen."""
    assert value("x" * 10_000) == "x" * LONGEST + "..."


def test_an_error_without_the_data_that_it_could_not_read():
    """A UnicodeDecodeError holds all of them, and its repr shows them."""
    with pytest.raises(UnicodeDecodeError) as caught:
        json.loads(b"the payload\xff")
    assert "payload" in repr(caught.value)
    said = why(caught.value)
    assert said.startswith("UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff")
    assert "payload" not in said
    assert why(TimeoutError()) == "TimeoutError"


def test_tracebacks(caplog):
    """In every formatter: indented, without passwords, and the exception stays for who collects them."""
    logger = logging.getLogger("sse_edge")
    try:
        raise OSError(f"{'postgres'}://user:{'hunter'}2@db\n2026-01-01 forged user=admin\x85\x9b2J")
    except OSError:
        logger.exception("it failed, user=%s", value("u42"))
    (record,) = caplog.records
    message, *rest = logging.Formatter("%(levelname)s %(message)s").format(record).splitlines()
    assert message == "ERROR it failed, user=u42"
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert "    OSError: postgres://user:***@db" in rest
    assert "hunter2" not in "".join(rest)
    assert "2@db" in str(record.exc_info[1])


class Broken(logging.Handler):
    """Does not catch what it fails with."""

    def emit(self, record):
        raise RuntimeError("no answer from the collector")


def refuse_all(record):
    raise RuntimeError("no filter")


@pytest.mark.parametrize("how", ["handler", "filter"])
async def test_a_log_that_raises(asgi, url, caplog, monkeypatch, how):
    """Who is let in and who is not, and how streams end, is as without it; once the log says so."""
    caplog.set_level(logging.INFO, "sse_edge")
    monkeypatch.setattr(logline, "_seldom", Seldom())
    for name in ("sse_edge", "sse_edge.access"):
        logger = logging.getLogger(name)
        if how == "handler":
            monkeypatch.setattr(logger, "handlers", [Broken()])
        else:
            monkeypatch.setattr(logger, "filters", [*logger.filters, refuse_all])
    settings = {"auth": Anonymous(), "channels": {"/events/news": "news"}, "hosts": ["testserver"]}
    async with SSEMiddleware(None, backend=url, max_duration=0.5, **settings) as edge:
        client = asgi(edge, "/events/news")
        await client.wait_for(b"edge-position")
        refused = asgi(edge, "/events/none")
        await refused.whole()
        assert refused.status == 404
        async with Publisher(edge.backend) as events:
            await events.publish("news", "hello")
        await client.wait_for(b"hello")
        await client.ended()
    (told,) = [each.sse_edge for each in caplog.records if hasattr(each, "sse_edge")]
    assert told == {"event": "log-failed"}


def test_an_end_while_it_is_logged(monkeypatch):
    """Is no failure of the log."""

    class Ends(logging.Handler):
        def emit(self, record):
            raise KeyboardInterrupt

    logger = logging.getLogger("sse_edge")
    monkeypatch.setattr(logger, "handlers", [Ends()])
    with pytest.raises(KeyboardInterrupt):
        logger.warning("hello")


def test_no_log_line_has_a_repr():
    """A repr keeps blanks and equals signs, and shows the data of some exceptions; and a text that is put
    together before it is logged hides what is in it."""
    call = re.compile(
        r"\b(?:log|logger|access_log)\.(?:debug|info|warning|error|exception)\(\s*([^\"'\s]*)([\"'])(.*?)\2"
    )
    sources = [path.read_text() for path in Path(sse_edge.__path__[0]).rglob("*.py")]
    calls = [found.groups() for source in sources for found in call.finditer(source)]
    assert len(calls) > 25
    assert [text for before, _, text in calls if before or "%r" in text] == []
