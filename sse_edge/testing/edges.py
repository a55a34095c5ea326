"""The middleware that is somewhere in an app."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, MethodType, ModuleType

from ..middleware import SSEMiddleware

MOST = 20_000
"""Objects that are looked at: an app may lead to all that there is in its process."""

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
        if id(thing) in seen or isinstance(thing, _LEAVES):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, SSEMiddleware):
            found.append(thing)
            ahead.append(thing.app)
        else:
            ahead.extend(_held(thing))
    return found


def _held(thing: object) -> Iterator[object]:
    if isinstance(thing, MethodType):
        yield thing.__self__
        yield thing.__func__
    elif isinstance(thing, partial):
        yield thing.func
        yield from thing.args
        yield from thing.keywords.values()
    elif isinstance(thing, FunctionType):
        for cell in thing.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # nothing is in it yet
                continue
        yield from vars(thing).values()
    elif isinstance(thing, dict):
        yield from list(thing.values())
    elif isinstance(thing, (list, tuple, set, frozenset, deque)):
        yield from list(thing)
    else:
        attributes = getattr(thing, "__dict__", None)
        if isinstance(attributes, Mapping):
            yield from list(attributes.values())
        for kind in type(thing).__mro__:
            for name, slot in vars(kind).items():
                if isinstance(slot, MemberDescriptorType):
                    yield getattr(thing, name, None)
