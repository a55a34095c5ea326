"""Which URLs a request wants besides: read once, bounded, and none that could not be asked for alone."""

from urllib.parse import unquote

import pytest

from parts.strands import also
from sse_edge.admission.also import MOST, alone, asks_others, others, unjoinable
from sse_edge.asgi import Request
from sse_edge.outcome import Refusal

COOKIE = (b"cookie", b"session=s")


def asking(query, *headers, path="/events/me"):
    return Request("GET", path, (COOKIE, *headers), query.encode())


def path_of(raw):
    """Of an edge at /events."""
    path = unquote(raw)
    return path if path.startswith("/events/") else None


def wanted(*urls, query="", headers=()):
    """What becomes of these URLs: path and query, or what is wrong."""
    request = asking(f"{query}&{also(*urls)}" if query else also(*urls), *headers)
    return [
        one.detail if isinstance(one, Refusal) else (one.path, one.query_string)
        for one in others(request, path_of)
    ]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/events/a", ("/events/a", b"")),
        ("/events/a?x=1&y=%26", ("/events/a", b"x=1&y=%26")),
        ("/events/a%20b", ("/events/a b", b"")),
        ("/events/%2541", ("/events/%41", b"")),
        ("/events/a+b?c=d+e", ("/events/a+b", b"c=d+e")),
        ("/events/?", ("/events/", b"")),
        ("/events/../x", ("/events/../x", b"")),  # which no route matches, as everywhere
    ],
)
def test_a_url_is_the_request_that_it_would_be_alone(url, expected):
    """Path and query as if it had been asked for by itself, decoded as often."""
    assert wanted(url) == [expected]


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("", "is no path and query of a URL"),
        ("events/a", "is no path and query of a URL"),
        ("http://testserver/events/a", "is no path and query of a URL"),
        ("//elsewhere/events/a", "is not answered here"),
        ("/other", "is not answered here"),
        ("/eventsx/a", "is not answered here"),
        ("/events/a#b", "is no path and query of a URL"),
        ("/events/a b", "is no path and query of a URL"),
        ("/events/é", "is no path and query of a URL"),
        ("/events/a\r\nx", "is no path and query of a URL"),
        ("/events/a?poll", "is a poll, which cannot be joined"),
        ("/events/a?poll=3", "is a poll, which cannot be joined"),
        ("/events/a?also=%2Fevents%2Fb", "has an also of its own"),
        ("/events/me", "is there already"),
    ],
)
def test_a_url_that_cannot_be_joined(url, wrong):
    """It is told by itself, with the parameter's name and what it was given, and harms no other."""
    first, second = wanted(url, "/events/fine")
    assert first.startswith("also: ")
    assert first.endswith(f" {wrong}")
    assert second == ("/events/fine", b"")


def test_the_same_twice():
    """The second of two that are the same is refused; another query makes another URL."""
    assert wanted("/events/a", "/events/a?x", "/events/%61")[:2] == [("/events/a", b""), ("/events/a", b"x")]
    assert wanted("/events/a", "/events/%61")[1] == "also: '/events/%61' is there already"
    assert wanted("/events/me?x=1", query="x=1") == ["also: '/events/me' is there already"]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", ""),
        ("x=1", "x=1"),
        ("also=%2Fa", ""),
        ("x=1&also=%2Fa", "x=1"),
        ("also=%2Fa&x=1&also=&y", "x=1&y"),
        ("xalso=1&alsox=2", "xalso=1&alsox=2"),
    ],
)
def test_its_own_query(query, left):
    """A request's own stream does not see what it wants besides."""
    request = asking(query)
    assert alone(request).query_string == left.encode()
    assert asks_others(request) is (query != left)
    assert (alone(request) is request) is (query == left)


def test_places():
    """Last-Event-ID is the request's own; each of the others has its own in its query."""
    request = asking(
        also("/events/a?last_event_id=1-1.abc", "/events/b", "/events/c?last_event_id=x&last_event_id=y"),
        (b"last-event-id", b"9-9.abc"),
    )
    assert alone(request).all(b"last-event-id") == ["9-9.abc"]
    a, b, c = others(request, path_of)
    assert [one.all(b"last-event-id") for one in (a, b, c)] == [["1-1.abc"], [], []]
    assert a.all(b"cookie") == ["session=s"]
    assert c.query["last_event_id"] == ["x", "y"]


def test_how_many():
    """More than fifteen are refused before any of them is looked at."""
    urls = [f"/events/{number}" for number in range(MOST + 1)]
    assert unjoinable(asking(also(*urls[:MOST]))) is None
    assert unjoinable(asking(also(*urls))).detail == "also: 16 URLs, and 15 are joined at most"
    assert unjoinable(asking("")) is None


@pytest.mark.parametrize("headers", [(), ((b"accept", b"application/json"),)])
def test_a_poll(headers):
    """A poll has one answer."""
    query = also("/events/a") + ("" if headers else "&poll=1")
    assert unjoinable(asking(query, *headers)).detail == "also: a poll has one answer, and cannot be joined"


def test_what_was_given_is_told_in_one_line():
    """Whatever was given, and however much of it."""
    (detail,) = wanted("\r\n" + "x" * 5000)
    assert detail.isprintable()
    assert len(detail) < 400
    assert "'\\r\\nxx" in detail
