"""What is under load, as a scenario may disturb it."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time

import gevent

from ..measure.process import open_files
from ..site.deployment import Site

RESTART = 1.0
"""Seconds until systemd starts a killed worker again (``RestartSec`` of the shipped unit)."""

EXIT = 40.0
"""Seconds for a worker to end by itself; the shipped unit gives it 30."""


class Ours:
    """A deployment that this run has started."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def workers(self) -> int:
        """How many."""
        return len(self._site.places)

    def kill(self, number: int) -> None:
        """SIGKILL, and the next one after a while."""
        self._site.signal(number, signal.SIGKILL)
        gevent.spawn_later(RESTART, self._site.start_again, number)

    def restart(self, number: int) -> None:
        """SIGTERM, and the next one when it has ended."""
        self._site.signal(number, signal.SIGTERM)
        deadline = time.monotonic() + EXIT
        while self._site.runs(number):
            if time.monotonic() > deadline:
                raise RuntimeError(f"worker {number} has not ended {EXIT:g} s after SIGTERM")
            time.sleep(0.05)
        self._site.start_again(number)

    def files(self) -> int | None:
        """Descriptors of all workers."""
        return sum(map(open_files, self._site.parts["worker"]))


class Theirs:
    """A deployment that runs already; ``command`` disturbs it."""

    workers = 0

    def __init__(self, command: str) -> None:
        self._command = command

    def kill(self, number: int) -> None:
        """Run the command."""
        if not self._command:
            raise RuntimeError(
                'with --target, say how a worker is killed: --disturb "systemctl kill …", or --drop'
            )
        done = subprocess.run(shlex.split(self._command), check=False, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise RuntimeError(f"--disturb ended with {done.returncode}: {done.stderr.strip()[-300:]}")

    def restart(self, number: int) -> None:
        """Run the command, which restarts all workers one after another and returns then."""
        self.kill(number)

    def files(self) -> int | None:
        """Nobody knows."""
        return None
