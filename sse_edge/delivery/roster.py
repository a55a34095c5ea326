"""Who is here: the streams of a worker by a name that they share, a user's or a session's."""

from __future__ import annotations

from collections.abc import Mapping

from .few import Few, added, how_many, listed, without
from .stream import Stream


class Roster:
    """Streams by name.  Most names have one stream, and pay for no set."""

    __slots__ = ("_streams",)

    def __init__(self) -> None:
        self._streams: dict[str, Few[Stream]] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, name: str | None, stream: Stream) -> None:
        """Enter ``stream``; None is no name."""
        if name is not None:
            self._streams[name] = added(self._streams.get(name), stream)

    def discard(self, name: str | None, stream: Stream) -> None:
        """Strike ``stream`` off, if it is there."""
        if name is None or name not in self._streams:
            return
        left = without(self._streams[name], stream)
        if left is None:
            del self._streams[name]
        else:
            self._streams[name] = left

    @property
    def names(self) -> list[str]:
        """All that have streams."""
        return list(self._streams)

    def count(self, name: str) -> int:
        """How many streams a name has."""
        return how_many(self._streams.get(name))

    def of(self, name: str) -> list[Stream]:
        """The streams of a name."""
        return listed(self._streams.get(name))

    def among(self, names: Mapping[str, object]) -> list[Stream]:
        """The streams of all these names; costs as much as there are names here or there, the smaller."""
        few, many = (names, self._streams) if len(names) < len(self._streams) else (self._streams, names)
        return [stream for name in few if name in many for stream in self.of(name)]
