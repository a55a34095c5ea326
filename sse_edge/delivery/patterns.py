"""What is counted by the patterns of channels, never by channel: there may be any number of those."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Labels(Protocol):
    """What the channels of an application are called where they are counted, a few names for all of them."""

    @property
    def names(self) -> Iterable[str]:
        """Those that are known from the start."""

    def channel(self, name: str) -> str:
        """The pattern of a channel."""

    def path(self, path: str) -> str:
        """The pattern of streams that hear no channel, by the path that they were asked for at."""


class Pattern:
    """One of them, and how many ``events`` were written that its channels had heard."""

    __slots__ = ("events", "name")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.events = 0


class Patterns:
    """All of them; without ``labels`` everything is of one."""

    def __init__(self, labels: Labels | None = None) -> None:
        self._labels = labels
        self._known = {name: Pattern(name) for name in ([""] if labels is None else labels.names)}

    def of(self, channel: str) -> Pattern:
        """That of a channel."""
        return self._pattern("" if self._labels is None else self._labels.channel(channel))

    def of_path(self, path: str) -> Pattern:
        """That of a stream that hears no channel."""
        return self._pattern("" if self._labels is None else self._labels.path(path))

    @property
    def events(self) -> dict[str, int]:
        """Events written, by name."""
        return {pattern.name: pattern.events for pattern in self._known.values()}

    def streams(self, counts: Iterable[tuple[Pattern, int]]) -> dict[str, int]:
        """So many streams each, by name."""
        found = dict.fromkeys(self._known, 0)
        for pattern, count in counts:
            found[pattern.name] += count
        return found

    def _pattern(self, name: str) -> Pattern:
        pattern = self._known.get(name)
        if pattern is None:
            pattern = self._known[name] = Pattern(name)
        return pattern
