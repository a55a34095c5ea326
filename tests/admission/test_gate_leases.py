"""The gate and what is held: for whom, how many, and not by who is gone."""

import asyncio
import logging

import pytest

from parts.gates import AUTH, Books, admit, asking, make
from sse_edge.admission.cookies import Anonymous
from sse_edge.admission.gate import Admission
from sse_edge.admission.limits import Limits
from sse_edge.admission.routes import Routes
from sse_edge.errors import BackendError


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
    assert admission.subjects == [subject for caps in asked for subject, _ in caps]


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
    assert (admission.subjects, books.asked) == ([], [])
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
