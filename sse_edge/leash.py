"""Ending what a task waits for: from elsewhere, and where it may swallow its cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Self, TypeVar

T = TypeVar("T")

SHOVES = 100
"""Times that what is let go of is told to end: each ``finally`` in it may wait once more."""


class Leash:
    """Around what a task waits for: once it is pulled, that is cancelled, and TimeoutError is raised.

    As ``asyncio.timeout`` does it, which costs three times as much where there is no time.
    """

    __slots__ = ("_cancelling", "_task", "pulled")

    def __init__(self) -> None:
        self.pulled = False
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0

    def pull(self) -> None:
        """End what is waited for inside; nothing, where nothing is."""
        if self._task is not None:  # which may be the one that pulls, and be out before it waits again
            self._task.get_loop().call_soon(self._end)

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task()
        self._cancelling = 0 if task is None else task.cancelling()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if not self.pulled or task is None:
            return
        is_alone = task.uncancel() <= self._cancelling  # nobody else has cancelled it, too
        if is_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def _end(self) -> None:
        if self._task is not None and not self.pulled:
            self.pulled = True
            self._task.cancel()


@types.coroutine
def leashed(awaitable: Awaitable[T], let_go: Callable[[], bool]) -> Generator[Any, Any, T]:
    """Await it; whatever is thrown in meanwhile, a cancellation above all, it may swallow.

    ``let_go`` is asked each time before that.  If it says so, ``awaitable`` is made to end instead, and what
    was to be thrown in is raised whatever comes of that.
    """
    steps: Any = awaitable.__await__()
    thrown: BaseException | None = None
    while True:
        try:
            waits = next(steps) if thrown is None else steps.throw(thrown)
        except StopIteration as result:
            return result.value  # type: ignore[no-any-return]
        thrown = None
        try:
            yield waits
        except BaseException as error:  # a cancellation, or how what it waited for has failed
            if let_go():
                with contextlib.suppress(BaseException):
                    for _ in range(SHOVES):
                        steps.throw(GeneratorExit())
                raise
            thrown = error
