"""Text that names a user, a session or a pattern of channels."""

from __future__ import annotations

import re

from ..errors import FieldError
from ..pattern import WHY_ESCAPE, well_formed
from .settings import strings

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


def text(field: str, value: object) -> str:
    """The value, if it is what may be signed.  Raises FieldError."""
    if not isinstance(value, str) or not TEXT.fullmatch(value):
        raise FieldError(field, WHY_TEXT, value)
    return value


def patterns(field: str, value: object) -> list[str]:
    """The value as a list, if it is one of patterns of channels.  Raises FieldError."""
    found = [text(field, pattern) for pattern in strings(field, value)]
    for pattern in found:
        if not well_formed(pattern):
            raise FieldError(field, WHY_ESCAPE, pattern)
    return found
