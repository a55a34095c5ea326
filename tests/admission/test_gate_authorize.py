"""The gate and the application's ``authorize``: its answers, its time, and what it is told."""

import asyncio
import threading
from functools import partial
from types import SimpleNamespace

import pytest

from parts.gates import COOKIE, Books, admit, asking, make
from sse_edge.admission import callback
from sse_edge.admission.gate import Admission
from sse_edge.admission.routes import Routes
from sse_edge.errors import ConfigError


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
