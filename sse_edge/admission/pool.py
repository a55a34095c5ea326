"""Threads for the application's own sync functions: a few, so that one that waits holds up no other."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from ..logline import about

log = logging.getLogger("sse_edge")
THREADS = 16
"""Threads of a process at most: as many queries at a time, and connections to a database."""

PATIENCE = 1.0
"""Seconds that a call waits for a thread before the log says so."""

QUIET = 60.0
"""Seconds after which it may say so again."""


class _Job(NamedTuple):
    future: Future[Any]
    call: Callable[[], Any]
    since: float


class Pool(Executor):
    """Runs each call in a thread that does nothing else; where all ``most`` are busy it waits for one.

    Threads are made when they are needed, and stay.  Unlike those of ThreadPoolExecutor they are daemons: a
    query that hangs does not keep the process from ending.
    """

    def __init__(self, most: int = THREADS) -> None:
        self.most = most
        self.clear()

    def clear(self) -> None:
        """Begin anew, without threads: a forked child has none of its parent's."""
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._threads = self._free = 0
        self._doing: Counter[str] = Counter()
        self._told = float("-inf")

    @property
    def is_full(self) -> bool:
        """Whether another call would have to wait."""
        return self._threads >= self.most and self._free <= len(self._jobs)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See concurrent.futures.  Raises RuntimeError where not even one thread can be made."""
        job = _Job(Future(), partial(fn, *args, **kwargs), time.monotonic())
        with self._changed:
            self._jobs.append(job)
            if len(self._jobs) <= self._free:
                self._changed.notify()
            elif self._threads < self.most:
                self._begin()
            else:
                self._tell()
        return job.future

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """In a thread of its own: what it is busy with, for the log."""
        with self._changed:
            self._doing[what] += 1
        try:
            yield
        finally:
            with self._changed:
                self._doing[what] -= 1

    def _begin(self) -> None:
        name = f"sse_edge-sync-{self._threads + 1}"
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:  # no more threads here: the others get to it
            if not self._threads:
                self._jobs.pop()
                raise
        else:
            self._threads += 1
            self._free += 1

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    self._changed.wait()
                job = self._jobs.popleft()
                self._free -= 1
            answer = _answer(job)
            with self._changed:
                self._free += 1  # before who waits goes on, and comes back for another
            if answer is not None:
                answer()
            del job, answer  # else what they hold would live until the next one

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._jobs[0].since >= PATIENCE and now - self._told >= QUIET:
            self._told = now
            doing = ", ".join(f"{what} {number}" for what, number in self._doing.most_common() if number)
            log.warning(
                "all %d threads that sync functions run in are busy (%s), and %d calls wait for one: "
                "give your database a statement time-out",
                self.most,
                doing,
                len(self._jobs),
                extra=about("threads-busy", threads=self.most, count=len(self._jobs), detail=doing),
            )


def _answer(job: _Job) -> Callable[[], None] | None:
    """Does it; what tells who waits, unless nobody does any more."""
    if not job.future.set_running_or_notify_cancel():
        return None
    try:
        return partial(job.future.set_result, job.call())
    except BaseException as error:  # noqa: BLE001 - told to who waits
        return partial(job.future.set_exception, error)


@contextmanager
def database() -> Iterator[None]:
    """Around a call in a thread of ours, where Django is used: without connections that were lost, or are
    older than ``CONN_MAX_AGE``, as Django sees to it around each request."""
    renew()
    try:
        yield
    finally:
        renew()


def renew() -> None:
    """Close this thread's connections to Django's databases that are too old, or broken."""
    database, conf = sys.modules.get("django.db"), sys.modules.get("django.conf")
    if database is not None and conf is not None and conf.settings.configured:
        database.close_old_connections()


POOL = Pool()
"""All edges of a process have it together."""

if hasattr(os, "register_at_fork"):  # else there are no forks
    os.register_at_fork(after_in_child=POOL.clear)
