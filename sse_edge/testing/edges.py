"""The middleware that is somewhere in an app."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from types import (
    BuiltinFunctionType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, cast

from ..middleware import SSEMiddleware

MOST = 20_000
"""Objects that are looked at: an app may lead to all that there is in its process."""

OURS = __name__.partition(".")[0]
"""What else is ours leads to whatever listens to the same backend, or hears the same signals."""

_LEAVES = (str, bytes, int, float, type, ModuleType, BuiltinFunctionType, type(None))


def edges(app: object) -> list[SSEMiddleware]:
    """Every SSEMiddleware that ``app`` is or holds, the outermost first.

    However it was put there: around the app, by a framework's list of middleware, as a mounted app.  So what
    is looked at is what objects hold and functions close over, and no framework needs to be known.
    """
    found: list[SSEMiddleware] = []
    seen: dict[int, object] = {}  # kept, so that no id is another's
    ahead = deque([app])
    while ahead and len(seen) < MOST:
        thing = ahead.popleft()
        if id(thing) in seen or issubclass(type(thing), _LEAVES):
            continue
        seen[id(thing)] = thing
        if issubclass(type(thing), SSEMiddleware):
            found.append(cast("SSEMiddleware", thing))
            ahead.append(found[-1].app)
        elif type(thing).__module__.partition(".")[0] != OURS:
            ahead.extend(_held(thing))
    return found


def _held(thing: Any) -> Iterator[object]:
    kind = type(thing)  # isinstance would ask the thing itself, and proxies another that may not be there
    if kind is MethodType:
        yield thing.__self__
        yield thing.__func__
    elif kind is FunctionType:
        yield from _closed_over(thing)
        yield from vars(thing).values()
    elif issubclass(kind, partial):
        yield from (thing.func, *thing.args, *thing.keywords.values())
    elif issubclass(kind, dict):
        yield from list(dict.values(thing))
    elif issubclass(kind, (list, tuple, set, frozenset, deque)):
        yield from list(kind.__iter__(thing))
    else:
        for each in kind.__mro__:
            for name, slot in vars(each).items():
                if name == "__dict__" or type(slot) is MemberDescriptorType:
                    yield from _slot(slot, thing)


def _closed_over(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # nothing is in it yet
            continue


def _slot(slot: Any, thing: object) -> Iterator[object]:
    try:
        yield slot.__get__(thing)
    except AttributeError:  # nothing is in it
        return
