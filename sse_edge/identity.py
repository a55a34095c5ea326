"""Who a request comes from, as its cookie proved it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


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
        return any(_matches(pattern, channel) for pattern in self.channels)


def _matches(pattern: str, channel: str) -> bool:
    # fnmatch gives "?" and "[" a meaning too; here only "*" has one.
    return fnmatchcase(channel, pattern.replace("[", "[[]").replace("?", "[?]"))
