"""The newsroom's process, as the run sees it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


class Press:
    """Orders, and their answers."""

    def __init__(self, url: str) -> None:
        self.failed = 0
        """Events of which nobody knows whether they are out."""
        self._number = 0
        self._process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, "-m", "loadtest.run.newsroom", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, order: str, **given: Any) -> Any:
        """What a method of ``Newsroom`` answers.  Raises RuntimeError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._number += 1
        answer: dict[str, Any] = {}
        try:
            self._process.stdin.write(json.dumps([self._number, order, given]) + "\n")
            self._process.stdin.flush()
            # Whoever was interrupted while asking has left an answer behind.
            while answer.get("number") != self._number:
                line = self._process.stdout.readline()
                if not line:
                    raise RuntimeError("the process that publishes has ended")
                answer = json.loads(line)
        except OSError as error:
            raise RuntimeError("the process that publishes has ended") from error
        if "error" in answer:
            raise RuntimeError(f"publishing: {answer['error']}")
        self.failed = answer["failed"]
        return answer["answer"]

    @contextlib.contextmanager
    def publishing(self, channels: list[str], rate: float, size: int, hands: int = 1) -> Iterator[None]:
        """So many events a second, to each channel in turn, during the block."""
        self.ask("start", channels=channels, rate=rate, size=size, hands=hands)
        try:
            yield
        finally:
            self.ask("stop")

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
