"""What the doctor makes of a stream: tables."""

import pytest

from parts.judged import GREETING, answer, codes, said
from sse_edge.doctor.fault import Level
from sse_edge.doctor.judgement import delivery
from sse_edge.doctor.wire import End, Heard, heard

GOODBYE = b'event: edge-close\ndata: {"reason": "drain"}\nretry: 2000\n\n'


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([(0.0, 0.01), (0.4, 0.41), (0.8, 0.81)], []),
        ([(0.0, 1.5), (0.4, 1.5), (0.8, 1.5)], []),  # a busy machine; all is passed on within SLOW
        ([(0.0, 4.0), (0.4, 4.0), (0.8, 4.0)], ["buffered"]),
        ([(0.0, 0.1), (0.4, 0.5), (0.8, None)], ["buffered"]),
        ([(0.0, None), (0.4, None), (0.8, None)], ["events-missing"]),
    ],
)
def test_events_one_by_one(times, expected):
    """Late ones and missing ones are held back somewhere; none at all is another channel."""
    assert codes(delivery.events(times)) == expected


def silent(*times, end=End.OPEN, end_at=0.0, last=b": keep-alive\n"):
    """A stream that spoke at these times."""
    return answer(body=[(0.0, GREETING), *((at, last) for at in times)], end=end, end_at=end_at)


@pytest.mark.parametrize(
    ("seen", "watched", "level", "expected"),
    [
        (silent(*range(15, 100, 15)), 100, Level.OK, []),
        (silent(12, 24, 36), 50, Level.OK, []),
        (silent(25, 50, 75), 100, Level.WARNING, ["rare-keep-alive"]),
        (silent(55, 100), 101, Level.WARNING, ["rare-keep-alive"]),
        (silent(), 100, Level.FAILURE, ["no-keep-alive"]),
        (silent(), 8, Level.UNKNOWN, []),
        (silent(end=End.CUT, end_at=60.0), 100, Level.FAILURE, ["idle-timeout"]),
        (silent(end=End.CLEAN, end_at=60.0), 100, Level.FAILURE, ["idle-timeout"]),
        (silent(15, 30, end=End.CUT, end_at=30.2), 100, Level.FAILURE, ["cut-short"]),
        (silent(20, end=End.CLEAN, end_at=20.0, last=GOODBYE), 100, Level.UNKNOWN, []),
    ],
)
def test_keep_alive(seen, watched, level, expected):
    """The cadence against what cuts silent streams, and who ended it."""
    finding = delivery.keep_alive(seen, watched)
    assert (finding.level, codes(finding)) == (level, expected)


def test_a_rare_keep_alive_names_who_would_cut():
    """The figure, and the time-outs that it does not keep."""
    seen = delivery.keep_alive(silent(40, 80), 100).seen
    assert "40 s" in seen
    assert "CloudFront (30 s)" in seen
    assert "Cloudflare" not in seen


@pytest.mark.parametrize(
    ("told", "expected"), [("3000", []), (None, ["no-retry"]), ("", ["no-retry"]), ("0", ["no-retry"])]
)
def test_retry(told, expected):
    """Every stream says when to come back, and not at once."""
    assert codes(delivery.retry(told)) == expected


@pytest.mark.parametrize(
    ("body", "end", "expected"),
    [
        (GOODBYE, End.CLEAN, []),
        (GOODBYE, End.CUT, ["unclean-end"]),
        (GOODBYE, End.OPEN, ["unclean-end"]),
        (b"", End.CLEAN, ["unclean-end"]),
        (b"id: 1-0.a\n\n" + GOODBYE.replace(b"retry: 2000\n", b""), End.CLEAN, ["no-retry"]),
    ],
)
def test_ending(body, end, expected):
    """A goodbye with retry:, then the last chunk."""
    seen = answer(body=[(0.1, GREETING), (1.0, body)], end=end)
    assert codes(delivery.ending(seen, heard(seen))) == expected


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([Heard(0, data="1", id="1-2"), Heard(0, data="2", id="1-3")], []),
        ([Heard(0, data="2", id="1-2"), Heard(0, data="1", id="1-3")], ["resume-incomplete"]),
        ([Heard(0, data="2", id="1-3")], ["resume-incomplete"]),
        ([Heard(0, id="1-3")], ["resume-incomplete"]),
        ([Heard(0, event="edge-reset", data="{}")], ["resume-incomplete"]),
        ([Heard(0, event="edge-refused", data="{}")], []),
        ([Heard(0, data="1", id="1-2")] * 2 + [Heard(0, data="2", id="1-3")], ["resume-incomplete"]),
    ],
)
def test_resume(blocks, expected):
    """Exactly what was missed, in order, once."""
    assert codes(delivery.resume(["1", "2"], blocks)) == expected


def test_a_400_is_the_app():
    """Of a source's stream, and of an edge of before: the id has reached it."""
    assert delivery.cursor(said(status=400)).seen == "Last-Event-ID reaches the app"
