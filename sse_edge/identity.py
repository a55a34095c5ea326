"""Who a request comes from, as its cookie proved it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A client that may ask for streams.

    ``user`` fills ``{user}`` in channel templates and is what per-user limits count; ``None`` is an
    anonymous client, which no per-user limit counts.  ``channels`` are patterns the client may read,
    in which ``*`` stands for any run of characters.  ``session`` names the sign-in, so that one of a
    user's sessions can be ended.  ``expires`` is when it ends by itself, in Unix seconds.
    """

    user: str | None
    channels: tuple[str, ...] = ()
    session: str | None = None
    expires: float | None = None

    def may_read(self, channel: str) -> bool:
        """Whether one of the signed patterns covers ``channel``."""
        return any(matches(pattern, channel) for pattern in self.channels)


def matches(pattern: str, channel: str) -> bool:
    """Whether ``pattern``, in which each ``*`` stands for any text, covers ``channel``."""
    # Not fnmatch: it would compile and keep a regular expression for every user's own pattern.
    first, *middle = pattern.split("*")
    if not middle:
        return channel == pattern
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
