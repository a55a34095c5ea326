"""What a forked child does with its parent's connections: nothing.

It must not even collect them.  Their file descriptors are copies, but the event loop's epoll is the
parent's own: a transport that is closed in the child, be it by the garbage collector when the child ends,
takes the parent's connection out of it, and the parent waits for ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """Something that a child must not go on using."""

    def disown(self) -> tuple[object, Iterable[int]]:
        """Begin anew, in a child; what was let go of, and the descriptors of the sockets in it."""


_everything: WeakSet[Inherited] = WeakSet()


def disown_after_fork(thing: Inherited) -> None:
    """Let every child that is forked from now on disown ``thing``."""
    _everything.add(thing)


def _disown() -> None:
    for thing in list(_everything):
        old, descriptors = thing.disown()
        # One reference more than there are, which nothing takes back: not even the interpreter's end.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(old))
        for descriptor in descriptors:
            # So that what the parent closes is closed.  Nobody else will: its owner is never collected.
            with contextlib.suppress(OSError):
                os.close(descriptor)


if hasattr(os, "register_at_fork"):  # else there are no forks
    os.register_at_fork(after_in_child=_disown)
