"""Whether another process of the same server runs the same application."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from hashlib import sha1

_held: dict[str, socket.socket] = {}


def is_first(name: str) -> bool:
    """Whether this is the first worker of its server that asks for ``name``, as far as can be told.

    A server that starts several does it with multiprocessing, or is gunicorn; those have a parent and a
    command line in common.  On Linux a name in the abstract namespace is held for as long as the process
    lives (unix(7)); elsewhere every worker is the first.
    """
    parent = multiprocessing.parent_process()
    is_worker = parent is not None or "gunicorn" in sys.modules
    if not is_worker or sys.platform != "linux" or name in _held:
        return True
    key = repr((parent.pid if parent is not None else os.getppid(), sys.argv, name))
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0sse_edge-{sha1(key.encode(), usedforsecurity=False).hexdigest()}")
    except OSError:
        lock.close()
        return False
    _held[name] = lock
    return True


def is_second(name: str) -> bool:
    """Whether this is the one worker of several that is to say something of all of them."""
    return not is_first(name) and is_first(f"{name}, second")
