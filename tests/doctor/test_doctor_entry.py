"""What the doctor makes of who is let in, and of cookies: tables."""

import pytest

from parts.judged import HTML, HUNG_UP, JSON, PAGE, REFUSED, STREAM, answer, codes, said
from sse_edge.doctor.fault import Level
from sse_edge.doctor.judgement import delivery, entry
from sse_edge.doctor.wire import End
from sse_edge.identity import Identity

NOSNIFF = ("x-content-type-options", "nosniff")
BY_HEAD = answer(200, [STREAM, NOSNIFF], [])
REFUSAL = answer(403, [JSON], [(0.1, b'{"error": "origin", "detail": "..."}')], End.CLEAN)
REFUSAL_BY_HEAD = answer(403, [JSON, NOSNIFF], [], End.CLEAN)
NO_COOKIE = answer(401, [JSON], [(0.1, b'{"error": "unauthenticated"}')], End.CLEAN)

ELSEWHERE = [
    *(answer(status, [HTML], PAGE, End.CLEAN) for status in (200, 401, 403, 404, 405, 429, 503)),
    answer(302, [("location", "/login")], [], End.CLEAN),
    answer(429, [JSON], [(0.1, b'{"error": "connect-rate"}')], End.CLEAN),
    answer(403, [JSON], [(0.1, b'{"error": "blocked by the firewall"}')], End.CLEAN),
    answer(200, [STREAM], [(0.1, b": ping\n\n")]),
    REFUSED,
    HUNG_UP,
]
"""Neither the app's stream nor that it refuses who asks."""


@pytest.mark.parametrize("seen", ELSEWHERE)
def test_what_shows_nothing(seen):
    """What a proxy says itself does not tell what the app would: neither that all is well nor a fault."""
    for finding in (
        entry.foreign_origin(seen, REFUSAL),
        entry.foreign_origin(REFUSAL, seen),
        entry.cross_site(seen),
        entry.without_cookie(seen),
        entry.own_origin(seen, "o"),
        entry.page_origin(seen, "o"),
    ):
        assert (finding.level, finding.code) == (Level.UNKNOWN, "")
        assert "past the proxy" in finding.seen or "try again" in finding.seen or "closed" in finding.seen


def identity(whose, *more):
    """A stream that says whose it is."""
    return answer(200, [STREAM, NOSNIFF, ("edge-identity", whose), *more], [])


TOLD = (
    '{"address": "192.0.2.1", "peer": "192.0.2.2", "forwarded": "", "scheme": "http", '
    '"http": "1.1", "pid": 1, "present": 0, "now": 1.5}'
)


@pytest.mark.parametrize(
    ("seen", "level", "expected"),
    [
        (identity(Identity(None).mark), Level.OK, []),
        (identity(Identity("u1").mark), Level.FAILURE, ["cookie-injected"]),
        (identity(Identity(None, session="s").mark), Level.FAILURE, ["cookie-injected"]),
        (identity("x", ("edge-arrival", TOLD)), Level.FAILURE, ["cached"]),
        (BY_HEAD, Level.UNKNOWN, []),
        (NO_COOKIE, Level.OK, []),
        (answer(401, [JSON, NOSNIFF], [], End.CLEAN), Level.OK, []),
    ],
)
def test_who_has_no_cookie(seen, level, expected):
    """Is refused, or nobody in particular, by what the app says: no user of whom something in front knows."""
    finding = entry.without_cookie(seen)
    assert (finding.level, codes(finding)) == (level, expected)


def polled(body):
    """The answer to a poll."""
    return answer(headers=[("content-type", "application/json")], body=[(0.1, body.encode())])


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (entry.foreign_origin(REFUSAL, REFUSAL_BY_HEAD), []),
        (entry.foreign_origin(answer(), REFUSAL), ["origin-accepted"]),
        (entry.foreign_origin(REFUSAL, BY_HEAD), ["origin-accepted"]),
        (entry.foreign_origin(HUNG_UP, BY_HEAD), ["origin-accepted"]),
        (entry.cross_site(REFUSAL), []),
        (entry.cross_site(BY_HEAD), ["cross-site-accepted"]),
        (entry.upgrade(said()), []),
        (entry.upgrade(said(("upgrade", "websocket"), status=426)), []),
        (entry.upgrade(said(("upgrade", "h2c"), status=101)), ["upgrade-passed"]),
        (entry.upgrade(said(status=101)), ["upgrade-passed"]),
        (entry.upgrade(said(("upgrade", "h2,H2C"))), ["upgrade-passed"]),
        (entry.own_origin(BY_HEAD, "o"), []),
        (entry.own_origin(REFUSAL, "o"), ["own-origin-refused"]),
        (entry.without_cookie(said(("www-authenticate", "Basic"), status=401)), ["www-authenticate"]),
        (delivery.cursor(said(status=400)), []),
        (delivery.cursor(polled('{"events": [], "next": "5-0.a", "resets": [{"channel": "c"}]}')), []),
        (delivery.cursor(polled('{"events": [], "next": "5-0.a", "resets": []}')), ["cursor-stripped"]),
        (delivery.cursor(polled(": stream open")), ["cursor-stripped"]),
        (delivery.cursor(polled("[1]")), ["cursor-stripped"]),
        (delivery.cursor(polled('{"events": []}')), ["cursor-stripped"]),
        (entry.page_origin(REFUSAL, "https://p"), ["page-refused"]),
        (entry.page_origin(said(("access-control-allow-origin", "*")), "https://p"), ["page-refused"]),
        (
            entry.page_origin(
                said(
                    ("access-control-allow-origin", "https://p"), ("access-control-allow-credentials", "true")
                ),
                "https://p",
            ),
            [],
        ),
    ],
)
def test_who_is_let_in(finding, expected):
    """What should be refused and is not, and the other way round."""
    assert codes(finding) == expected


@pytest.mark.parametrize(
    ("line", "https", "expected"),
    [
        ("session=x; Path=/; HttpOnly; Secure; SameSite=Lax", True, ""),
        ("session=x; Path=/events; httponly; SAMESITE=strict", False, ""),
        ("session=x; Path=/; HttpOnly; SameSite=Lax", True, "no Secure"),
        ("session=x; Path=/; Secure; SameSite=Lax", True, "no HttpOnly"),
        ("session=x; HttpOnly; Secure; SameSite=None", True, "SameSite=None"),
        ("session=x; HttpOnly; Secure", True, "SameSite=missing"),
        ("session=x; Path=/eve; HttpOnly; Secure; SameSite=Lax", True, "does not cover"),
    ],
)
def test_cookie_attributes(line, https, expected):
    """HttpOnly, Secure where there is TLS, SameSite, and a path that covers the stream."""
    replies = [said(), said(("set-cookie", "other=y"), ("set-cookie", line))]
    finding = entry.cookies(replies, "session", "/events/me", https=https)
    assert codes(finding) == (["cookie-attributes"] if expected else [])
    assert expected in finding.seen


def test_a_cookie_that_nobody_set():
    """Is not checked."""
    assert entry.cookies([said()], "session", "/", https=True).level is Level.UNKNOWN


@pytest.mark.parametrize(
    ("refused", "other", "level"),
    [
        (answer(429, [JSON]), answer(429, [JSON]), Level.OK),
        (answer(429, [JSON]), answer(401, [JSON]), Level.FAILURE),
        (answer(429, [HTML]), answer(401, [JSON]), Level.UNKNOWN),
        (None, None, Level.UNKNOWN),
    ],
)
def test_spoofing(refused, other, level):
    """Only the app's own limit tells whose address it counts."""
    assert entry.spoofing(300, refused, other).level is level
