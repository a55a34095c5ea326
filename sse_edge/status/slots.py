"""Figures of several workers on one machine, which any of them tells: each writes its own where all may read.

A directory has a *slot* for each worker: a lock that ends with its process, however that ends, and a file
of figures.  Who takes a slot that is free goes on with what was counted there, so that no counter goes back
and a restart leaves nothing behind that grows.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import random
import re
import stat
import time
import weakref
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..figures import FIGURES, Figures, accumulated, complete, fits, negated, together

VARIABLE = "SSE_EDGE_FIGURES"
"""Of the environment: the directory."""

MOST = 1024
"""Slots of one edge at most."""

LARGEST = 1_048_576
"""Bytes of a file at most: a worker's are some thousand."""

TRIES, PAUSE = 500, 0.002
"""To take a slot while others look at it, and seconds in between at most.  A look takes some microseconds,
but on a busy machine somebody may have to wait in the middle of it."""


class Told(NamedTuple):
    """What one slot says: its ``number``, whether a worker ``lives`` there, and the figures."""

    number: int
    lives: bool
    figures: Figures


class Slots:
    """The slots of one edge, in ``directory``.

    Edges that are the same ``edge`` are told as one, and others apart from them.  Raises ConfigError for a
    directory that is not this user's alone, or cannot be made.
    """

    def __init__(self, directory: str, edge: str) -> None:
        self._directory = Path(directory)
        self._inode = _private(directory)
        self._name = sha256(edge.encode()).hexdigest()[:8]
        self._files = re.compile(rf"{self._name}\.(\d{{1,4}})\.json")

    def take(self) -> Slot:
        """The lowest slot that is free; it is let go of with the process, or the object.

        Raises ConfigError if there is none, or nothing can be written.
        """
        return self._take(range(MOST))

    def take_anew(self, lost: Slot) -> Slot:
        """One instead of a slot that is ``lost``, with the same number if that is free.

        What was counted in that is there once: in the file that it had, or here if that is gone, too.
        Raises like ``take``.
        """
        inode = _private(str(self._directory))
        gone = self._inode != inode or not self._path(lost.number, "json").exists()
        slot = self._take((lost.number, *range(MOST)))
        slot.follow(lost, gone=gone)
        self._inode = inode
        return slot

    def touch(self) -> None:
        """Make all files newer, also those of slots that nobody has: what tidies up is to leave them."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self._directory):
                if name.startswith(f"{self._name}."):
                    with contextlib.suppress(OSError):  # it was exchanged meanwhile
                        os.utime(self._directory / name, follow_symlinks=False)

    def _take(self, numbers: Iterable[int]) -> Slot:
        try:
            for number in numbers:
                lock = self._path(number, "lock")
                fd = os.open(lock, _FLAGS | os.O_CREAT | os.O_RDWR, 0o600)
                if _lock(fd):
                    return Slot(number, self._path(number, "json"), lock, fd)
                os.close(fd)
        except OSError as error:
            raise ConfigError(VARIABLE, f"cannot be used: {error.strerror}", str(self._directory)) from error
        raise ConfigError(VARIABLE, f"has room for {MOST} workers, and they are there", str(self._directory))

    def told(self) -> Iterator[Told]:
        """What each slot says, in the order of their numbers; nothing of a file that is none of ours.

        Raises OSError where no file can be opened: counters of whom that leaves out would go back.
        """
        with contextlib.suppress(FileNotFoundError):  # somebody removed it
            found = map(self._files.fullmatch, os.listdir(self._directory))
            for number in sorted(int(name[1]) for name in found if name is not None):
                said = _read(self._path(number, "json"))
                lives = is_held(self._path(number, "lock")) and not said.get("over")
                yield Told(number, lives, complete(_sound(said.get("figures"))))

    def _path(self, number: int, kind: str) -> Path:
        return self._directory / f"{self._name}.{number}.{kind}"


class Slot:
    """One that this process has.  Its ``number`` is the worker's name; it is ``torn`` if what was counted
    there before cannot be read."""

    def __init__(self, number: int, path: Path, lock: Path, fd: int) -> None:
        self.number = number
        self._path = path
        self._lock = lock
        self._fd = fd
        self._last: Figures = {}  # what the file says of this process
        self._end = weakref.finalize(self, os.close, fd)
        said = _read(path)
        self.torn = not said and path.exists()
        self._before = _sound(said.get("figures"))
        _taken.add(self)

    @property
    def lost(self) -> bool:
        """Whether somebody removed its lock, so that others may take it."""
        if not self._end.alive:
            return False
        try:
            return not os.path.samestat(self._lock.lstat(), os.fstat(self._fd))
        except OSError:
            return True

    def follow(self, lost: Slot, *, gone: bool) -> None:
        """Go on for who had a slot that is ``lost``, and if what it counted there is ``gone``, with that."""
        owed = lost._before if gone else negated(lost._last)
        self._before = together([self._before, owed])
        self._last = lost._last
        lost.free()

    def counted(self, figures: Figures) -> Figures:
        """A worker's ``figures``, with what was counted here before."""
        return accumulated(self._before, figures)

    def tell(self, figures: Figures, *, over: bool = False) -> Figures:
        """Write them; see ``counted``.

        ``over``: it goes, and will change nothing any more.  Raises OSError.
        """
        now = self.counted(figures)
        if self._end.alive:
            os.utime(self._fd)  # or what tidies up takes the lock for forgotten
            new = self._path.with_suffix(".new")
            fd = os.open(new, _FLAGS | os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            with open(fd, "w", encoding="utf-8") as file:
                json.dump({"figures": now, "over": over}, file)
            new.replace(self._path)
            self._last = figures
        return now

    def free(self) -> None:
        """Let go of it."""
        self._end()


def is_held(lock: Path) -> bool:
    """Whether a process has this lock."""
    try:
        fd = os.open(lock, _FLAGS | os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


_TOO_MANY = (errno.EMFILE, errno.ENFILE)

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW

_taken: weakref.WeakSet[Slot] = weakref.WeakSet()


def _in_child() -> None:
    # A child has its parent's open files, and with them the locks: they are to end with the parent.
    for slot in _taken:
        slot.free()


os.register_at_fork(after_in_child=_in_child)


def _lock(fd: int) -> bool:
    """Take a lock that nobody has; who only looks at it has it for a moment, and is waited for."""
    for _ in range(TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(fd, fcntl.LOCK_UN)
            time.sleep(random.random() * PAUSE)
            continue
        return True
    return False


def _private(directory: str) -> tuple[int, int]:
    """What tells it from another one at the same place."""
    path = Path(directory)
    if not path.is_absolute():
        raise ConfigError(VARIABLE, "must be the path of a directory, from / on", directory)
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(0o700)
        found = path.lstat()
    except OSError as error:
        raise ConfigError(VARIABLE, f"cannot be made: {error.strerror}", directory) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        why = "must be a directory of this process's user that nobody else may enter (mode 0700)"
        raise ConfigError(VARIABLE, why, directory)
    return found.st_dev, found.st_ino


def _read(path: Path) -> dict[str, Any]:
    """What a file says; nothing if it is not there, or none of ours.

    Raises OSError where no file can be opened.
    """
    try:
        fd = os.open(path, _FLAGS | os.O_RDONLY | os.O_NONBLOCK)
        with open(fd, encoding="utf-8") as file:
            said = json.loads(file.read(LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno in _TOO_MANY:
            raise
        return {}
    return said if isinstance(said, dict) else {}


def _sound(said: object) -> dict[str, Any]:
    """Of what is said the figures that are such: another release may have others."""
    given = said if isinstance(said, dict) else {}
    return {each.name: given[each.name] for each in FIGURES if fits(each, given.get(each.name))}
