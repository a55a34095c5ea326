"""Texts that others chose, in the columns of a terminal."""

from __future__ import annotations

import unicodedata

CUT = "~"
"""Ends what was too long."""


def shown(text: str, *, ascii: bool = False) -> str:
    """The text with nothing in it that could move the cursor, or that terminals take different room for.

    Such characters, or with ``ascii`` all but ASCII's, are written as in Python.
    """
    composed = unicodedata.normalize("NFC", text)
    return "".join(_escaped(each) if _strange(each, ascii) else each for each in composed)


def width(text: str) -> int:
    """The columns that a shown text takes (UAX #11)."""
    return sum(map(_width, text))


def fitted(text: str, columns: int, *, right: bool = False) -> str:
    """The shown text in exactly so many columns; what was cut off is marked."""
    room = columns - width(text)
    if room < 0:
        text = _cut(text, columns)
        room = columns - width(text)
    return " " * room + text if right else text + " " * room


def _cut(text: str, columns: int) -> str:
    if columns < 1:
        return ""
    kept, used = [], 0
    for each in text:
        used += _width(each)
        if used >= columns:
            break
        kept.append(each)
    return "".join(kept) + CUT


def _strange(character: str, ascii: bool) -> bool:
    if character < "\x7f":
        return character < " "
    if ascii or not character.isprintable():
        return True
    # Terminals do not agree on how wide a picture is that is made of several characters.
    return (
        "\ufe00" <= character <= "\ufe0f"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or character > "\U000e0000"
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
