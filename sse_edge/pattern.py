r"""Patterns of channel names, and what a value in a channel's name may be.

In a pattern ``*`` stands for any run of characters, also across ``:``; ``\*`` and ``\\`` for themselves.
"""

from __future__ import annotations

import re

from .errors import FieldError

SEPARATOR = ":"
"""What separates the parts of a channel's name; no value that is filled into one holds it."""

WHY_ESCAPE = (
    r"a backslash stands before * or another backslash, for themselves: \*, \\; "
    "sse_edge.literal() puts it there for a value"
)
"""What is said of a pattern that is not well formed."""

_VALUE = re.compile(r"[^:\x00-\x1f\x7f\ud800-\udfff]+")
_SPECIAL = re.compile(r"[*\\]")
_PIECE = re.compile(r"\\[*\\]|[^\\]")
_WHOLE = re.compile(rf"(?:{_PIECE.pattern})*")


def matches(pattern: str, channel: str) -> bool:
    """Whether ``pattern`` covers ``channel``; one with a backslash that escapes nothing covers none."""
    # Not fnmatch: it would compile and keep a regular expression for every user's own pattern.
    if not well_formed(pattern):
        return False
    first, *middle = pattern.split("*") if "\\" not in pattern else _split(pattern)
    if not middle:
        return channel == first
    last = middle.pop()
    at, end = len(first), len(channel) - len(last)
    if at > end or not channel.startswith(first) or not channel.endswith(last):
        return False
    for piece in middle:
        at = channel.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def covers(pattern: str, other: str) -> bool:
    """Whether ``pattern`` covers every channel that the pattern ``other`` covers."""
    return matches(pattern, "\0".join(_split(other)))  # what no name has, only a star stands for


def may_meet(pattern: str, other: str) -> bool:
    """Whether both may cover the same channel; told from how they begin and end, so that no is certain."""
    pieces, others = _split(pattern), _split(other)
    if len(pieces) == 1 or len(others) == 1:
        return matches(other, pieces[0]) if len(pieces) == 1 else matches(pattern, others[0])
    heads, tails = sorted((pieces[0], others[0]), key=len), sorted((pieces[-1], others[-1]), key=len)
    return heads[1].startswith(heads[0]) and tails[1].endswith(tails[0])


def well_formed(pattern: str) -> bool:
    """Whether each backslash in ``pattern`` stands before a star or another backslash."""
    return "\\" not in pattern or _WHOLE.fullmatch(pattern) is not None


def literal(value: str) -> str:
    r"""``value`` in a pattern, as itself: ``f"room:{literal(slug)}"`` is this one room, whatever the slug is.

    Puts a backslash before each ``*`` and backslash.  Raises ValueError for what is no value in a channel's
    name: empty text, ``:``, control characters, lone surrogates.
    """
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise FieldError("value", "must be text without : and control characters", value)
    return escaped(value)


def escaped(text: str) -> str:
    """Any ``text`` as the pattern of itself alone."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def _split(pattern: str) -> list[str]:
    """What is between the stars, without the backslashes."""
    pieces = [""]
    for piece in _PIECE.findall(pattern):
        if piece == "*":
            pieces.append("")
        else:
            pieces[-1] += piece[-1]
    return pieces
