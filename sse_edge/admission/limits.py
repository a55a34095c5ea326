"""How many streams, and how fast new ones come, per user, per address and per worker."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItem, parse_many
from limits.aio.strategies import SlidingWindowCounterRateLimiter as SharedSlidingWindow

from ..backends.base import AloneError, Leases, Turnstile
from ..errors import ConfigError
from ..logline import about, refuses
from .settings import whole

logger = logging.getLogger("sse_edge")

AWAY = 5.0
"""Seconds before a shared storage that failed is asked again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on open streams, and a rate for new ones; a limit that is ``None`` is off.

    With Redis all but ``per_worker`` hold over all workers.  ``connects_per_ip`` reads
    ``<number>/<second|minute|hour|day>``, such as ``300/minute``, and so does ``publishes``, for
    requests to ``publish_path``; those with a wrong token are connects of their address.  Raises ConfigError.
    """

    per_user: int | None = 10
    per_ip: int | None = 100
    per_worker: int | None = 15_000
    connects_per_ip: str | None = "300/minute"
    publishes: str | None = "6000/minute"

    def __post_init__(self) -> None:
        for name in ("per_user", "per_ip", "per_worker"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name))
        for name in ("connects_per_ip", "publishes"):
            if getattr(self, name) is not None:
                _rate(getattr(self, name), name)

    @classmethod
    def of(cls, given: object) -> Limits:
        """Those that are given, or the usual ones for None.  Raises ConfigError."""
        if given is not None and not isinstance(given, Limits):
            raise ConfigError("limits", "must be Limits(…)", given)
        return given or cls()

    def caps(self, user: str | None, address: str) -> list[tuple[str, int]]:
        """The subjects of which a stream takes a slot each, and how many each may have."""
        caps = []
        if self.per_user is not None and user is not None:
            caps.append((f"user:{user}", self.per_user))
        if self.per_ip is not None:
            caps.append((f"ip:{address}", self.per_ip))
        return caps


class ConnectRate:
    """Counts attempts to connect, per address, over a window that slides along; in this process.

    Or anything else, by a text that says whose it is.
    """

    def __init__(self, rate: str | None) -> None:
        self.rate = None if rate is None else _rate(rate)
        self._windows = None if self.rate is None else _Windows(self.rate.amount, self.rate.get_expiry())

    def hit(self, address: str) -> float | None:
        """Count one attempt; None if it is allowed, else the seconds until one will be."""
        if self.rate is None or self._windows is None or self._windows.hit(address, time.time()):
            return None
        return _wait(self.rate, self._windows.of(address, time.time()))


class SharedConnectRate:
    """A connect rate that all workers count together.

    ``windows`` is the storage of the limits library in which they do.  While that is away, and without
    one, attempts count in this process (``degraded`` tells).  ``leases`` that are a ``Turnstile`` may count
    for it.  ``what`` is counted, as the log calls it.
    """

    def __init__(
        self, local: ConnectRate, windows: Any = None, leases: Leases | None = None, what: str = "connects"
    ) -> None:
        self._what = what
        self._local = local
        self._windows = windows
        self._limiter = None if windows is None else SharedSlidingWindow(windows)
        self._turnstile = leases if isinstance(leases, Turnstile) and hasattr(windows, "attempt") else None
        self._away_until = 0.0
        self.degraded = False

    async def hit(self, address: str) -> float | None:
        """See ``ConnectRate.hit``."""
        rate = self._local.rate
        if rate is None or self._limiter is None or time.monotonic() < self._away_until:
            return self._local.hit(address)
        try:
            wait = None
            if not await self._limiter.hit(rate, address):
                key = rate.key_for(address)
                wait = _wait(rate, await self._windows.get_sliding_window(key, rate.get_expiry()))
        except Exception as error:  # noqa: BLE001 - each storage raises what its driver raises
            self._away_until = time.monotonic() + AWAY
            if not self.degraded:
                self.degraded = True
                extra = about("limits-alone", limits=self._what, detail=str(error))
                text = "%s are counted in this worker alone while Redis %s"
                logger.warning(text, self._what, refuses(error), extra=extra)
            return self._local.hit(address)
        self._answered()
        return wait

    @property
    def has_turnstile(self) -> bool:
        """Whether ``enter`` is one step at the moment."""
        if self._turnstile is None or self._local.rate is None or self._turnstile.degraded:
            return False
        return time.monotonic() >= self._away_until

    async def enter(self, address: str, caps: Sequence[tuple[str, int]]) -> float | str | None:
        """Count one attempt, and take one slot of every ``(subject, cap)``, in one step.

        None if it may come in; else the seconds until an attempt is allowed, or the subject that is full.
        Where the step fails, each is done by itself.  Raises BackendError.
        """
        rate, turnstile = self._local.rate, self._turnstile
        assert rate is not None
        assert turnstile is not None
        attempt = self._windows.attempt(rate.key_for(address), rate.amount, rate.get_expiry())
        try:
            answer = await turnstile.enter(attempt, caps)
        except AloneError:
            wait = await self.hit(address)
            return await turnstile.acquire(caps) if wait is None else wait
        self._answered()
        return _wait(rate, answer) if isinstance(answer, tuple) else answer

    def _answered(self) -> None:
        if self.degraded and time.monotonic() >= self._away_until:
            self.degraded = False
            extra = about("limits-shared", limits=self._what)
            logger.warning("Redis counts %s again", self._what, extra=extra)


def _wait(rate: RateLimitItem, window: tuple[int, float, int, float]) -> float:
    """Seconds until one more attempt fits: what ``get_window_stats`` says is too little when the
    current window is full."""
    previous, previous_left, current, current_left = window
    free = rate.amount - current
    length = rate.get_expiry()
    if previous and free > 0:
        # What is left of the previous window weighs less by the second, until it leaves room for one.
        return max(0.0, previous_left - free * length / previous)
    return current_left - length


class _Windows:
    """Hits by address in windows of ``length`` seconds, of which ``amount`` are allowed in the time of one.

    What the limits library has for it (5.8) starts a thread for almost every hit, to look through every key
    for expired ones: 1.3 ms of CPU per connection at 15,000 addresses.  Here each doubling of the keys looks
    once.  Times are Unix seconds.
    """

    def __init__(self, amount: int, length: int) -> None:
        self._amount = amount
        self._length = length
        self._known: dict[str, tuple[int, int, int]] = {}  # its number, hits in it, hits in the one before
        self._sweep_at = 1024

    def hit(self, address: str, now: float) -> bool:
        """Whether one more is allowed; then it is counted."""
        window, current, previous, passed = self._window(address, now)
        if math.floor(previous * (1 - passed) + current) >= self._amount:
            return False
        self._known[address] = (window, current + 1, previous)
        if len(self._known) > self._sweep_at:
            self._known = {old: kept for old, kept in self._known.items() if kept[0] >= window - 1}
            self._sweep_at = max(1024, 2 * len(self._known))
        return True

    def of(self, address: str, now: float) -> tuple[int, float, int, float]:
        """Hits and seconds left of the window before this one, then of this one, as the library says them."""
        _, current, previous, passed = self._window(address, now)
        length = self._length
        return previous, (1 - passed) * length if previous else 0.0, current, (2 - passed) * length

    def _window(self, address: str, now: float) -> tuple[int, int, int, float]:
        """The number of the window, the hits in it and in the one before, how much of it has passed."""
        number, passed = divmod(now / self._length, 1)
        window = int(number)
        last, current, previous = self._known.get(address, (window, 0, 0))
        if last < window:
            current, previous = 0, current if last == window - 1 else 0
        return window, current, previous, passed


def _rate(text: str, field: str = "connects_per_ip") -> RateLimitItem:
    try:
        rates = parse_many(text)
    except ValueError:
        raise ConfigError(field, 'must read like "300/minute"', text) from None
    if len(rates) != 1 or rates[0].amount < 1:
        raise ConfigError(field, "must be one rate, of 1 or more; None is off", text)
    return rates[0]
