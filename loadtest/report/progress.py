"""How far a long run is."""

from __future__ import annotations

import sys
import time


class Progress:
    """Says on one line how far the run is; on lines of their own where there is no terminal."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.last = "before anything was measured"

    def __call__(self, what: str) -> None:
        """Now this is done."""
        self.last = what
        seconds = int(time.monotonic() - self._began)
        text = f"{seconds // 60}:{seconds % 60:02d}  {what}"
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """No more."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
