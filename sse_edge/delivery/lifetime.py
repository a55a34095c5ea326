"""How long a stream lives and how often it speaks: numbers only, time and chance are arguments."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError
from ..outcome import MAX_DURATION, SESSION_EXPIRED, Ending

NEVER = float("inf")
LONGEST = 31_536_000.0
"""A year: a longer setting is a mistake in units."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The time settings of streams, in seconds.

    ``keep_alive``: a comment is sent when nothing else was for this long (None: never).
    ``max_duration``: the longest life of a stream (None: as long as its session).  ``retry``: how
    long clients wait before they reconnect, on average.  ``reauthorize_every``: how often a stream's
    right to its channels is asked again (None: never).
    """

    keep_alive: float | None = 15.0
    max_duration: float | None = 1800.0
    retry: float = 3.0
    reauthorize_every: float | None = 300.0

    def __post_init__(self) -> None:
        for field in ("keep_alive", "max_duration", "retry", "reauthorize_every"):
            value: object = getattr(self, field)
            if value is None and field != "retry":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST:
                raise ConfigError(field, "must be a positive number of seconds, at most a year", value)

    def deadline(self, remaining: float | None, chance: float) -> tuple[float, Ending]:
        """Seconds a new stream may live, and what its ending will be called.

        ``remaining`` is what is left of its session (None: no end); ``chance`` in [0, 1) spreads the
        maximum duration over 80 to 100 % of the setting, so that streams that began together do not
        end together.
        """
        limit = NEVER if self.max_duration is None else self.max_duration * (0.8 + 0.2 * chance)
        if remaining is not None and remaining < limit:
            return max(0.0, remaining), SESSION_EXPIRED
        return limit, MAX_DURATION

    def silence(self, chance: float) -> float:
        """Seconds of silence before a keep-alive: 80 to 100 % of the setting.

        A broadcast makes all streams fall silent in one moment; the spread keeps their keep-alives
        from falling into one moment too.
        """
        return NEVER if self.keep_alive is None else self.keep_alive * (0.8 + 0.2 * chance)

    def recheck(self, chance: float) -> float:
        """Seconds until a stream's right is asked again: 80 to 100 % of the setting, so that streams
        that began together do not ask together.
        """
        return NEVER if self.reauthorize_every is None else self.reauthorize_every * (0.8 + 0.2 * chance)

    def retry_ms(self, chance: float) -> int:
        """Milliseconds for a ``retry:`` line: 50 to 150 % of the setting, never 0.

        Browsers wait exactly this long, without jitter of their own, and take 0 at its word.
        """
        return max(1, round(self.retry * 1000 * (0.5 + chance)))
