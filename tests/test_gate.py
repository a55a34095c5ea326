import asyncio
import logging
import threading
from functools import partial
from types import SimpleNamespace

import pytest
from limits.aio.storage import MemoryStorage

from sse_edge.admission import callback
from sse_edge.admission.address import TrustedProxies
from sse_edge.admission.cookies import Anonymous, SignedCookie
from sse_edge.admission.gate import Admission, Gate
from sse_edge.admission.limits import Limits
from sse_edge.admission.origin import OriginPolicy
from sse_edge.admission.routes import Routes
from sse_edge.asgi import Request
from sse_edge.backends.base import Attempt
from sse_edge.errors import BackendError, ConfigError
from sse_edge.event import NOWHERE, EventId, Place
from sse_edge.identity import Identity

NOW = 1_700_000_000.0
AUTH = SignedCookie("a secret of the tests")
COOKIE = AUTH.issue("u42", ["signed.*"], session="s", now=NOW)
FIVE, SIX = Place(EventId(5, 1), "abcde"), Place(EventId(6, 1), "abcde")
CHANNELS = {
    "/events/me": ["user:{user}", "news"],
    "/events/{name}": "{name}",
    "/events/two/{a}/{b}": ["{a}", "{b}"],
}


class Books:
    """Leases that write down what is taken, and say what they are told to."""

    def __init__(self, full=None, error=None):
        self.full = full
        self.error = error
        self.asked = []
        self.gate = None

    async def acquire(self, caps):
        self.asked.append(list(caps))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.full

    def release(self, subjects):
        raise AssertionError("the gate releases nothing")


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


def make(leases=None, **settings):
    """A gate with these settings, and nothing in the way otherwise."""
    auth = settings.pop("auth", AUTH)
    return Gate(
        auth=auth,
        routes=settings.pop("routes", None) or Routes("/events", CHANNELS, anonymous=auth.anonymous),
        origin=settings.pop("origin", OriginPolicy()),
        proxies=settings.pop("proxies", TrustedProxies()),
        limits=settings.pop("limits", Limits()),
        leases=leases or Books(),
        **settings,
    )


def asking(path="/events/me", *headers, method="GET", cookie=COOKIE, **fields):
    """A request that would be admitted, but for what is changed."""
    named = [("host", "app.example.com"), *headers]
    if cookie is not None:
        named.append(("cookie", f"session={cookie}"))
    raw = tuple((name.encode(), value.encode("latin-1")) for name, value in named)
    return Request(method, path, raw, peer=fields.pop("peer", "192.0.2.1"), **fields)


async def admit(gate, request, *, streams=0, draining=False):
    """The gate's answer."""
    return await gate.admit(request, NOW, streams=streams, draining=draining)


async def test_admission():
    """Who is admitted gets identity, channels, cursor, address and the leases that are held."""
    books = Books()
    gate = make(books, limits=Limits(per_user=6, per_ip=50))
    assert await admit(gate, asking("/events/me", ("last-event-id", str(FIVE)))) == Admission(
        identity=Identity("u42", ("signed.*",), "s", NOW + 86400),
        channels=("user:u42", "news"),
        cursor=FIVE,
        address="192.0.2.1",
        subjects=("user:u42", "ip:192.0.2.1"),
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


def yes(identity, channel):
    """An authorize that knows one user and one channel."""
    return identity.user == "u42" and channel == "granted"


async def yes_async(identity, channel):
    """The same, async."""
    await asyncio.sleep(0)
    return yes(identity, channel)


@pytest.mark.parametrize("authorize", [None, yes, yes_async])
@pytest.mark.parametrize(
    ("path", "admitted", "guarded"),
    [
        ("/events/me", "always", {}),
        ("/events/signed.7", "always", {}),
        ("/events/granted", "asked", {"granted": {"name": "granted"}}),
        ("/events/secret", "never", None),
        ("/events/two/signed.7/granted", "asked", {"granted": {"b": "granted"}}),
        ("/events/two/granted/secret", "never", None),
    ],
)
async def test_who_may_read(authorize, path, admitted, guarded):
    """A channel is read because it is open, or signed, or authorize says yes; otherwise nobody reads it."""
    books = Books()
    verdict = await admit(make(books, authorize=authorize), asking(path))
    if admitted == "always" or (admitted == "asked" and authorize is not None):
        assert verdict.guarded == guarded
    else:
        assert verdict.code == "forbidden"
        assert books.asked == []


@pytest.mark.parametrize(
    ("path", "cookie", "full", "code", "user"),
    [
        ("/events/me", COOKIE, "user:u42", "user-limit", "u42"),
        ("/events/me", COOKIE, "ip:192.0.2.1", "ip-limit", "u42"),
        ("/events/secret", COOKIE, None, "forbidden", "u42"),
        ("/events/two/a/\x01", COOKIE, None, "bad-request", "u42"),
        ("/events/me", "junk", None, "unauthenticated", None),
        ("/nothing", COOKIE, None, "not-found", None),
    ],
)
async def test_a_refusal_says_whose_it_is(path, cookie, full, code, user):
    """To the log, as soon as it is known; the client is told nothing of it."""
    refusal = await admit(make(Books(full=full)), asking(path, cookie=cookie))
    assert (refusal.code, refusal.user) == (code, user)
    assert b"u42" not in refusal.body()


async def test_forbidden_names_the_channel():
    """The refusal says which channel it was."""
    assert "'secret'" in (await admit(make(), asking("/events/two/signed.1/secret"))).detail


@pytest.mark.parametrize("answer", [False, None, 0, 0.0, "", [], ()])
async def test_authorize_must_say_yes(answer):
    """Anything that is not true is a no."""
    gate = make(authorize=lambda identity, channel: answer)
    assert (await admit(gate, asking("/events/granted"))).code == "forbidden"


@pytest.mark.parametrize("answer", [True, 1])
async def test_a_yes(answer):
    """A database may say true in its own way."""
    gate = make(authorize=lambda identity, channel: answer)
    assert isinstance(await admit(gate, asking("/events/granted")), Admission)


async def _no_generator():
    yield False


@pytest.mark.parametrize(
    "authorize",
    [
        lambda identity, channel: "no",
        lambda identity, channel: (False, "not yours"),
        lambda identity, channel: [False],
        lambda identity, channel: SimpleNamespace(status_code=403),
        lambda identity, channel: object(),
        lambda identity, channel: lambda: False,
        lambda identity, channel: float("nan"),
        lambda identity, channel: (yes for yes in [False]),
        lambda identity, channel: _no_generator(),
    ],
)
async def test_what_is_no_answer(authorize, caplog):
    """A response, a reason or a generator was not meant as a yes, though Python takes it for true."""
    books = Books()
    refusal = await admit(make(books, authorize=authorize), asking("/events/granted"))
    assert refusal.code == "backend-down"
    assert "authorize must return True or False, not " in caplog.text
    assert books.asked == []


async def test_authorize_is_cancelled(caplog):
    """A cancellation of the function's own is a failure like others; one of the request ends the request."""

    async def cancelled(identity, channel):
        raise asyncio.CancelledError

    assert (await admit(make(authorize=cancelled), asking("/events/granted"))).code == "backend-down"
    assert "authorize failed" in caplog.text


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_authorize_hangs(kind, monkeypatch, caplog):
    """An authorize that does not answer in time is no yes either, and the next request is not kept by it."""
    monkeypatch.setattr(callback, "ANSWER", 0.1)
    stuck = threading.Event()

    def hang(identity, channel):
        return stuck.wait(30)

    async def hang_async(identity, channel):
        await asyncio.Event().wait()

    gate = make(authorize=hang if kind == "sync" else hang_async)
    try:
        for _ in range(2):
            async with asyncio.timeout(10):
                assert (await admit(gate, asking("/events/granted"))).code == "backend-down"
    finally:
        stuck.set()
    assert "authorize failed" in caplog.text


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_authorize_fails_closed(kind, caplog):
    """An authorize that raises is no yes: it is logged with its traceback, and the client told to wait."""

    def fail(identity, channel):
        raise OSError("postgres://user:pw@db")

    async def fail_async(identity, channel):
        fail(identity, channel)

    books = Books()
    gate = make(books, authorize=fail if kind == "sync" else fail_async)
    refusal = await admit(gate, asking("/events/granted"))
    assert refusal.code == "backend-down"
    assert "could not decide" in refusal.detail
    assert "postgres" not in refusal.detail
    assert [(record.name, record.exc_info is not None) for record in caplog.records] == [("sse_edge", True)]
    assert books.asked == []


async def test_ask_again():
    """An open stream's guarded channels can be asked about again at any time."""
    allowed = {"granted"}
    gate = make(authorize=lambda identity, channel: channel in allowed)
    admission = await admit(gate, asking("/events/granted"))
    assert await gate.ask(admission.identity, admission.guarded) is None
    allowed.clear()
    assert (await gate.ask(admission.identity, admission.guarded)).code == "forbidden"


class Desk:
    """Knows whose orders are whose, and what it was asked."""

    def __init__(self):
        self.asked = []

    def by_values(self, identity, channel, values):
        """With the values."""
        self.asked.append((identity.user, channel, dict(values)))
        return True

    async def by_values_async(self, identity, channel, values):
        """The same, async."""
        return self.by_values(identity, channel, values)

    def __call__(self, identity, channel, values):
        """The same, as the object itself."""
        return self.by_values(identity, channel, values)

    def with_database(self, database, identity, channel, values):
        """The same, with something that was put in before."""
        return self.by_values(identity, channel, values)

    def by_default(self, identity, channel, values=None):
        """The same, for callers that have none."""
        return self.by_values(identity, channel, values)

    def by_name(self, identity, channel, database="default"):
        """Without: the third argument is something else."""
        return self.by_values(identity, channel, {"database": database})

    def by_anything(self, *args):
        """Whatever comes."""
        return self.by_values(*args, {"count": len(args)})


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda desk: desk.by_values, True),
        (lambda desk: desk.by_values_async, True),
        (lambda desk: desk, True),
        (lambda desk: partial(desk.with_database, "database"), True),
        (lambda desk: desk.by_default, True),
        (lambda desk: lambda identity, channel, /, values: desk.by_values(identity, channel, values), True),
        (lambda desk: desk.by_name, {"database": "default"}),
        (lambda desk: desk.by_anything, {"count": 2}),
        (lambda desk: lambda one, two: desk.by_values(one, two, {}), {}),
    ],
)
async def test_authorize_is_told_the_values(made, told):
    """An authorize with a third argument is told what each channel was made of, each time it is asked."""
    desk = Desk()
    channels = ["{shop}:order:{order}", "shop:{shop}", "user:{user}"]
    routes = Routes("/events", {"/events/{shop}/{order}": channels})
    gate = make(routes=routes, authorize=made(desk))
    admission = await admit(gate, asking("/events/s1/o7"))
    first = {"shop": "s1", "order": "o7"} if told is True else told
    second = {"shop": "s1"} if told is True else told
    expected = [("u42", "s1:order:o7", first), ("u42", "shop:s1", second)]
    assert desk.asked == expected
    assert await gate.ask(admission.identity, admission.guarded) is None
    assert desk.asked == expected * 2


async def test_values_of_a_function():
    """Channels that a function named were filled with nothing."""
    desk = Desk()
    routes = Routes("/events", {"/events/{id}": lambda request: ["x"]})
    await admit(make(routes=routes, authorize=desk), asking("/events/7"))
    assert desk.asked == [("u42", "x", {})]


@pytest.mark.parametrize(
    "authorize",
    [
        "yes",
        lambda: True,
        lambda identity: True,
        lambda identity, channel, values, more: True,
        lambda identity, channel, *, values: True,
    ],
)
def test_authorize_must_be_callable(authorize):
    """An authorize that cannot be asked is refused at construction."""
    with pytest.raises(ConfigError, match="authorize"):
        make(authorize=authorize)


class Badge:
    """An authenticator of the application's own."""

    anonymous = False

    def __init__(self, result):
        self.result = result

    def identify(self, request, now):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, "unauthenticated"),
        (Identity("u", expires=NOW), "unauthenticated"),
        (Identity("u", expires=NOW - 1), "unauthenticated"),
        (RuntimeError("boom"), "backend-down"),
        (True, "backend-down"),
        (False, "backend-down"),
        ("u42", "backend-down"),
        ({"user": "u42"}, "backend-down"),
        (Identity, "backend-down"),
        (SimpleNamespace(user="u42", channels=("*",), session=None, expires=None), "backend-down"),
    ],
)
async def test_other_authenticators(result, expected, caplog):
    """An authenticator's no, an expired identity, a crash and what is no identity all keep the client out."""
    books = Books()
    assert (await admit(make(books, auth=Badge(result)), asking())).code == expected
    assert books.asked == []
    assert [record.name for record in caplog.records] == ["sse_edge"] * (expected == "backend-down")


class Slow(Badge):
    """An authenticator that waits."""

    async def identify(self, request, now):
        await asyncio.sleep(0)
        return super().identify(request, now)


class Threaded(Badge):
    """An authenticator that asks a database."""

    blocking = True

    def identify(self, request, now):
        self.thread = threading.current_thread()
        return super().identify(request, now)


@pytest.mark.parametrize("kind", [Slow, Threaded])
@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Identity("u"), None),
        (None, "unauthenticated"),
        (Identity("u", expires=NOW), "unauthenticated"),
        (RuntimeError("boom"), "backend-down"),
        (True, "backend-down"),
    ],
)
async def test_authenticators_that_wait(kind, result, expected):
    """An identify that is async, or blocking, is waited for, off the event loop, and judged as any other."""
    books, auth = Books(), kind(result)
    verdict = await admit(make(books, auth=auth), asking("/events/me"))
    assert getattr(verdict, "code", None) == expected
    assert len(books.asked) == (expected is None)
    if kind is Threaded:
        assert auth.thread is not threading.main_thread()


async def test_an_authenticator_that_hangs(monkeypatch):
    """Who waits for it for too long is told to come back, and holds nothing."""

    class Hanging(Badge):
        async def identify(self, request, now):
            await asyncio.Event().wait()

    monkeypatch.setattr("sse_edge.admission.callback.ANSWER", 0.01)
    books = Books()
    assert (await admit(make(books, auth=Hanging(None)), asking())).code == "backend-down"
    assert books.asked == []


@pytest.mark.parametrize(
    ("auth", "limits", "asked"),
    [
        (AUTH, Limits(per_user=None), [[("ip:192.0.2.1", 100)]]),
        (AUTH, Limits(per_ip=None), [[("user:u42", 10)]]),
        (AUTH, Limits(per_user=None, per_ip=None), []),
        (Anonymous(["*"]), Limits(), [[("ip:192.0.2.1", 100)]]),
        (Anonymous(["*"]), Limits(per_ip=None), []),
    ],
)
async def test_subjects(auth, limits, asked):
    """Only limits that are on take leases, and nobody in particular is counted as no user."""
    books = Books()
    routes = Routes("/events", {"/events/me": "news"})
    admission = await admit(make(books, auth=auth, limits=limits, routes=routes), asking())
    assert books.asked == asked
    assert admission.subjects == tuple(subject for caps in asked for subject, _ in caps)


@pytest.mark.parametrize(
    ("books", "expected"),
    [
        (Books(full="user:u42"), "user-limit"),
        (Books(full="ip:192.0.2.1"), "ip-limit"),
        (Books(error=BackendError("away")), "backend-down"),
    ],
)
async def test_no_lease(books, expected):
    """A full user, a full address and an unreachable backend are told apart."""
    refusal = await admit(make(books), asking())
    assert refusal.code == expected
    assert refusal.retry_after > 0


async def test_head_holds_nothing():
    """HEAD goes through every check, but takes no lease."""
    books = Books(full="user:u42")
    gate = make(books)
    admission = await admit(gate, asking(method="HEAD"))
    assert (admission.subjects, books.asked) == ((), [])
    assert (await admit(gate, asking(method="HEAD", cookie=None))).code == "unauthenticated"
    assert (await admit(gate, asking("/events/secret", method="HEAD"))).code == "forbidden"


async def test_worker_limit_off():
    """Without a limit per worker any number of streams is fine."""
    gate = make(limits=Limits(per_worker=None))
    assert isinstance(await admit(gate, asking(), streams=10**6), Admission)


async def cancelled(task):
    """Let a task run into its wait, and cancel it there."""
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_in_acquire():
    """A client that goes while a lease is being taken ends there: the gate passes the cancellation on."""
    books = Books()
    books.gate = asyncio.Event()
    await cancelled(asyncio.create_task(admit(make(books), asking())))
    assert len(books.asked) == 1


@pytest.mark.parametrize("where", ["authorize", "channels"])
async def test_cancelled_before_acquire(where, caplog):
    """A client that goes while the application thinks takes no lease and is no error."""
    caplog.set_level(logging.DEBUG, "sse_edge")

    async def wait(*args):
        await asyncio.Event().wait()

    books = Books()
    if where == "authorize":
        gate, path = make(books, authorize=wait), "/events/granted"
    else:
        gate, path = make(books, routes=Routes("/events", wait)), "/events/x"
    await cancelled(asyncio.create_task(admit(gate, asking(path))))
    assert books.asked == []
    assert caplog.records == []


async def test_functions_of_the_request():
    """A channels function sees the identity and the path's values, and its channels have to be readable."""
    routes = Routes(
        "/events", {"/events/{id}": lambda request: [f"{request.identity.user}:{request.params['id']}"]}
    )
    seen = []
    gate = make(routes=routes, authorize=lambda identity, channel: seen.append(channel) or True)
    assert (await admit(gate, asking("/events/7"))).channels == ("u42:7",)
    assert seen == ["u42:7"]
    assert (await admit(make(routes=routes), asking("/events/7"))).code == "forbidden"
