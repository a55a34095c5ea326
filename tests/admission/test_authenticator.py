import asyncio
import threading
import time

import pytest

from sse_edge import Anonymous, AnyOf, ConfigError, Identity, SignedCookie, SSEMiddleware
from sse_edge.admission.authenticator import Scoped, is_quick, lets_anyone
from sse_edge.admission.revocations import session_life
from sse_edge.asgi import Request

NOW = 1_800_000_000.0
ONE, OTHER = (
    SignedCookie("one secret of the tests", name="one"),
    SignedCookie("another one of the tests", name="other", max_age=60),
)


class Of:
    """An authenticator of the application's own that always says the same."""

    def __init__(self, said):
        self.said = said

    def identify(self, request, now):
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


class Later(Of):
    async def identify(self, request, now):
        return super().identify(request, now)


class Threaded(Of):
    blocking = True


class Longer(SignedCookie):
    """One that asks more than its parent."""

    def identify(self, request, now):
        return super().identify(request, now)


def asking(*cookies):
    return Request("GET", "/events", tuple((b"cookie", cookie.encode()) for cookie in cookies))


class NotCallable:
    identify = "u42"


class NoArguments:
    def identify(self):
        return None


class OneArgument:
    async def identify(self, request):
        return None


class Odd(Of):
    anonymous = "yes"


class AsyncInThread(Later):
    blocking = True


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        (None, "auth"),
        ("secret", "auth"),
        (SignedCookie, "auth"),
        (Of, "auth"),
        (lambda request, now: None, "auth"),
        (NotCallable(), "auth"),
        (NoArguments(), "auth"),
        (OneArgument(), "auth"),
        (Odd(None), "auth.anonymous"),
        (AsyncInThread(None), "auth.blocking"),
    ],
)
def test_an_authenticator_that_cannot_work_is_refused_at_construction(auth, field):
    """What can identify nobody is no authenticator, alone or among others."""
    with pytest.raises(ConfigError) as caught:
        SSEMiddleware(auth=auth, channels={"/events/news": "news"})
    assert caught.value.field == field
    with pytest.raises(ConfigError):
        AnyOf(ONE, auth)


def test_a_class_is_called_one():
    """Whoever forgets the brackets is told so."""
    with pytest.raises(ConfigError, match=r"must be an object, SignedCookie\(…\), and not its class"):
        SSEMiddleware(auth=SignedCookie, channels={"/events/news": "news"})


def test_any_of_nothing():
    """Nobody would be let in."""
    with pytest.raises(ConfigError, match="at least"):
        AnyOf()


@pytest.mark.parametrize(
    ("said", "user"),
    [
        ([], None),
        (["one"], "a"),
        (["other"], "b"),
        (["other", "one"], "a"),
        (["expired", "other"], "b"),
        (["expired"], None),
    ],
)
def test_the_first_that_knows_has_said_it(said, user):
    """Authenticators are asked in their order, and an expired session is nobody's."""
    now = time.time()
    cookies = {
        "one": "one=" + ONE.issue("a"),
        "other": "other=" + OTHER.issue("b"),
        "expired": "one=" + ONE.issue("x", now=now - 90_000),
    }
    identity = AnyOf(ONE, OTHER).identify(asking(*(cookies[name] for name in said)), now)
    assert (identity and identity.user) == user


@pytest.mark.parametrize("kind", [Later, Threaded])
async def test_one_that_waits_makes_all_of_them_wait(kind):
    """Whichever of several waits, the answer is the same, and awaitable."""
    for each in ((ONE, kind(Identity("db"))), (kind(None), Of(Identity("db")))):
        assert (await AnyOf(*each).identify(asking(), NOW)).user == "db"
    assert await AnyOf(ONE, kind(Identity("db", expires=NOW))).identify(asking(), NOW) is None
    with pytest.raises(TypeError, match="must return an Identity"):
        await AnyOf(kind("u42")).identify(asking(), NOW)
    with pytest.raises(LookupError):
        await AnyOf(kind(LookupError("gone"))).identify(asking(), NOW)


@pytest.mark.parametrize(
    ("auth", "quick", "anyone", "anonymous"),
    [
        (ONE, True, False, False),
        (Anonymous(), True, True, True),
        (Of(None), False, False, False),
        (Later(None), False, False, False),
        (Longer("a secret of the tests"), False, False, False),
        (AnyOf(ONE, OTHER), True, False, False),
        (AnyOf(ONE, Anonymous()), True, True, False),
        (AnyOf(Anonymous()), True, True, True),
        (AnyOf(ONE, Of(None)), False, False, False),
        (AnyOf(ONE, AnyOf(Anonymous(), Later(None))), False, True, False),
    ],
)
def test_what_is_known_of_authenticators(auth, quick, anyone, anonymous):
    """Whether it may be asked before the rate is, whether it lets anyone in, and whether users have names."""
    assert (is_quick(auth), lets_anyone(auth), getattr(auth, "anonymous", False)) == (
        quick,
        anyone,
        anonymous,
    )


@pytest.mark.parametrize(
    ("auth", "life"),
    [
        (AnyOf(ONE, OTHER), session_life(ONE)),
        (AnyOf(OTHER, Anonymous()), session_life(OTHER)),
        (AnyOf(ONE, Of(None)), session_life(Of(None))),
    ],
)
def test_a_revocation_lasts_as_long_as_any_of_the_sessions(auth, life):
    """The longest life counts, and that of browsers' cookies where one does not say its own."""
    assert session_life(auth) == life


def test_identify_a_scope():
    """The application's own views learn who asks as the streams do, for requests and for WebSockets."""
    cookie = (b"cookie", b"other=" + OTHER.issue("b").encode())
    http = {"type": "http", "method": "POST", "path": "/x", "headers": [cookie]}
    websocket = {"type": "websocket", "path": "/x", "headers": [cookie]}
    for auth in (OTHER, AnyOf(ONE, OTHER)):
        assert auth.identify_scope(http).user == auth.identify_scope(websocket).user == "b"
        assert auth.identify_scope({**http, "headers": []}) is None
    assert Anonymous().identify_scope(http).user is None


class Slow(Scoped):
    """Asks a database, in a thread."""

    blocking = True

    def __init__(self, identity):
        self.identity = identity
        self.threads = []

    def identify(self, request, now):
        self.threads.append(threading.get_ident())
        return self.identity


class Told(Scoped):
    """Does not look async, and is."""

    def identify(self, request, now):
        return Later(Identity("db")).identify(request, now)


SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}
WAITING = [Slow(None), AnyOf(ONE, Slow(None)), AnyOf(ONE, AnyOf(Later(None))), Told()]


@pytest.mark.parametrize("auth", WAITING)
async def test_nobody_is_let_in_by_what_was_not_awaited(auth):
    """A view on the event loop is told how to ask what waits: it gets no coroutine, which is true, and does
    not stand still."""
    with pytest.raises(RuntimeError, match=r"await auth\.identify_scope_async\(scope\)"):
        auth.identify_scope(SCOPE)


@pytest.mark.parametrize("wrap", [lambda auth: auth, lambda auth: AnyOf(ONE, AnyOf(auth))])
async def test_a_scope_is_identified_by_what_waits(wrap):
    """Async views await it, and it takes a thread where it has to; sync ones have the answer at once."""
    gone = Identity("db", expires=1.0)
    slow = Slow(Identity("db"))
    assert (await wrap(slow).identify_scope_async(SCOPE)).user == "db"
    assert threading.get_ident() not in slow.threads
    for auth, user in ((slow, "db"), (Slow(None), None), (Slow(gone), None)):
        for identity in (
            await wrap(auth).identify_scope_async(SCOPE),
            await asyncio.to_thread(wrap(auth).identify_scope, SCOPE),
        ):
            assert (identity and identity.user) == user


async def test_a_scope_is_identified_by_what_is_async():
    """One of several may be, in sync views, too."""
    for auth in (AnyOf(ONE, Later(Identity("db"))), Told()):
        assert (await auth.identify_scope_async(SCOPE)).user == "db"
        assert (await asyncio.to_thread(auth.identify_scope, SCOPE)).user == "db"
    assert await ONE.identify_scope_async(SCOPE) is None


def test_no_answer_identifies_nobody():
    """What is true and no Identity lets nobody in."""
    with pytest.raises(TypeError, match="must return an Identity or None"):
        Slow("ann").identify_scope(SCOPE)


@pytest.mark.parametrize("auth", [ONE, AnyOf(Of(None), ONE), AnyOf(Anonymous(), ONE)])
def test_headers_that_sign_in(auth):
    """Tests sign a user in by the authenticator itself."""
    headers = auth.headers_for("u42", ["order:*"])
    identity = (
        auth.each[-1].identify(Request("GET", "/", tuple(headers)), time.time())
        if (isinstance(auth, AnyOf))
        else auth.identify(Request("GET", "/", tuple(headers)), time.time())
    )
    assert (identity.user, identity.channels) == ("u42", ("order:*",))


def test_nobody_can_be_signed_in_by_any():
    """Where none of them can, that is said."""
    with pytest.raises(ConfigError, match="can sign a user in"):
        AnyOf(Of(None), Anonymous()).headers_for("u42")
    assert Anonymous().headers_for("u42") == []
