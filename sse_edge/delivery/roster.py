"""Who is here: the streams of a worker by a name that they share, a user's or a session's."""

from __future__ import annotations

from collections.abc import Mapping

from .stream import Stream


class Roster:
    """Streams by name.  Most names have one stream, and pay for no set."""

    __slots__ = ("_streams",)

    def __init__(self) -> None:
        self._streams: dict[str, Stream | set[Stream]] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, name: str | None, stream: Stream) -> None:
        """Enter ``stream``; None is no name."""
        if name is None:
            return
        known = self._streams.setdefault(name, stream)
        if isinstance(known, set):
            known.add(stream)
        elif known is not stream:
            self._streams[name] = {known, stream}

    def discard(self, name: str | None, stream: Stream) -> None:
        """Strike ``stream`` off, if it is there."""
        known = None if name is None else self._streams.get(name)
        if name is None or known is None:
            return
        if isinstance(known, set):
            known.discard(stream)
        if known is stream or known == set():
            del self._streams[name]

    def of(self, name: str) -> list[Stream]:
        """The streams of a name."""
        known = self._streams.get(name)
        if known is None:
            return []
        return list(known) if isinstance(known, set) else [known]

    def among(self, names: Mapping[str, object]) -> list[Stream]:
        """The streams of all these names; costs as much as there are names here or there, the smaller."""
        few, many = (names, self._streams) if len(names) < len(self._streams) else (self._streams, names)
        return [stream for name in few if name in many for stream in self.of(name)]
