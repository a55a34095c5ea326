"""Threads for sync functions: how many, which, and what becomes of one that hangs."""

import asyncio
import contextvars
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync

from sse_edge import Anonymous, Limits, MemoryBackend, SSEMiddleware
from sse_edge.admission import pool as pool_module
from sse_edge.admission.callback import AnswerTimeoutError, callback
from sse_edge.admission.pool import POOL, THREADS, Pool
from sse_edge.testing import client


@pytest.fixture
def pool(monkeypatch):
    """A pool of two that is everybody's, for one test."""
    made = Pool(2)
    monkeypatch.setattr("sse_edge.admission.callback.POOL", made)
    return made


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_one_that_waits_holds_up_no_other():
    """As many as there are threads are asked at the same time, and those who come later when one is free."""
    free, barrier = threading.Event(), threading.Barrier(THREADS - 1)
    stuck = asyncio.create_task(callback("authorize", lambda: free.wait(30))())
    try:
        for _ in range(3):  # each waits for all others
            await asyncio.gather(
                *[callback("greeting", lambda: barrier.wait(10))() for _ in range(THREADS - 1)]
            )
        assert not stuck.done()
    finally:
        free.set()
    assert await stuck
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("sse_edge-sync")]
    assert len(threads) <= THREADS
    assert all(thread.daemon for thread in threads)


async def test_another_edge_and_another_channel_are_let_in():
    """While an authorize hangs for one channel, the others of the process have their streams."""
    free = threading.Event()
    limits = Limits(per_user=None, per_ip=None)

    def may(identity, channel):
        return free.wait(30) if channel == "x:stuck" else True

    def edge(authorize):
        auth, paths = Anonymous(), {"/events/{n}": "x:{n}"}
        return SSEMiddleware(
            backend=MemoryBackend(),
            auth=auth,
            hosts=["localhost"],
            authorize=authorize,
            channels=paths,
            limits=limits,
        )

    async with client(edge(may)) as one, client(edge(lambda identity, channel: True)) as other:
        stuck = asyncio.create_task(one.get("/events/stuck?poll=0"))
        await until(lambda: POOL._doing["authorize"] == 1)
        try:
            async with asyncio.timeout(10):
                assert [(await each.get("/events/1?poll=0")).status for each in (one, other)] == [200, 200]
        finally:
            free.set()
            await stuck


async def test_when_all_are_busy(pool, monkeypatch, caplog):
    """A call waits for a thread, the log says once what they do, and who waits too long is told why."""
    monkeypatch.setattr(pool_module, "PATIENCE", 0.0)
    monkeypatch.setattr("sse_edge.admission.callback.ANSWER", 0.3)
    free = threading.Event()
    ask, other = callback("authorize", lambda: free.wait(30)), callback("greeting", lambda: 1)
    stuck = [asyncio.create_task(ask()) for _ in range(2)]
    await until(lambda: pool._doing["authorize"] == 2)
    why = "no answer within 0.3 s, all 2 threads are busy"
    for end in await asyncio.gather(*[other() for _ in range(5)], return_exceptions=True):
        assert isinstance(end, AnswerTimeoutError)
        assert str(end) == why
    free.set()
    await asyncio.gather(*stuck, return_exceptions=True)
    assert await other() == 1
    said = [
        record for record in caplog.records if "threads that sync functions run in are busy" in record.msg
    ]
    assert [record.levelno for record in said] == [logging.WARNING]
    assert "all 2 threads" in said[0].getMessage()
    assert "(authorize 2), and 1 calls wait" in said[0].getMessage()


async def test_who_is_gone_is_not_asked_for(pool):
    """A call whose client went away while it waited is left out."""
    free, asked = threading.Event(), []
    stuck = [asyncio.create_task(callback("f", lambda: free.wait(30))()) for _ in range(2)]
    await until(lambda: pool.is_full)
    gone = asyncio.create_task(callback("f", lambda: asked.append(1))())
    await until(lambda: pool._jobs)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    free.set()
    await asyncio.gather(*stuck)
    await callback("f", lambda: None)()
    assert asked == []


async def test_time_outs_are_a_line(monkeypatch, caplog):
    """A function that does not answer has no traceback, and of many only some have a line."""
    monkeypatch.setattr("sse_edge.admission.callback.ANSWER", 0.02)

    async def hangs(identity, channel):
        await asyncio.Event().wait()

    edge = SSEMiddleware(
        backend=MemoryBackend(),
        auth=Anonymous(),
        hosts=["localhost"],
        authorize=hangs,
        channels={"/events/{n}": "x:{n}"},
        limits=Limits(connects_per_ip=None),
    )
    async with client(edge) as c:
        assert {(await c.get(f"/events/{n}?poll=0")).status for n in range(12)} == {503}
    assert not any(record.exc_info for record in caplog.records)
    said = [line for line in caplog.messages if line.startswith("authorize failed")]
    assert said[0] == "authorize failed, user=- channel=x:0: AnswerTimeoutError: no answer within 0.02 s"
    assert said[5:] == ["authorize failed, 7 more times in 0 s"]


async def test_an_errors_own_time_out_is_told_as_any_other(caplog):
    """TimeoutError out of an application's function is its own."""

    def fails():
        raise TimeoutError("the database's")

    with pytest.raises(TimeoutError) as caught:
        await callback("field", fails)()
    assert type(caught.value) is TimeoutError


VARIABLE = contextvars.ContextVar("variable", default="none")


async def test_context_variables_come_along():
    """What is set for a request is there in the thread."""
    VARIABLE.set("mine")
    assert await callback("field", VARIABLE.get)() == "mine"


async def test_an_async_function_in_it_runs_on_the_loop():
    """As ever: async_to_sync in a sync function comes back to the event loop that waits for it."""

    async def where():
        return threading.get_ident(), await callback("field", threading.get_ident)()

    loop, inner = await callback("field", async_to_sync(where).__call__)()
    assert loop == threading.get_ident()
    assert inner != loop


def test_who_waits_for_the_loop_is_asked_there():
    """Below async_to_sync, as in Django's TestCase, a function runs in the test's own thread."""

    async def inner():
        return await callback("field", threading.get_ident)()

    async def nested():
        return await asyncio.create_task(inner())

    assert async_to_sync(nested)() == threading.get_ident()


async def test_a_context_with_a_thread_of_its_own():
    """Within asgiref's ThreadSensitiveContext all run in its one thread."""
    async with ThreadSensitiveContext():
        threads = {await callback("field", threading.get_ident)() for _ in range(3)}
        both = await asyncio.gather(*[callback("field", threading.get_ident)() for _ in range(2)])
    assert len({*threads, *both}) == 1


def test_a_forked_child_has_threads_of_its_own():
    """None of its parent's are there, and it makes new ones."""
    POOL.submit(threading.get_ident).result(10)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, str(POOL.submit(lambda: 42).result(10)).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as told:
        assert told.read() == b"42"
    os.waitpid(child, 0)


def test_one_that_hangs_lets_the_process_end():
    """The interpreter does not wait for it."""
    code = """
        import asyncio, threading
        from sse_edge.admission.callback import callback
        async def main():
            task = asyncio.create_task(callback("f", lambda: threading.Event().wait(60))())
            await asyncio.sleep(0.1)
        asyncio.run(main())
    """
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=50)
    assert time.monotonic() - began < 40


DATABASE = """
    import asyncio, sys
    from django.conf import settings
    settings.configure(DATABASES={{"default": {{
        "ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1], "CONN_MAX_AGE": None}}}})
    import django; django.setup()
    from django.db import connection, transaction
    from django.db.backends.sqlite3.base import DatabaseWrapper
    from asgiref.sync import async_to_sync
    from sse_edge.admission.callback import callback
    def usable(self):
        try:
            return bool(self.connection.execute("select 1"))
        except Exception:
            return False
    DatabaseWrapper.is_usable = usable  # as PostgreSQL's and MySQL's
    asked = []
    def ask():
        with connection.cursor() as cursor:
            asked.append(1)
            if len(asked) == 2:
                connection.connection.close()  # the server has gone away
            return cursor.execute("select count(*) from t").fetchone()[0]
    ask = callback("authorize", ask)
    async def many():
        return [await asyncio.gather(ask(), return_exceptions=True) for _ in range(5)]
    {}
"""


def run(code, tmp_path):
    text = textwrap.dedent(DATABASE).format(textwrap.dedent(code))
    command = [sys.executable, "-c", text, str(tmp_path / "db.sqlite3")]
    return subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout.split("\n")


def test_a_lost_connection_costs_one_call(tmp_path):
    """After Django's connection to its database was lost the next call has a new one."""
    said = run(
        """
        with connection.cursor() as cursor:
            cursor.execute("create table t (x int)")
        for one, in asyncio.run(many()):
            print(one if isinstance(one, int) else type(one).__name__)
        """,
        tmp_path,
    )
    assert said[:5] == ["0", "ProgrammingError", "0", "0", "0"]


def test_a_transaction_of_the_callers_is_seen(tmp_path):
    """Below async_to_sync what the caller has not committed is there, and its connection stays as it is."""
    said = run(
        """
        asked += [1] * 5
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("create table t (x int)")
            cursor.execute("insert into t values (1)")
            mine = connection.connection
            print(async_to_sync(many)(), connection.connection is mine)
        """,
        tmp_path,
    )
    assert said[0] == "[[1], [1], [1], [1], [1]] True"


def test_settings_that_are_not_there_are_nobodys_fault():
    """Where Django is imported and not used a function runs as ever."""
    code = """
        import asyncio, django.db
        from sse_edge.admission.callback import callback
        assert asyncio.run(callback("f", lambda: 1)()) == 1
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=50)
