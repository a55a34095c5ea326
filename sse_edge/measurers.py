"""Middlewares of others that stand around a stream, and take its life for the time of a request."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

KNOWN = {
    "prometheus_fastapi_instrumentator": "prometheus-fastapi-instrumentator",
    "opentelemetry.instrumentation": "OpenTelemetry's instrumentation",
    "fastapi.telemetry": "FastAPI's telemetry",
    "sentry_sdk": "Sentry",
}
"""Modules whose middlewares wrap ``send``, and what they are called."""

MOST = 100
"""Functions that are looked at."""


def measurers(send: Callable[..., Any]) -> list[str]:
    """Which of them a ``send`` has come through, as far as can be seen from it."""
    seen: list[Any] = []
    waiting: list[Any] = [send]
    found: dict[str, None] = {}
    while waiting and len(seen) < MOST:
        one = waiting.pop()
        if any(one is each for each in seen):
            continue
        seen.append(one)
        if _is(one, FunctionType):
            module = str(one.__globals__.get("__name__"))  # functools.wraps gives it the name of another
            found |= {called: None for name, called in KNOWN.items() if f"{module}.".startswith(f"{name}.")}
        waiting += _within(one)
    return sorted(found)


def _within(one: Any) -> Iterator[object]:
    """The functions that a function may call."""
    if _is(one, functools.partial):
        yield from (one.func, *(each for each in one.args if callable(each)))
    elif _is(one, MethodType):
        yield one.__func__
    elif _is(one, FunctionType):
        for cell in one.__closure__ or ():
            try:
                held = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            if _is(held, FunctionType, MethodType, functools.partial):
                yield held


def _is(one: object, *kinds: type) -> bool:
    """As isinstance, which asks an object for its class: a proxy would have to be there."""
    return issubclass(type(one), kinds)
