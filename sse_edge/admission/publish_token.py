"""Who may publish from outside, and to which channels: tokens, and whoever else says so."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Sequence
from typing import Protocol

from itsdangerous import BadData

from ..errors import ConfigError, FieldError
from ..identity import Identity
from .callback import Callback, method
from .cookies import CLOCK_SKEW
from .secret import Secret
from .signing import LONGEST, Signer
from .text import is_text, patterns, text

_SALT = b"sse_edge.publish"  # no session's: those have a colon and a cookie's name behind

Answer = Identity | Sequence[str] | None
"""Patterns of the channels that a token is good for; an Identity, whose ``channels`` they are, also says
whose it is, for the log; None if it is good for nothing."""


class Verifier(Protocol):
    """Says what a token is good for.

    ``verify`` answers at once, may be async, or runs in a thread where the object says ``blocking = True``.
    """

    def verify(self, token: str, now: float, /) -> Answer | Awaitable[Answer]:
        """To which channels whoever has ``token`` may publish, at Unix time ``now``: a list of patterns, or
        an Identity with those and a name for the log; None if it is good for nothing."""


class PublishToken:
    """Tokens that sse_edge signs itself, by HMAC-SHA-256, for ``publish_path``.

    ``secret`` is one secret, or a list from oldest to newest, and may be the one that cookies are signed
    with: neither is valid as the other.  ``max_age`` is how many seconds any token is valid at most, also one
    that was issued before; None is without end.  ``weak_secret=True`` lets a secret pass that others could
    find.  Raises ConfigError.

    No token is kept anywhere: to take one back, take the secret that signed it out of the list.
    """

    def __init__(self, secret: Secret, *, max_age: float | None = None, weak_secret: bool = False) -> None:
        self._max_age = _life(max_age)
        self._signer = Signer(secret, _SALT, weak_secret=weak_secret)

    def issue(
        self,
        channels: Sequence[str],
        *,
        name: str | None = None,
        max_age: float | None = None,
        now: float | None = None,
    ) -> str:
        """A token to publish to channels that match a pattern of ``channels``, for ``max_age`` seconds.

        In a pattern ``*`` stands for any run of characters; ``literal`` puts in what was given by others.
        ``name`` says whose it is, in the log.  Raises ValueError, naming what cannot be put into a token.
        """
        given = patterns("channels", channels)
        if not given:
            raise FieldError("channels", "must be one pattern at least, such as order:*", channels)
        issued = int(time.time() if now is None else now)
        ends = [math.ceil(issued + life) for life in (_life(max_age), self._max_age) if life is not None]
        said = [None if name is None else text("name", name), given, min(ends, default=None)]
        token = self._signer.sign(said, issued)
        if len(token) > LONGEST:
            raise FieldError("channels", f"would make a token of more than {LONGEST} bytes", len(token))
        return token

    def verify(self, token: str, now: float) -> Identity | None:
        """Whose a token is, and the channels that it is good for."""
        try:
            issued, said = self._signer.read(token)
        except BadData:
            return None
        if type(said) is not list or len(said) != 3 or type(said[1]) is not list or not said[1]:
            return None
        name, channels, end = said
        if not all(map(is_text, [*channels, *([] if name is None else [name])])):
            return None
        if end is not None and type(end) is not int:
            return None
        latest = None if self._max_age is None else issued + self._max_age
        ends = [each for each in (end, latest) if each is not None]
        expires = min(ends, default=None)
        if now < issued - CLOCK_SKEW or (expires is not None and now >= expires):
            return None
        return Identity(name, tuple(channels), expires=expires)


def checked(auth: object) -> Callback:
    """What asks ``auth``, however it answers; see ``callback``.

    Raises ConfigError for what can verify nothing.
    """
    must = "must be PublishToken(…) or have a verify method"
    return method("publish_auth", auth, "verify", "token", "now", must=must)


def granted(answer: object, now: float) -> Identity | None:
    """What a verifier answered, unless it has ended.

    Raises TypeError for what is no answer: a text is no list of patterns.
    """
    if not isinstance(answer, Identity | None):
        try:
            answer = Identity(None, answer)  # type: ignore[arg-type]
        except FieldError:
            kind = type(answer).__name__
            why = f"verify must return patterns of channels, an Identity or None, not {kind}"
            raise TypeError(why) from None
    return None if answer is None or (answer.expires is not None and answer.expires <= now) else answer


def _life(max_age: object) -> float | None:
    if max_age is None:
        return None
    if isinstance(max_age, bool) or not isinstance(max_age, int | float) or not 0 < max_age < math.inf:
        raise ConfigError("max_age", "must be a positive number of seconds, or None", max_age)
    return max_age
