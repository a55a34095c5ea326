"""Asking the application's own functions, be they sync or async, from the event loop."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async

from ..errors import ConfigError

Callback = Callable[..., Awaitable[object]]


def callback(field: str, function: object) -> Callback:
    """An async function that calls ``function`` and returns what it says.

    A sync function runs in asgiref's one sync thread, where Django's ORM and other code that is tied
    to its thread may be used; it costs about 100 µs, and calls wait for each other.  Raises
    ConfigError for what cannot be called.
    """
    if not callable(function):
        raise ConfigError(field, "must be callable", function)
    is_async = iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)
    asked = function if is_async else sync_to_async(_without_stop(function), thread_sensitive=True)

    async def ask(*args: object) -> object:
        answer = await asked(*args)
        return await answer if inspect.isawaitable(answer) else answer

    return ask


def _without_stop(function: Callable[..., Any]) -> Callable[..., Any]:
    # A future cannot carry StopIteration: on Python 3.11 a bare next() in an application's function
    # would leave the request waiting for ever.
    def call(*args: object) -> object:
        try:
            return function(*args)
        except StopIteration as error:
            raise RuntimeError("StopIteration") from error

    return call
