"""The gate: what it asks in which order, and what it says then."""

import pytest
from limits.aio.storage import MemoryStorage

from parts.gates import AUTH, COOKIE, NOW, Books, admit, asking, make
from sse_edge.admission.address import TrustedProxies
from sse_edge.admission.cookies import Anonymous
from sse_edge.admission.gate import Admission
from sse_edge.admission.limits import Limits
from sse_edge.admission.origin import OriginPolicy
from sse_edge.admission.routes import Routes
from sse_edge.asgi import Request
from sse_edge.backends.base import Attempt
from sse_edge.event import NOWHERE, EventId, Place
from sse_edge.identity import Identity

FIVE, SIX = Place(EventId(5, 1), "abcde"), Place(EventId(6, 1), "abcde")


class Windows(MemoryStorage):
    """Where attempts are counted, by whoever holds one."""

    def attempt(self, key, limit, expiry):
        """See ``RedisWindows``."""
        return Attempt(key, limit, 1000 * expiry)


class Turnstile(Books):
    """Books that count attempts besides."""

    degraded = False

    async def start(self):
        """Nothing to begin."""

    close = start

    def __init__(self, windows, full=None):
        super().__init__(full)
        self.windows = windows

    async def enter(self, attempt, caps):
        """See ``Turnstile``."""
        key, limit, length = attempt
        if not await self.windows.acquire_sliding_window_entry(key, limit, length // 1000):
            return await self.windows.get_sliding_window(key, length // 1000)
        return await self.acquire(caps)


async def test_admission():
    """Who is admitted gets identity, channels, cursor, address and the leases that are held."""
    books = Books()
    gate = make(books, limits=Limits(per_user=6, per_ip=50))
    assert await admit(gate, asking("/events/me", ("last-event-id", str(FIVE)))) == Admission(
        identity=Identity("u42", ("signed.*",), "s", NOW + 86400),
        channels=("user:u42", "news"),
        cursor=FIVE,
        address="192.0.2.1",
        caps=[("user:u42", 6), ("ip:192.0.2.1", 50)],
    )
    assert books.asked == [[("user:u42", 6), ("ip:192.0.2.1", 50)]]


# What would be refused at each step, in the documented order.  A request that is wrong at several steps
# gets the first one's answer.
STEPS = [
    ("method", {"method": "POST"}),
    ("bad-request", {"headers": [("content-length", "5")]}),
    ("not-found", {"path": "/events/a/b/c/d"}),
    ("origin", {"headers": [("origin", "https://evil.net")]}),
    ("draining", {"draining": True}),
    ("worker-full", {"streams": 7}),
    ("connect-rate", {"peer": "192.0.2.99"}),
    ("unauthenticated", {"cookie": "junk"}),
    ("forbidden", {"path": "/events/secret"}),
    ("user-limit", {"full": "user:u42"}),
]


@pytest.mark.parametrize("together", [False, True], ids=["each", "together"])
@pytest.mark.parametrize("first", range(len(STEPS)), ids=[code for code, _ in STEPS])
async def test_order(first, together):
    """Of all that is wrong with a request the earliest step answers, and only the last one takes a slot."""
    faults = {}
    headers = []
    for _, fault in reversed(STEPS[first:]):
        headers += fault.get("headers", [])
        faults.update(fault)
    windows = Windows() if together else None
    books = Turnstile(windows, faults.get("full")) if together else Books(faults.get("full"))
    gate = make(books, windows=windows, limits=Limits(per_worker=7, connects_per_ip="1/hour"))
    assert gate.rate.has_turnstile is together
    assert isinstance(await admit(gate, asking(peer="192.0.2.99")), Admission) is (books.full is None)
    books.asked.clear()
    request = asking(
        faults.get("path", "/events/me"),
        *headers,
        method=faults.get("method", "GET"),
        cookie=faults.get("cookie", COOKIE),
        peer=faults.get("peer", "192.0.2.1"),
    )
    verdict = await admit(
        gate, request, streams=faults.get("streams", 0), draining=faults.get("draining", False)
    )
    assert verdict.code == STEPS[first][0]
    assert len(books.asked) == (verdict.code == "user-limit")


async def test_refused_before_the_rate_does_not_count():
    """What is refused by something cheaper uses up nothing of the connect rate."""
    gate = make(limits=Limits(connects_per_ip="1/hour"))
    for request in [
        asking(method="POST"),
        asking("/nowhere"),
        asking("/events/me", ("origin", "null")),
        asking(method="OPTIONS"),
    ]:
        await admit(gate, request)
    assert isinstance(await admit(gate, asking()), Admission)
    assert (await admit(gate, asking())).code == "connect-rate"


@pytest.mark.parametrize("rate", ["1/second", "1/hour"])
async def test_connect_rate_says_when(rate):
    """The rate's refusal says how long to wait, never less than a second."""
    gate = make(limits=Limits(connects_per_ip=rate))
    await admit(gate, asking())
    refusal = await admit(gate, asking())
    assert (refusal.code, refusal.status) == ("connect-rate", 429)
    assert 1.0 <= refusal.retry_after <= 3600


async def test_address_and_scheme_behind_a_proxy():
    """Behind a trusted proxy the client's own address is counted and its scheme makes its own origin."""
    gate = make(proxies=TrustedProxies(["127.0.0.1"]))
    request = asking(
        "/events/me",
        ("x-forwarded-for", "198.51.100.7"),
        ("x-forwarded-proto", "https"),
        ("origin", "https://app.example.com"),
        peer="127.0.0.1",
    )
    assert (await admit(gate, request)).address == "198.51.100.7"
    assert (b"access-control-allow-origin", b"https://app.example.com") in gate.headers(request)


@pytest.mark.parametrize(
    ("settings", "host", "code"),
    [
        ({}, "evil.example:8000", "origin"),
        ({}, "localhost:8000", None),
        ({}, "app.example.com", None),
        ({"proxies": TrustedProxies(["127.0.0.1"])}, "app.example.com:8000", None),
        ({"proxies": TrustedProxies(["127.0.0.2", "unix"])}, "app.example.com:8000", "origin"),
        ({"origin": OriginPolicy(hosts=["app.test"])}, "app.test:8000", None),
        ({"origin": OriginPolicy(hosts=["app.test"])}, "localhost:8000", "origin"),
        ({"auth": AUTH}, "evil.example:8000", "unauthenticated"),
    ],
)
async def test_a_page_that_was_given_this_machines_address(settings, host, code):
    """Where nobody needs a cookie a rebound Host is refused, unless hosts or a proxy vouch for it."""
    gate = make(**{"auth": Anonymous(), "routes": Routes("/events", {"/events/me": "news"}), **settings})
    asked = Request("GET", "/events/me", ((b"host", host.encode()),), peer="127.0.0.1", server=("::1", 8000))
    verdict = await admit(gate, asked)
    assert (None if isinstance(verdict, Admission) else verdict.code) == code


async def test_repeated_host_gives_no_own_origin():
    """Of two Host headers none makes an origin the request's own."""
    request = asking("/events/me", ("host", "evil.net"), ("origin", "http://app.example.com"))
    assert (await admit(make(), request)).code == "origin"


@pytest.mark.parametrize(
    "headers", [[], [("origin", "http://app.example.com"), ("access-control-request-method", "GET")]]
)
async def test_options(headers):
    """OPTIONS, preflight or not, is answered without a cookie and takes nothing, even of a full worker."""
    books = Books()
    gate = make(books, limits=Limits(per_worker=1))
    request = asking("/events/me", *headers, method="OPTIONS", cookie=None)
    assert await admit(gate, request, streams=1, draining=True) is None
    assert books.asked == []


async def test_preflight_of_a_foreign_origin():
    """A preflight from a page that may not read streams is refused, without CORS headers."""
    gate = make()
    request = asking("/events/me", ("origin", "https://evil.net"), method="OPTIONS", cookie=None)
    assert (await admit(gate, request)).code == "origin"
    assert gate.headers(request) == [(b"vary", b"Origin")]


@pytest.mark.parametrize(
    ("header", "query", "settings", "expected"),
    [
        (None, "", {}, None),
        ("5-1.abcde", "", {}, FIVE),
        ("x" * 60_000, "", {}, NOWHERE),
        (None, "lastEventId=5-1.abcde", {}, FIVE),
        (None, "lastEventId=5-1.abcde", {"query_cursor": False}, NOWHERE),
        (None, "poll&lastEventId=5-1.abcde", {"query_cursor": False}, FIVE),
        ("6-1.abcde", "lastEventId=5-1.abcde", {"query_cursor": False}, SIX),
    ],
)
async def test_cursor(header, query, settings, expected):
    """The cursor comes from the header, or else from the query; see test_cursor.py."""
    named = [] if header is None else [("last-event-id", header)]
    request = asking("/events/me", *named, query_string=query.encode())
    assert (await admit(make(**settings), request)).cursor == expected
