"""Text that names a user, a session or a pattern of channels."""

from __future__ import annotations

import re

LONGEST = 256
TEXT = re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{LONGEST}}}")
WHY_TEXT = f"must be text of 1 to {LONGEST} characters, without control characters"


def is_text(value: object) -> bool:
    """Whether ``value`` is such text."""
    if not isinstance(value, str):
        return False
    if value.isascii() and value.isprintable():  # as most are: sooner seen than by the pattern
        return 0 < len(value) <= LONGEST
    return TEXT.fullmatch(value) is not None
