"""Awaiting what is not ours, and may swallow the cancellation that is to end it."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")

SHOVES = 100
"""Times that what is let go of is told to end: each ``finally`` in it may wait once more."""


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
