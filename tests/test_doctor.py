"""What the doctor makes of observations: tables."""

import gzip

import pytest

from sse_edge.backends.redis.inspection import RedisState
from sse_edge.delivery.compression import HEAD, Gzip, block
from sse_edge.doctor.catalogue import FAULTS
from sse_edge.doctor.fault import Level
from sse_edge.doctor.finding import found, ok, unknown, worst
from sse_edge.doctor.judgement import away, delivery, entry, machine, opening, redis
from sse_edge.doctor.machine import Machine
from sse_edge.doctor.target import Target
from sse_edge.doctor.wire import Answer, End, Heard, heard
from sse_edge.errors import ConfigError
from sse_edge.identity import Identity

STREAM = ("content-type", "text/event-stream")
GREETING = b": stream open\nretry: 3000\n"
GOODBYE = b'event: edge-close\ndata: {"reason": "drain"}\nretry: 2000\n\n'
MIB = 1 << 20


def answer(status=200, headers=(STREAM,), body=((0.1, GREETING),), end=End.OPEN, end_at=0.0, head_at=0.1):
    """An answer as it was seen."""
    return Answer(status, list(headers), head_at, list(body), end, end_at)


def said(*pairs, status=200):
    """An answer with these headers."""
    return answer(status, [STREAM, *pairs])


def codes(findings):
    """The faults among findings, or of one."""
    return [each.code for each in (findings if isinstance(findings, list) else [findings]) if each.code]


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


HTML = ("content-type", "text/html")
JSON = ("content-type", "application/json")
EMPTY = answer(body=[(0.1, b"retry: 3000\n\n")], end=End.CLEAN)
REFUSED = answer(body=[(0.1, b"event: edge-refused\ndata: {}\n\n")], end=End.CLEAN)


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


NOSNIFF = ("x-content-type-options", "nosniff")
BY_HEAD = answer(200, [STREAM, NOSNIFF], [])
REFUSAL = answer(403, [JSON], [(0.1, b'{"error": "origin", "detail": "..."}')], End.CLEAN)
REFUSAL_BY_HEAD = answer(403, [JSON, NOSNIFF], [], End.CLEAN)
NO_COOKIE = answer(401, [JSON], [(0.1, b'{"error": "unauthenticated"}')], End.CLEAN)
HUNG_UP = answer(0, [], [], End.CUT, head_at=None)
PAGE = [(0.1, b"<html>")]
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


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Redis: invalid username-password pair or user is disabled.", "redis-password"),
        ("Redis: Authentication required.", "redis-password"),
        ("Redis: this user has no permissions to run the 'publish' command", "redis-denied"),
        ("Redis: Error 111 connecting to 127.0.0.1:1.", "redis-away"),
        ("Redis: no answer in time", "redis-away"),
    ],
)
def test_a_redis_that_does_not(said, expected):
    """Is not there, does not know who asks, or does not let them: in its own words."""
    finding = redis.unanswered("redis", said)
    assert finding.code == expected
    assert finding.seen.startswith(said)
    assert ("rediss://" in finding.seen) is ("in time" in said)


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


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Machine((20_000,), 28_232, 4096, 4096), []),
        (Machine((10_000, 10_000), 64_512, 65_535, 512), []),
        (Machine((1024, 1024), 28_232, 4096, 4096), ["few-files"]),
        (Machine((20_000,), 10_000, 4096, 4096), ["few-ports"]),
        (Machine((20_000,), 28_232, 128, 4096), ["short-backlog"]),
        (Machine((20_000,), 28_232, 4096, 128), ["short-backlog"]),
        (Machine(), []),
    ],
)
def test_the_machine(seen, expected):
    """Room for 10,000 streams: two files each, ports, and a backlog for when all come back."""
    assert codes(machine.room(seen, 10_000)) == expected


CONFIG = {
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    "appendonly": "no",
    "appendfsync": "everysec",
}


@pytest.mark.parametrize(
    ("info", "config", "durable", "expected"),
    [
        ({"redis_version": "7.0.15"}, {}, False, []),
        ({"redis_version": "8.2.1"}, {}, False, []),
        ({"redis_version": "6.2.14"}, {}, False, ["redis-old"]),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, {}, False, []),
        ({"rdb_last_bgsave_status": "err"}, {}, False, ["redis-not-writing"]),
        ({"aof_last_write_status": "err"}, {}, False, ["redis-not-writing"]),
        ({}, {"maxmemory": "1", "maxmemory-policy": "allkeys-lru"}, False, ["redis-evicts"]),
        ({}, {"maxmemory": "1", "maxmemory-policy": "volatile-ttl"}, False, ["redis-evicts"]),
        ({}, {"maxmemory-policy": "allkeys-lru"}, False, []),
        ({}, {"maxmemory": "1"}, False, []),
        ({}, {"client-output-buffer-limit": "pubsub 65536 0 0"}, False, ["redis-buffer"]),
        ({}, {"client-output-buffer-limit": f"pubsub {32 * MIB} 100 60"}, False, ["redis-buffer"]),
        ({}, {"client-output-buffer-limit": "pubsub 0 0 0"}, False, []),
        ({}, {}, True, ["redis-not-durable"]),
        ({}, {"appendonly": "yes"}, True, ["redis-not-durable"]),
        ({}, {"appendonly": "yes", "appendfsync": "always"}, True, []),
    ],
)
def test_redis(info, config, durable, expected):
    """Version, eviction, output buffer, and what a restart costs against what is promised."""
    assert codes(redis.server(RedisState(info, {**CONFIG, **config}), durable=durable)) == expected


def test_permissions_that_are_missing():
    """Every command that is denied is named."""
    findings = redis.server(RedisState({}, denied=("XADD sse:history:*", "HSET sse:clock")), durable=False)
    assert [(finding.code, finding.seen) for finding in findings if finding.code] == [
        ("redis-denied", "XADD sse:history:*, HSET sse:clock")
    ]
    findings = redis.server(RedisState({}, denied_limits=("ZADD sse:revoked",)), durable=False)
    assert [finding.code for finding in findings if finding.code] == ["redis-denied-limits"]


def test_a_redis_that_does_not_tell_its_settings():
    """Is judged by what it tells."""
    findings = redis.server(RedisState({"redis_version": "7.0.0"}), durable=True)
    assert [finding.level for finding in findings] == [Level.OK, Level.OK, Level.UNKNOWN]


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


def test_a_400_is_the_app():
    """Of a source's stream, and of an edge of before: the id has reached it."""
    assert delivery.cursor(said(status=400)).seen == "Last-Event-ID reaches the app"
