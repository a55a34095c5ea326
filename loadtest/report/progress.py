"""How far a long run is."""

import sys
import time


class Progress:
    """Says on one line how far the run is; on lines of their own where there is no terminal, and then those
    that begin with the same words not before ``seldom`` seconds have passed.
    """

    def __init__(self, seldom: float = 0.0) -> None:
        self.last = "before anything was measured"
        self._began = time.monotonic()
        self._seldom = seldom
        self._said = (0.0, "")

    def __call__(self, what: str) -> None:
        """Now this is done."""
        self.last = what
        at, before = self._said
        now, words = time.monotonic(), what.partition(":")[0].partition(",")[0]
        terminal = sys.stderr.isatty()
        if not terminal and words == before and now < at + self._seldom:
            return
        self._said = now, words
        minutes, seconds = divmod(int(now - self._began), 60)
        text = f"{minutes}:{seconds:02d}  {what}"
        print(f"\r\x1b[K{text}" if terminal else f"{text}\n", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """No more."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
