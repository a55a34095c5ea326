"""Asking the application's own functions, be they sync or async, from the event loop."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from asgiref.sync import AsyncToSync, SyncToAsync, iscoroutinefunction, sync_to_async

from ..errors import ConfigError
from ..leash import leashed
from ..logline import about, reason, why
from .pool import POOL, database
from .settings import flag

Callback = Callable[..., Awaitable[object]]

ANSWER = 30.0
"""Seconds for a function to answer: who waits for it holds a connection, and looks as if it were let in."""

PATIENCE = 1.0
"""Seconds for one that is cancelled to end; then it is let go of."""

log = logging.getLogger("sse_edge")


class PlainError(Exception):
    """A failure of which a line says everything: no traceback would tell more."""


class AnswerTimeoutError(PlainError, TimeoutError):
    """A function has not answered in time."""


def callback(field: str, function: object, *, threaded: bool = True, many: bool = False) -> Callback:
    """An async function that calls ``function`` and returns what it says.

    A sync function runs in a thread of the process's pool, where Django's ORM may be used; it costs about
    100 µs.  Below ``async_to_sync``, as in Django's tests, it runs in the thread that waits there, and sees
    its transaction.  Where it is not to be ``threaded`` it is called as it is.  Raises ConfigError for what
    cannot be called, and unless ``many`` answers are wanted, for a generator function.

    The async function raises what ``function`` raises, AnswerTimeoutError if it has not answered after ANSWER
    seconds, and RuntimeError for a cancellation that came from inside it.  One that is cancelled has PATIENCE
    seconds to end, whatever it swallows; what it says then is heard by nobody.
    """
    if not callable(function):
        raise ConfigError(field, "must be callable", function)
    if not many:
        check_answers(field, function)
    threads = threaded and not is_async(function)
    asked = _threaded(field, function) if threads else function

    async def ask(*args: object) -> object:
        limit = asyncio.timeout(ANSWER)
        try:
            async with limit:
                answer = asked(*args)
                if inspect.isawaitable(answer):
                    answer = await _obeying(answer)
                return await _obeying(answer) if inspect.isawaitable(answer) else answer
        except TimeoutError:
            if not limit.expired():
                raise
            busy = f", all {POOL.most} threads are busy" if threads and POOL.is_full else ""
            raise AnswerTimeoutError(f"no answer within {ANSWER:g} s{busy}") from None
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RuntimeError("something in it was cancelled") from error

    return ask


def tell_failure(error: Exception, message: str, *args: object, function: str, **fields: object) -> None:
    """Log what became of asking a ``function``: with a traceback, where that says more than a line does."""
    extra = about("callback-failed", function=function, **fields)
    if isinstance(error, PlainError):
        extra["sse_edge"]["detail"] = reason(error)
        log.error(message + ": %s", *args, why(error), extra={"sampled": True, **extra})
    else:
        log.error(message, *args, exc_info=error, extra=extra)


def check_takes(field: str, function: object, *names: str) -> None:
    """ConfigError for what cannot be called with as many arguments as there are ``names``."""
    if not callable(function):
        raise ConfigError(field, "must be callable", function)
    try:
        inspect.signature(function).bind(*names)
    except TypeError as error:
        raise ConfigError(field, f"must take ({', '.join(names)})", function) from error
    except ValueError:  # a builtin that does not tell
        pass


def check_answers(field: str, function: object) -> None:
    """ConfigError for a generator function, sync or async, where one answer is wanted."""
    if generates(function):
        raise ConfigError(field, "must return its answer, and not yield as a generator does", function)


def generates(function: object) -> Literal["sync", "async"] | None:
    """What kind of a generator calling it gives, however it is written."""
    if isinstance(function, type):
        return None
    for written in (function, getattr(function, "__call__", None)):  # noqa: B004 - not whether it can be called
        if inspect.isasyncgenfunction(written):
            return "async"
        if inspect.isgeneratorfunction(written):
            return "sync"
    return None


def method(field: str, owner: object, name: str, *takes: str, must: str) -> Callback:
    """An async function that asks a method of an object of the application's: at once, async, or in a thread
    where the object says ``blocking = True``; see ``callback``.

    Raises ConfigError, saying what it ``must`` be, for what has no such method or takes other arguments.
    """
    function = getattr(owner, name, None)
    if isinstance(owner, type):
        raise ConfigError(field, f"must be an object, {owner.__name__}(…), and not its class", owner)
    if owner is None or not callable(function):
        raise ConfigError(field, must, owner)
    try:
        check_takes(field, function, *takes)
        check_answers(field, function)
    except ConfigError as error:
        raise ConfigError(field, f"{name} {error.why}", owner) from error
    blocking = getattr(owner, "blocking", False)
    flag(f"{field}.blocking", blocking)
    if blocking and is_async(function):
        raise ConfigError(f"{field}.blocking", f"is for a {name} that is not async", owner)
    return callback(field, function, threaded=blocking)


def is_async(function: object) -> bool:
    """Whether calling it gives a coroutine."""
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


def takes_values(field: str, function: Callable[..., Any]) -> bool:
    """Whether ``function``, after identity and channel, takes the values that the channel was made of: as its
    third argument, which is either required or called ``values``.

    Raises ConfigError for a function that can be asked in neither way.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not tell
        return False
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    third = [one for one in signature.parameters.values() if one.kind in plain][2:3]
    takes = any(one.default is inspect.Parameter.empty or one.name == "values" for one in third)
    try:
        signature.bind(*[None] * (3 if takes else 2))
    except TypeError as error:
        why = "must take (identity, channel) or (identity, channel, values)"
        raise ConfigError(field, why, function) from error
    return takes


async def _obeying(awaitable: Awaitable[object]) -> object:
    """Await something that ends when it is cancelled, though it may swallow that."""
    task = asyncio.current_task()
    if task is None:
        return await awaitable
    before = task.cancelling()
    timer: asyncio.TimerHandle | None = None
    insisted = False

    def insist() -> None:
        nonlocal timer, insisted
        timer = None
        # A timeout of its own, which it has dealt with, has taken its cancellation back.
        if task.cancelling() > before:
            insisted = True
            task.cancel()

    def let_go() -> bool:
        nonlocal timer
        if not insisted and timer is None and task.cancelling() > before:
            timer = asyncio.get_running_loop().call_later(PATIENCE, insist)
        return insisted

    try:
        answer = await leashed(awaitable, let_go)
    except Exception as error:
        if task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    else:
        if task.cancelling() > before:
            raise asyncio.CancelledError
        return answer
    finally:
        if timer is not None:
            timer.cancel()
        if insisted:
            task.uncancel()


def _threaded(field: str, function: Callable[..., Any]) -> Callable[..., Awaitable[object]]:
    def pooled(*args: object) -> object:
        with POOL.doing(field), database():
            return call(*args)

    call = _without_stop(function)
    # By way of asgiref, which brings context variables along, and has an async_to_sync in it come back here.
    alone = sync_to_async(pooled, thread_sensitive=False, executor=POOL)  # type: ignore[call-overload]
    waited_for = sync_to_async(call, thread_sensitive=True)

    def ask(*args: object) -> Awaitable[object]:
        return waited_for(*args) if _has_thread() else alone(*args)

    return ask


def _has_thread() -> bool:
    """Whether asgiref has a thread for what is asked here: one that waits for it, or that belongs to it."""
    return bool(
        getattr(AsyncToSync.executors, "current", None)
        or SyncToAsync.thread_sensitive_context.get(None)
        or asyncio.get_running_loop() in AsyncToSync.loop_thread_executors
    )


def _without_stop(function: Callable[..., Any]) -> Callable[..., Any]:
    # A future cannot carry StopIteration: on Python 3.11 a bare next() in an application's function
    # would leave the request waiting for ever.
    def call(*args: object) -> object:
        try:
            return function(*args)
        except StopIteration as error:
            raise RuntimeError("StopIteration") from error

    return call
