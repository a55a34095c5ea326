"""What the doctor makes of clocks, certificates, workers, and of how requests arrive: tables."""

import json
import ssl

import pytest

from sse_edge.backends.redis.inspection import RedisState
from sse_edge.doctor.fault import Level
from sse_edge.doctor.judgement import arrival, certificate, clock, entry, opening, redis, workers
from sse_edge.doctor.wire import Answer, End

LOCAL = "127.83.83.69"
TOLD = {
    "address": "192.0.2.7",
    "peer": "192.0.2.7",
    "forwarded": "",
    "scheme": "https",
    "http": "1.1",
    "pid": 7,
    "present": 0,
    "now": 1000.5,
}


def told(**more):
    """What the app says of a request."""
    return {**TOLD, **more}


def answer(status=200, headers=(), body=b"", end=End.OPEN, **more):
    """An answer as it was seen."""
    return Answer(status, list(headers), 0.1, [(0.1, body)] if body else [], end, **more)


@pytest.mark.parametrize(
    ("counted", "peer", "forwarded", "source", "expected"),
    [
        # What asked is what counts: with a proxy or without.
        ("192.0.2.7", "192.0.2.7", "", "192.0.2.7", Level.OK),
        ("192.0.2.7", "10.0.0.1", "192.0.2.7", "192.0.2.7", Level.OK),
        ("2001:db8:0:1::/64", "10.0.0.1", "2001:db8:0:1::5", "2001:db8:0:1::5", Level.OK),
        (LOCAL, "unix", LOCAL, LOCAL, Level.OK),
        # Behind a NAT it is another, of the Internet.
        ("93.184.216.34", "10.0.0.1", "93.184.216.34", "192.168.1.5", Level.OK),
        # A proxy is counted, and says for whom it asks.
        ("10.0.0.1", "10.0.0.1", "192.0.2.7", "192.0.2.7", "proxy-not-trusted"),
        ("10.0.0.1", "10.0.0.1", "93.184.216.34", "192.168.1.5", "proxy-not-trusted"),
        ("127.0.0.1", "127.0.0.1", LOCAL, LOCAL, "proxy-not-trusted"),
        ("unix", "unix", "192.0.2.7", "192.0.2.7", "proxy-not-trusted"),
        # One in front of one that is trusted.
        ("203.0.113.5", "10.0.0.1", "192.0.2.7, 203.0.113.5", "192.0.2.7", "proxy-not-trusted"),
        ("8.8.8.8", "10.0.0.1", "8.8.8.8", "93.184.216.34", "proxy-not-trusted"),
        # A proxy is counted, and says nothing.
        ("127.0.0.1", "127.0.0.1", "", LOCAL, "address-hidden"),
        ("127.0.0.1", "127.0.0.1", "", "192.168.1.5", "address-hidden"),
        ("unix", "unix", "", LOCAL, "address-hidden"),
        ("10.0.0.1", "10.0.0.1", "", "93.184.216.34", "address-hidden"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", LOCAL, "proxy-not-trusted"),
        # Whose it is cannot be told.
        ("172.17.0.1", "172.18.0.5", "172.17.0.1", LOCAL, Level.UNKNOWN),
        ("127.0.0.1", "127.0.0.1", "", "127.0.0.1", Level.UNKNOWN),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1", Level.UNKNOWN),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1, 10.9.9.9", "127.0.0.1", Level.UNKNOWN),
        ("::/64", "::1", "", "::1", Level.UNKNOWN),
        ("10.0.0.1", "10.0.0.1", "", "192.168.1.5", Level.UNKNOWN),
    ],
)
def test_the_address_that_is_counted(counted, peer, forwarded, source, expected):
    """It is that of whoever asked, as far as that can be seen from there."""
    finding = arrival.address(told(address=counted, peer=peer, forwarded=forwarded), source)
    assert (finding.code or finding.level) == expected
    assert counted in finding.seen


def test_what_the_app_does_not_tell():
    """It is said with what it would be told."""
    for finding in (arrival.address({}, "192.0.2.7"), arrival.http({}), arrival.leaving(None, {}, 3.0)):
        assert finding.level is Level.UNKNOWN
        assert "--secret" in finding.seen


@pytest.mark.parametrize(
    ("status", "signed", "expected"),
    [
        (200, False, "give --secret"),
        (200, True, "no user by this cookie"),
        (429, True, "status 429: so much may not be asked"),
    ],
)
def test_why_the_app_tells_nothing(status, signed, expected):
    """Who has given the secret is not told to give it."""
    why = arrival.untold(answer(status), signed=signed)
    assert expected in why
    for finding in (
        arrival.address({}, "192.0.2.7", why),
        arrival.http({}, why),
        arrival.leaving(None, {}, 3.0, why),
    ):
        assert finding.seen == why
    assert ("give --secret" in arrival.replay(answer(), answer(), signed=signed).seen) is not signed


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "[]",
        "1",
        '{"address": 7}',
        json.dumps({**TOLD, "now": "x"}),
        json.dumps({**TOLD, "pid": None}),
        json.dumps({**TOLD, "now": float("nan")}),
        json.dumps({**TOLD, "address": "x"}),
    ],
)
def test_what_is_no_arrival(value):
    """Somebody else's header of that name is none."""
    assert arrival.read(answer(headers=[("edge-arrival", value)])) == {}


@pytest.mark.parametrize(("other", "code"), [("b", ""), ("a", "cached")])
def test_what_a_cache_answers(other, code):
    """The same arrival twice is one that was kept."""
    seen = [answer(headers=[("edge-arrival", said)]) for said in ("a", other)]
    assert arrival.replay(*seen).code == code


@pytest.mark.parametrize(("version", "code"), [("1.0", "http10"), ("1.1", ""), ("2", ""), ("3", "")])
def test_http_towards_the_app(version, code):
    """Anything but HTTP/1.0."""
    assert arrival.http(told(http=version)).code == code


@pytest.mark.parametrize(
    ("left", "seconds", "expected"),
    [
        ({7: 0}, 0.3, Level.OK),
        ({7: 0, 8: 1}, 0.3, Level.OK),
        ({7: 0}, 14.0, "leaves-late"),
        ({7: 1}, 18.0, "client-stays"),
        ({8: 0}, 3.0, Level.UNKNOWN),
        ({}, 3.0, Level.UNKNOWN),
    ],
)
def test_who_leaves(left, seconds, expected):
    """Only the worker that had the stream can say that it is gone, and with a proxy that notices when it
    writes it takes until then.
    """
    finding = arrival.leaving(7, left, seconds)
    assert (finding.code or finding.level) == expected


@pytest.mark.parametrize(
    ("clocks", "expected"),
    [
        ({"Redis": (-0.1, 0.1), "the app": (0.0, 0.2)}, ""),
        ({"nginx": (-1.5, 2.4)}, ""),  # a Date has whole seconds
        ({"Redis": (4.0, 4.1)}, "Redis's clock is 4.0 s ahead of this machine's"),
        ({"Redis": (-4.1, -4.0)}, "Redis's clock is 4.0 s behind this machine's"),
        ({"Redis": (1.5, 1.6), "web-1": (-1.6, -1.5)}, "Redis's clock is 3.0 s ahead of web-1's"),
        ({"Redis": (0.0, 0.1), "a": (-3.0, -2.9), "b": (-9.0, -8.9)}, "Redis's clock is 8.9 s ahead of b's"),
    ],
)
def test_clocks(clocks, expected):
    """They may differ by two seconds, and it is said which two differ most."""
    finding = clock.compare(clocks)
    assert finding.code == ("clock-skew" if expected else "")
    assert expected in finding.seen


def test_what_a_date_says():
    """It has whole seconds, is made once a second, and took some time to come."""
    seen = answer(headers=[("date", "Thu, 01 Jan 1970 00:16:40 GMT")], asked=1000.0)
    low, high = clock.dated(seen)
    assert (round(low, 3), round(high, 3)) == (-0.1, 2.0)
    assert clock.dated(answer()) is None
    assert clock.dated(answer(headers=[("date", "tomorrow")])) is None


@pytest.mark.parametrize(
    ("ahead", "late"), [((-61.0, -60.5), True), ((-61.0, -59.0), False), ((60.0, 90.0), False)]
)
def test_a_clock_that_takes_a_cookie_for_one_from_the_future(ahead, late):
    """More than a minute behind, for certain."""
    assert clock.is_late(ahead) is late


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (ssl_code, code)
        for ssl_code, code in (
            (9, "certificate-early"),
            (10, "certificate-expired"),
            (62, "certificate-name"),
            (64, "certificate-name"),
            (18, "certificate-unknown"),
            (19, "certificate-unknown"),
            (20, "certificate-unknown"),
            (21, "certificate-unknown"),
            (23, "certificate-unknown"),
        )
    ],
)
def test_a_certificate_that_is_not_taken(number, code):
    """By OpenSSL's numbers; what is not known means that nobody vouches for it."""
    finding = certificate.refused(number, "words", "example.com")
    assert (finding.code, finding.seen) == (code, "for example.com: words")


@pytest.mark.parametrize(
    ("left_days", "code"), [(60.0, ""), (9.1, ""), (8.9, "certificate-ends"), (0.5, "certificate-ends")]
)
def test_how_long_a_certificate_is_good(left_days, code):
    """Of 90 days nine are left where nobody renews it."""
    known = {"notBefore": "Jan  1 00:00:00 2026 GMT", "notAfter": "Apr  1 00:00:00 2026 GMT"}
    now = ssl.cert_time_to_seconds(known["notAfter"]) - left_days * 86400
    assert certificate.life(known, now).code == code


def refusal(status, code, detail):
    """A refusal of the edge's."""
    body = json.dumps({"error": code, "detail": detail}).encode()
    return answer(status, [("content-type", "application/json")], body, End.CLEAN)


STREAM = [("content-type", "text/event-stream"), ("x-content-type-options", "nosniff")]


@pytest.mark.parametrize(
    ("seen", "late", "code"),
    [
        (refusal(403, "forbidden", "channel 'a' may not be read by this user"), False, "forbidden"),
        (refusal(403, "origin", "Host 'a' is not in hosts"), False, "host-refused"),
        (refusal(403, "origin", "no Host is not in hosts"), False, "host-refused"),
        (
            refusal(403, "origin", "Host 'a' is not localhost and no loopback address; …"),
            False,
            "host-refused",
        ),
        (refusal(403, "origin", "no Origin, and Sec-Fetch-Site is 'x'"), False, "no-stream"),
        (answer(421), False, "host-refused"),
        (refusal(401, "unauthenticated", "no valid session cookie or token"), False, "unauthenticated"),
        (refusal(401, "unauthenticated", "no valid session cookie or token"), True, "cookie-from-future"),
        (answer(200, STREAM, b": stream open\nretry: 3000\n"), False, ""),
        (answer(200, STREAM), False, ""),  # something holds it back
        (answer(200, STREAM[:1]), False, "not-an-edge"),
        (answer(200, STREAM, b"data: hello\n\n"), False, "not-an-edge"),
        (answer(200, STREAM[:1], b": ping - 2026\n\n"), False, "not-an-edge"),
        (answer(200, [*STREAM, ("content-encoding", "gzip")], b"\x1f\x8b"), False, ""),
    ],
)
def test_whose_answer_it_is(seen, late, code):
    """The edge's, which says why it refuses; a proxy's; another's."""
    findings = opening.answer(seen, 5, cookie=True, responsive=True, late=late)
    assert findings[0].code == code


@pytest.mark.parametrize(
    ("allowed", "code"),
    [("", ""), ("*", "cors-replaced"), ("https://foreign.invalid", "cors-replaced"), ("https://own", "")],
)
def test_who_may_read(allowed, code):
    """No page of another origin may read what the app refuses to it."""
    replies = [answer(), answer(403, [("access-control-allow-origin", allowed)] if allowed else [])]
    assert entry.cors(replies, "https://own").code == code


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, set()),
        ({"role": "slave", "master_host": "a"}, {"redis-replica"}),
        ({"role": "master", "evicted_keys": "0", "rejected_connections": "0"}, set()),
        ({"evicted_keys": "3"}, {"redis-evicted"}),
        ({"rejected_connections": "1"}, {"redis-rejects"}),
        ({"used_memory": "95", "maxmemory": "100"}, {"redis-full"}),
        ({"used_memory": "89", "maxmemory": "100"}, set()),
        ({"used_memory": "95", "maxmemory": "0"}, set()),
    ],
)
def test_what_redis_has_been_through(info, expected):
    """Evictions, connections that it turned away, and that it is full or a copy."""
    assert {each.code for each in redis.server(RedisState(info), durable=False) if each.code} == expected


WORKER = {"host": "web-1", "pid": 1, "version": "1.0", "server": "uvicorn 0.51.0", "path": "/events"}
SETTINGS = {
    "drain_window": 10.0,
    "grace": None,
    "keep_alive": 15.0,
    "max_duration": 1800.0,
    "history": 100,
    "history_ttl": 300.0,
    "limits": {"per_user": 10},
    "trusted_proxies": [],
    "app": "a",
    "warnings": [],
}


def report(worker=(), settings=(), figures=()):
    """A worker's, with some of it changed."""
    return {
        "worker": {**WORKER, **dict(worker)},
        "settings": {**SETTINGS, **dict(settings)},
        "figures": {"ready": 1, "connected": 1, "streams": 2, "degraded": {"leases": 0}, **dict(figures)},
    }


TWO = {"host": "web-2"}


@pytest.mark.parametrize(
    ("reports", "silent", "expected"),
    [
        ([], 0, {"no-worker": "none reports"}),
        ([], 2, {"versions-differ": "2 of 2 workers say nothing that can be read here"}),
        ([report(), report(TWO)], 0, {}),
        ([report()], 1, {"versions-differ": "1 of 2"}),
        (
            [report(), report({"version": "0.9"})],
            0,
            {"versions-differ": "0.9 in 1 worker, such as web-1 process 1"},
        ),
        (
            [report(), report(TWO, figures={"ready": 0})],
            0,
            {"worker-not-ready": "web-2 process 1 is about to stop"},
        ),
        (
            [report(figures={"ready": 0, "connected": 0})] * 3,
            0,
            {"worker-not-ready": "web-1 process 1 hears no events, and 2 more"},
        ),
        (
            [report(figures={"degraded": {"leases": 1, "writes": 1}})],
            0,
            {"worker-degraded": "leases, writes"},
        ),
        ([report(figures={"degraded": ["connect-rate"]})], 0, {"worker-degraded": "connect-rate"}),
        ([report(), report({"path": "/other"}, {"app": "b", "history": 7})], 0, {"two-apps": "at /other"}),
        ([report(), report(settings={"history": 7})], 0, {"history-differs": "history 7, history_ttl 300.0"}),
        ([report(), report(settings={"keep_alive": None})], 0, {"settings-differ": "keep_alive null"}),
        ([report(), report(settings={"limits": {"per_user": 5}})], 0, {"settings-differ": '"per_user": 5'}),
        ([report(settings={"grace": 5})], 0, {"short-grace": "waits 5 s, and drain_window is 10 s"}),
        ([report(settings={"grace": 10})], 0, {}),
        ([report(settings={"warnings": ["w"]})] * 2, 0, {"server-warns": "w"}),
    ],
)
def test_workers(reports, silent, expected):
    """What is wrong with one, and with all together."""
    found = {each.code: each.seen for each in workers.all_of(reports, silent) if each.code}
    assert found.keys() == expected.keys()
    assert all(says in found[code] for code, says in expected.items())


@pytest.mark.parametrize("warnings", [None, 5, {"a": 1}, "w"])
def test_reports_with_strange_settings(warnings):
    """They are another version's, perhaps: nothing fails by what it does not expect."""
    settings = {"grace": "soon", "drain_window": [], "warnings": warnings, "history": {"a": 1}}
    strange = report(settings=settings)
    del strange["settings"]["limits"]
    found = workers.all_of([strange, report()], 0)
    assert found
    assert "server-warns" not in {each.code for each in found}
