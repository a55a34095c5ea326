"""Streams that are most often none or one, and then cost no set."""

from __future__ import annotations

from typing import TypeAlias

from .stream import Stream

Few: TypeAlias = Stream | set[Stream] | None
"""None, one, or a set of several."""


def added(few: Few, one: Stream) -> Few:
    """``few`` and ``one``; a set is the same set."""
    if few is None or few is one:
        return one
    if isinstance(few, set):
        few.add(one)
        return few
    return {few, one}


def without(few: Few, one: Stream) -> Few:
    """``few`` but ``one``; a set is the same set, as long as anyone is left."""
    if isinstance(few, set):
        few.discard(one)
        return few or None
    return None if few is one else few


def listed(few: Few) -> list[Stream]:
    """All of them, as a list of its own."""
    if isinstance(few, set):
        return list(few)
    return [] if few is None else [few]
