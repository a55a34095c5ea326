"""How many of something, in words."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """``1 worker``, ``1,024 workers``."""
    return f"{number:,} {what}{'s' * (number != 1)}"
