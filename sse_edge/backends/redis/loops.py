"""What belongs to one event loop, such as connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar, runtime_checkable

from .fork import disown_after_fork

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One thing for each running event loop, because connections belong to the loop they began on.

    A forked child has none of its parent's.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._things: dict[asyncio.AbstractEventLoop, T] = {}
        disown_after_fork(self)

    def get(self) -> T:
        """The running loop's, made at the first call."""
        loop = asyncio.get_running_loop()
        if loop not in self._things:
            for gone in [known for known in self._things if known.is_closed()]:
                del self._things[gone]
            self._things[loop] = self._make()
        return self._things[loop]

    def pop(self) -> T | None:
        """Take the running loop's away."""
        return self._things.pop(asyncio.get_running_loop(), None)

    def disown(self) -> tuple[object, Iterable[int]]:
        """See ``Inherited.disown``."""
        old, self._things = self._things, {}
        return old, [
            each for thing in old.values() if isinstance(thing, HasSockets) for each in thing.sockets()
        ]


@runtime_checkable
class HasSockets(Protocol):
    """Something with connections."""

    def sockets(self) -> Iterable[int]:
        """The file descriptors of the connections that are open."""
