"""The gate and whoever says who asks: authenticators of others, also those that wait."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from parts.gates import NOW, Books, admit, asking, make
from sse_edge.identity import Identity


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
