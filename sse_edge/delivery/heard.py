"""What is heard on a channel: an event, one that went missing, or that the channel begins anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from ..backends.base import Logged, heard_by
from ..event import FINISHED, EventId, Place, reopens
from .patterns import Pattern


class Heard(NamedTuple):
    """What is heard on a channel: an event, one that went missing and comes ``late``, or a reset with its
    ``head``, and what comes ``first`` of its ``channel`` after it.  No stream of ``except_user`` hears it.
    It is counted with ``pattern``.
    """

    id: EventId | None
    frame: bytes
    kind: Literal["event", "late", "reset"] = "event"
    head: Place | None = None
    channel: str = ""
    first: Sequence[Logged] = ()
    except_user: str | None = None
    pattern: Pattern | None = None

    def following(self, first: Mapping[str, int], user: str | None) -> list[bytes]:
        """What comes after a reset for ``user``, where so much comes first; what is finished has its end in
        any case."""
        count = first.get(self.channel, 0)
        frames = [frame for _, _, frame in heard_by(user, self.first)]
        if count:
            return [frame for frame in frames if not reopens(frame)][-count:]
        return [frame for frame in frames[-1:] if frame.endswith(FINISHED)]

    @property
    def is_last(self) -> bool:
        """Whether it ends with its channel's last event."""
        return (self.first[-1][2] if self.first else self.frame).endswith(FINISHED)

    def is_within(self, reach: EventId | None) -> bool:
        """Whether history that reaches as far on this channel includes it; resets it knows all."""
        if reach is None:
            return False
        return self.kind == "reset" or (self.id is not None and self.id <= reach)


def place_of(frame: bytes) -> Place | None:
    """What an event's id line says, if it has one."""
    line = frame.partition(b"\n")[0]
    return Place.parse(line[4:].decode()) if line.startswith(b"id: ") else None
