"""Who a request comes from, as its cookie proved it."""

from __future__ import annotations

import math
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2s

from .errors import FieldError
from .pattern import matches


@dataclass(frozen=True, slots=True)
class Identity:
    r"""A client that may ask for streams.

    ``user`` fills ``{user}`` in channel templates and is what per-user limits count; ``None`` is an
    anonymous client, which no per-user limit counts.  ``channels`` are patterns the client may read,
    in which ``*`` stands for any run of characters, and ``\*`` and ``\\`` for themselves: see ``literal``.
    ``session`` names the sign-in, so that one of a user's sessions can be ended.  Both are text, and what is
    given instead, such as a number, is known by its text from then on.  ``expires`` is when the session ends
    by itself, in Unix seconds.  Raises ValueError for other channels or another time: a text is no list of
    patterns, and taken for one a star in it would open everything.
    """

    user: str | None
    channels: tuple[str, ...] = ()
    session: str | None = None
    expires: float | None = None

    def __post_init__(self) -> None:
        if type(self.user) is not str and self.user is not None:
            object.__setattr__(self, "user", str(self.user))
        if type(self.session) is not str and self.session is not None:
            object.__setattr__(self, "session", str(self.session))
        channels: object = self.channels
        if not isinstance(channels, tuple | list | set | frozenset) or not all(map(_is_text, channels)):
            raise FieldError("channels", "must be a list of patterns", channels)
        if type(channels) is not tuple:
            object.__setattr__(self, "channels", tuple(channels))
        if self.expires is not None and not _is_time(self.expires):
            raise FieldError("expires", "must be a time in Unix seconds", self.expires)

    @property
    def mark(self) -> str:
        """What is the same for each of a user's requests, and for nobody else's; it does not say who that is.

        Of an anonymous client it is its session's.  Another cookie of the same user changes nothing.
        """
        whose = f"user {self.user}" if self.user is not None else f"session {self.session}"
        return urlsafe_b64encode(blake2s(whose.encode(), digest_size=12).digest()).decode()

    def may_read(self, channel: str) -> bool:
        """Whether one of the signed patterns covers ``channel``."""
        return any(matches(pattern, channel) for pattern in self.channels)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
