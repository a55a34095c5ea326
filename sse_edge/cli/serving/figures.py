"""Where the workers of one server write their figures, so that each can tell of all."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ...logline import about, sentence
from ...status.slots import VARIABLE, is_held

logger = logging.getLogger("sse_edge")

PREFIX = "sse-edge-figures-"

MEMORY = "/dev/shm"  # noqa: S108 - a directory of our own is made in it
"""Where files are in memory, on Linux."""

SUPERVISOR = "supervisor.lock"

NEW = 60.0
"""Seconds in which a directory may be one that is just being made."""


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Have a directory for them, in the environment of the workers that are started meanwhile.

    One that the environment names already is the operator's own, and left alone.  Where none can be made
    each worker tells of itself.
    """
    if os.environ.get(VARIABLE):
        yield
        return
    place = Path(MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else tempfile.gettempdir())
    with contextlib.ExitStack() as stack:
        try:
            _sweep(place)
            directory = tempfile.mkdtemp(prefix=PREFIX, dir=place)
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            lock = os.open(Path(directory, SUPERVISOR), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            why = sentence(f"{place}: {error.strerror}")
            text = "each worker's metrics are its own: no directory for them in %s"
            logger.warning(text, why, extra=about("figures-alone", detail=f"{place}: {error.strerror}"))
            yield
            return
        os.environ[VARIABLE] = directory
        stack.callback(os.environ.pop, VARIABLE, None)
        yield


def _sweep(place: Path) -> None:
    """Remove what servers have left that were killed, once their workers are gone too."""
    for path in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = path.lstat()
            if found.st_uid != os.geteuid() or found.st_mtime > time.time() - NEW:
                continue
            if not any(map(is_held, path.glob("*.lock"))):
                shutil.rmtree(path)
