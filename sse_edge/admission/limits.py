"""How many streams, and how fast new ones come, per user, per address and per worker."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItem, parse_many
from limits.aio.strategies import SlidingWindowCounterRateLimiter as SharedSlidingWindow
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from ..errors import ConfigError
from ..logline import sentence
from .settings import whole

logger = logging.getLogger("sse_edge")

AWAY = 5.0
"""Seconds before a shared storage that failed is asked again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on open streams, and a rate for new ones; a limit that is ``None`` is off.

    With Redis all but ``per_worker`` hold over all workers.  ``connects_per_ip`` reads
    ``<number>/<second|minute|hour|day>``, such as ``300/minute``.  Raises ConfigError.
    """

    per_user: int | None = 10
    per_ip: int | None = 100
    per_worker: int | None = 15_000
    connects_per_ip: str | None = "300/minute"

    def __post_init__(self) -> None:
        for name in ("per_user", "per_ip", "per_worker"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name))
        if self.connects_per_ip is not None:
            _rate(self.connects_per_ip)


class ConnectRate:
    """Counts attempts to connect, per address, over a window that slides along; in this process."""

    def __init__(self, rate: str | None) -> None:
        self.rate = None if rate is None else _rate(rate)
        self._storage = _Memory()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    def hit(self, address: str) -> float | None:
        """Count one attempt; None if it is allowed, else the seconds until one will be."""
        if self.rate is None or self._limiter.hit(self.rate, address):
            return None
        return _wait(
            self.rate, self._storage.get_sliding_window(self.rate.key_for(address), self.rate.get_expiry())
        )


class SharedConnectRate:
    """A connect rate that all workers count together.

    ``windows`` is the storage of the limits library in which they do.  While that is away, and without
    one, attempts count in this process (``degraded`` tells).
    """

    def __init__(self, local: ConnectRate, windows: Any = None) -> None:
        self._local = local
        self._windows = windows
        self._limiter = None if windows is None else SharedSlidingWindow(windows)
        self._away_until = 0.0
        self.degraded = False

    async def hit(self, address: str) -> float | None:
        """See ``ConnectRate.hit``."""
        rate = self._local.rate
        loop = asyncio.get_running_loop()
        if rate is None or self._limiter is None or loop.time() < self._away_until:
            return self._local.hit(address)
        try:
            wait = None
            if not await self._limiter.hit(rate, address):
                key = rate.key_for(address)
                wait = _wait(rate, await self._windows.get_sliding_window(key, rate.get_expiry()))
        except Exception as error:  # noqa: BLE001 - each storage raises what its driver raises
            self._away_until = loop.time() + AWAY
            if not self.degraded:
                self.degraded = True
                why = sentence(str(error)) or "no answer"
                logger.warning("connects are counted in this worker alone while Redis is away (%s)", why)
            return self._local.hit(address)
        if self.degraded and loop.time() >= self._away_until:
            self.degraded = False
            logger.warning("Redis counts connects again")
        return wait


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


class _Memory(MemoryStorage):
    # The parent starts a thread for almost every hit, to look through every key for expired ones: 1.3 ms
    # of CPU per connection at 15,000 addresses (limits 5.8).  Here each doubling of the keys looks once.

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[str, tuple[int, int, int]] = {}  # its number, hits in it, hits in the one before
        self._sweep_at = 1024

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        window, current, previous, passed = self._window(key, expiry)
        if math.floor(previous * (1 - passed) + current) + amount > limit:
            return False
        self._windows[key] = (window, current + amount, previous)
        if len(self._windows) > self._sweep_at:
            self._windows = {old: kept for old, kept in self._windows.items() if kept[0] >= window - 1}
            self._sweep_at = max(1024, 2 * len(self._windows))
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        _, current, previous, passed = self._window(key, expiry)
        return previous, (1 - passed) * expiry if previous else 0.0, current, (2 - passed) * expiry

    def _window(self, key: str, expiry: int) -> tuple[int, int, int, float]:
        """The number of the window, the hits in it and in the one before, how much of it has passed."""
        number, passed = divmod(time.time() / expiry, 1)
        window = int(number)
        last, current, previous = self._windows.get(key, (window, 0, 0))
        if last < window:
            current, previous = 0, current if last == window - 1 else 0
        return window, current, previous, passed


def _rate(text: str) -> RateLimitItem:
    try:
        rates = parse_many(text)
    except ValueError:
        raise ConfigError("connects_per_ip", 'must read like "300/minute"', text) from None
    if len(rates) != 1 or rates[0].amount < 1:
        raise ConfigError("connects_per_ip", "must be one rate, of 1 or more; None is off", text)
    return rates[0]
