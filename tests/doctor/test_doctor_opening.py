"""What the doctor makes of a first answer, and of the one while the app is away: tables."""

import gzip

import pytest

from parts.judged import GREETING, HTML, HUNG_UP, JSON, PAGE, REFUSED, STREAM, answer, codes, said
from sse_edge.delivery.compression import HEAD, Gzip, block
from sse_edge.doctor.judgement import away, opening
from sse_edge.doctor.target import Target
from sse_edge.doctor.wire import End

EMPTY = answer(body=[(0.1, b"retry: 3000\n\n")], end=End.CLEAN)


def says(status, code):
    """A refusal of the app's."""
    return answer(status, [JSON], [(0.1, b'{"error": "%s"}' % code.encode())], End.CLEAN)


@pytest.mark.parametrize(
    ("seen", "responsive", "expected"),
    [
        (answer(), True, []),
        (answer(headers=[("content-type", "Text/Event-Stream; charset=utf-8")]), True, []),
        (answer(headers=[HTML]), True, ["wrong-type"]),
        (answer(headers=[]), True, ["wrong-type"]),
        (answer(301, [("location", "/x")]), True, ["redirected"]),
        (says(401, "unauthenticated"), True, ["unauthenticated"]),
        (says(403, "origin"), True, ["no-stream"]),
        (says(404, "not-found"), True, ["no-stream"]),
        (says(429, "user-limit"), True, ["refused"]),
        (says(503, "draining"), True, ["refused"]),
        # Of something in front.
        (answer(401, [HTML, ("www-authenticate", "Basic")]), True, ["www-authenticate"]),
        (answer(401, [HTML]), True, ["refused-in-front"]),
        (answer(401, [JSON], [(0.1, b'{"message": "no API key"}')]), True, ["refused-in-front"]),
        (answer(403, [HTML]), True, ["refused-in-front"]),
        (answer(404, [HTML]), True, ["no-stream"]),
        (answer(405, [HTML]), True, ["no-stream"]),
        (answer(429, [HTML]), True, ["refused-in-front"]),
        (answer(503, [HTML]), True, ["refused-in-front"]),
        (answer(503, [HTML], [(0.1, b"<h1>503</h1>No server is available")]), True, ["app-away"]),
        (answer(503, [HTML], [(0.1, b"no healthy upstream")]), True, ["app-away"]),
        (answer(500, [HTML]), True, ["fails"]),
        (answer(507, [JSON]), True, ["fails"]),
        (answer(400, [HTML]), True, ["no-stream"]),
        (
            answer(400, [HTML], [(0.1, b"The plain HTTP request was sent to HTTPS port")]),
            True,
            ["wants-https"],
        ),
        (
            answer(400, [], [(0.1, b"Client sent an HTTP request to an HTTPS server.")]),
            True,
            ["wants-https"],
        ),
        (answer(502, [HTML]), True, ["app-away"]),
        (answer(504, [HTML]), True, ["app-away"]),
        (EMPTY, True, ["app-away"]),
        (REFUSED, True, ["refused"]),
        (answer(0, [], [], head_at=None), True, ["buffered"]),
        (answer(0, [], [], head_at=None), False, ["app-away"]),
        (answer(0, [], [], End.CUT, head_at=None), False, ["app-away"]),
    ],
)
def test_the_answer(seen, responsive, expected):
    """Status, type, and whose answer it is."""
    assert codes(opening.answer(seen, 5, cookie=True, responsive=responsive)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("cache-control", "no-store, no-transform")], []),
        ([("cache-control", "No-Transform, no-store")], []),
        ([], ["cacheable"]),
        ([("cache-control", "no-store")], ["cacheable"]),
        ([("cache-control", "no-store, no-transform"), ("cache-control", "public")], ["cacheable"]),
        ([("cache-control", "no-store, no-transform, max-age=60")], ["cacheable"]),
        ([("x-cache", "Hit from cloudfront")], ["cached"]),
        ([("cf-cache-status", "HIT")], ["cached"]),
        ([("age", "12")], ["cached"]),
        ([("cache-control", "no-store, no-transform"), ("x-cache", "MISS"), ("age", "0")], []),
    ],
)
def test_caching(headers, expected):
    """Neither kept by a cache nor out of one."""
    assert codes(opening.caching(said(*headers))) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (answer(), []),
        (answer(body=[(2.5, GREETING)]), ["slow-first-byte"]),
        (answer(body=[]), ["buffered"]),
        (answer(body=[], head_at=None), ["buffered"]),
    ],
)
def test_first_byte(seen, expected):
    """The greeting comes with the headers."""
    assert codes(opening.first_byte(seen, 5)) == expected


@pytest.mark.parametrize(
    ("encoding", "expected"), [("", []), ("identity", []), ("gzip", ["compressed"]), ("br", ["compressed"])]
)
def test_compression(encoding, expected):
    """Any encoding but none."""
    assert codes(opening.compression(said(("content-encoding", encoding)))) == expected


def test_compression_by_the_edge():
    """The edge's own compression holds nothing back; what a proxy made of the same stream may."""
    ours = answer(headers=[STREAM, ("content-encoding", "gzip")], body=())
    ours.take(0.1, HEAD + Gzip().own(GREETING))
    assert ours.pieces == [(0.1, GREETING)]
    finding = opening.compression(ours)
    assert (finding.code, finding.seen) == ("", "gzip, by the edge itself")
    ours.take(0.2, b"spoiled on its way")
    assert (ours.end, ours.end_at) == (End.CUT, 0.2)
    for made in (gzip.compress(GREETING), HEAD + block(GREETING)):
        proxys = answer(headers=[STREAM, ("content-encoding", "gzip")], body=())
        proxys.take(0.1, made)
        assert codes(opening.compression(proxys)) == ["compressed"]


@pytest.mark.parametrize(
    ("url", "protocol", "expected"),
    [
        ("https://h/", "h2", []),
        ("https://h/", "http/1.1", ["http1"]),
        ("https://h/", None, ["http1"]),
        ("http://h/", None, ["http1"]),
    ],
)
def test_http_version(url, protocol, expected):
    """HTTP/2, which browsers speak only over TLS."""
    assert codes(opening.http_version(Target.of(url), protocol)) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (answer(503, [HTML], PAGE), ["refused-in-front"]),
        (answer(429, [HTML], PAGE), ["refused-in-front"]),
        (says(429, "user-limit"), []),
        (HUNG_UP, []),
    ],
)
def test_a_second_stream(seen, expected):
    """Who comes back, and is refused in front, was not given too little by the app."""
    assert codes(opening.second(seen)) == expected


def gone(retry=b"retry: 3000\n\n", **options):
    """What a proxy says for an app that is away."""
    return answer(body=[(0.1, retry)], end=options.pop("end", End.CLEAN), **options)


VARIED = [gone(), gone(b"retry: 4001\n\n")]


@pytest.mark.parametrize(
    ("event_source", "other", "expected"),
    [
        (VARIED, answer(502), []),
        (VARIED, answer(503), []),
        ([gone(status=502)], answer(502), ["strands-browsers"]),
        ([gone(headers=[HTML])], answer(502), ["strands-browsers"]),
        ([gone(b": sorry\n\n")], answer(502), ["strands-browsers"]),
        ([gone(b"retry: 0\n\n")], answer(502), ["strands-browsers"]),
        ([gone(end=End.OPEN)], answer(502), ["strands-browsers"]),
        ([gone(), gone()], answer(502), ["herd"]),
        (VARIED, answer(200), ["hides-failure"]),
    ],
)
def test_an_app_that_is_away(event_source, other, expected):
    """An EventSource gets 200 and a varied retry:, others the real status."""
    assert codes(away.down(event_source, other)) == expected
