"""Threads that are none: gevent's and eventlet's patching makes greenlets of them, all on one OS thread.

There an event loop of ours would be in everybody's way, because an OS thread can have but one running.  So
under gevent it runs on a thread of the operating system, and greenlets wait for it as greenlets do.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

from ...errors import ConfigError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def are_patched_in() -> bool:
    """Whether gevent has replaced threads.  Raises ConfigError where eventlet has."""
    eventlet: Any = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        why = "cannot wait under eventlet's patching: publish from a process without it, or use gevent"
        raise ConfigError("SyncPublisher", why, secret=True)
    gevent: Any = sys.modules.get("gevent.monkey")
    return gevent is not None and bool(gevent.is_module_patched("threading"))


def begin_loop() -> asyncio.AbstractEventLoop:
    """A new event loop that runs, until it is stopped, on a daemon thread of the operating system."""
    if not are_patched_in():
        loop = asyncio.new_event_loop()
        threading.Thread(target=_serve, args=(loop,), name="sse_edge-redis", daemon=True).start()
        return loop
    from gevent import monkey  # noqa: PLC0415 - it is there already

    loops: list[_GreenLoop] = []

    def serve(ring: Callable[[], None]) -> None:
        loop = _GreenLoop()
        loops.append(loop)
        loop.call_soon(ring)
        loop.serve()

    start_thread = monkey.get_original("_thread", "start_new_thread")
    _until_rung(lambda ring: start_thread(serve, (ring,)))
    return loops[0]


def end_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Stop a loop of ``begin_loop``."""
    if not isinstance(loop, _GreenLoop):
        loop.call_soon_threadsafe(loop.stop)
        return
    # Waited for: should the process end meanwhile, gevent's two hubs would end in each other's way.
    _until_rung(lambda ring: loop.call_soon_threadsafe(loop.stop_and, ring))


def wait(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """What comes of ``work`` on a loop of ``begin_loop``; other threads, or greenlets, go on meanwhile."""
    if not are_patched_in():
        return asyncio.run_coroutine_threadsafe(work, loop).result()
    tasks: list[asyncio.Task[T]] = []

    def begin(ring: Callable[[], None]) -> None:
        tasks.append(loop.create_task(work))
        tasks[0].add_done_callback(lambda _: ring())

    try:
        # Not with a Future: its locks are gevent's as well, made for greenlets and not for two threads.
        _until_rung(lambda ring: loop.call_soon_threadsafe(begin, ring))
    except BaseException:  # this greenlet was killed
        loop.call_soon_threadsafe(lambda: tasks[0].cancel())  # noqa: PLW0108 - not there before that
        raise
    return tasks[0].result()


class _GreenLoop(asyncio.SelectorEventLoop):
    """To be made on the thread it runs on, which has greenlets of its own."""

    def __init__(self) -> None:
        from gevent.selectors import GeventSelector  # noqa: PLC0415

        super().__init__(GeventSelector())
        self._farewell: Callable[[], None] | None = None

    def serve(self) -> None:
        """Run until stopped, and end the thread's greenlets."""
        from gevent import get_hub  # noqa: PLC0415

        _serve(self)
        get_hub().destroy(destroy_loop=True)
        if self._farewell is not None:
            self._farewell()

    def stop_and(self, ring: Callable[[], None]) -> None:
        """Stop, and call ``ring`` when all has ended."""
        self._farewell = ring
        self.stop()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """In a greenlet: the executor's threads would be such anyway, and be waited for at the end."""
        from gevent import spawn  # noqa: PLC0415

        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            end: Callable[[], None]
            try:
                end = partial(future.set_result, func(*args))
            except Exception as error:  # noqa: BLE001 - told to whoever waits
                end = partial(future.set_exception, error)
            self.call_soon_threadsafe(_unless_done, future, end)

        spawn(work)
        return future


def _unless_done(future: asyncio.Future[Any], end: Callable[[], None]) -> None:
    if not future.done():
        end()


def _until_rung(begin: Callable[[Callable[[], None]], object]) -> None:
    """Let other greenlets go on until what was begun calls, from its thread, the function it was given."""
    from gevent import event, get_hub  # noqa: PLC0415

    bell, rung = get_hub().loop.async_(), event.Event()

    def hear() -> None:
        rung.set()
        bell.close()  # here, and not where it is waited for: a killed greenlet's bell must not be freed
        # by the other thread, while this one's hub still knows it

    bell.start(hear)
    try:
        begin(bell.send)
    except BaseException:
        bell.close()
        raise
    rung.wait()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
