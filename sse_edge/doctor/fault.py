"""One thing that can be wrong, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How bad it is; the worst decides the exit code."""

    OK = 0
    UNKNOWN = 1
    WARNING = 2
    FAILURE = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that can be wrong.

    ``code`` is stable and documented; ``seen`` is what the doctor sees of it, ``remedy`` what to do anywhere,
    ``nginx`` and ``caddy`` what to do there.  ``needs`` are the options without which it is not looked for.
    """

    code: str
    level: Level
    seen: str
    remedy: str
    nginx: str = ""
    caddy: str = ""
    needs: str = ""
