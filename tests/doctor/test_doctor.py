"""What the doctor stands on: a remedy for each fault, the worst of several, URLs, and blocks of a stream."""

import pytest

from parts.judged import answer, codes
from sse_edge.doctor.catalogue import FAULTS
from sse_edge.doctor.fault import Level
from sse_edge.doctor.finding import found, ok, unknown, worst
from sse_edge.doctor.judgement import opening
from sse_edge.doctor.target import Target
from sse_edge.doctor.wire import Heard, heard
from sse_edge.errors import ConfigError


def test_every_fault_has_a_remedy():
    """A code is a key that stays, and says what to do."""
    for code, fault in FAULTS.items():
        assert code == fault.code
        assert code == code.lower()
        assert fault.level > Level.UNKNOWN
        assert fault.remedy.endswith(".") or fault.remedy.endswith("?") or ":" in fault.remedy
        assert bool(fault.nginx) or not fault.caddy


@pytest.mark.parametrize(
    ("findings", "level"),
    [
        ([], Level.OK),
        ([ok("a", "")], Level.OK),
        ([ok("a", ""), unknown("b", "")], Level.OK),
        ([found("a", "http1", ""), unknown("b", "")], Level.WARNING),
        ([found("a", "http1", ""), found("b", "buffered", ""), ok("c", "")], Level.FAILURE),
    ],
)
def test_the_worst_decides(findings, level):
    """What was not checked counts for nothing."""
    assert worst(findings) is level


def test_blocks_are_heard_when_they_are_complete():
    """A block that comes in pieces has the time of its last one; a comment is a block without fields."""
    seen = answer(body=[(1.0, b": hi\n\nid: 7\nda"), (2.0, b"ta: x\nevent: e\n"), (3.0, b"\n: rest")])
    assert heard(seen) == [Heard(1.0), Heard(3.0, "e", "x", "7")]


@pytest.mark.parametrize(
    ("url", "host", "expected"),
    [
        ("http://h", None, ("h", 80, "/", "h", "http://h")),
        ("https://h:8443/events/me?x=1", None, ("h", 8443, "/events/me?x=1", "h:8443", "https://h:8443")),
        (
            "https://127.0.0.1/e",
            "example.com",
            ("127.0.0.1", 443, "/e", "example.com", "https://example.com"),
        ),
        ("http://[::1]:8000/e", None, ("::1", 8000, "/e", "[::1]:8000", "http://[::1]:8000")),
    ],
)
def test_a_url(url, host, expected):
    """Where to connect, what to ask for, and the origin of its pages."""
    target = Target.of(url, host=host)
    assert (target.host, target.port, target.path, target.authority, target.origin) == expected


@pytest.mark.parametrize(
    ("url", "host", "expected"),
    [
        ("http://127.0.0.1:8000/", None, True),
        ("http://127.0.0.1:8000/", "app.test", True),
        ("http://[::1]/", "app.test:81", True),
        ("http://localhost/", None, True),
        ("http://app.localhost/", None, True),
        ("http://192.0.2.7/", "localhost", False),
        ("http://app.test/", None, False),
    ],
)
def test_a_url_of_this_machine(url, host, expected):
    """Is one that leads there, whatever it is asked for: then it may be without TLS."""
    target = Target.of(url, host=host)
    assert target.is_loopback is expected
    assert codes(opening.http_version(target, None)) == ([] if expected else ["http1"])


@pytest.mark.parametrize("url", ["h/e", "ftp://h/", "http:///e", "http://h/ä", "http://h:x/", "http://h/a b"])
def test_a_url_that_is_none(url):
    """Is refused, with its name."""
    with pytest.raises(ConfigError, match="URL"):
        Target.of(url)
