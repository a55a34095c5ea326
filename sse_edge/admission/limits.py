"""How many streams, and how fast new ones come, per user, per address and per worker."""

from __future__ import annotations

import time
from dataclasses import dataclass

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from ..errors import ConfigError
from .settings import whole


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on open streams, and a rate for new ones; a limit that is ``None`` is off.

    ``per_user`` and ``per_ip`` hold over all workers, ``per_worker`` and ``connects_per_ip`` within
    one.  ``connects_per_ip`` reads ``<number>/<second|minute|hour|day>``, such as ``300/minute``.
    Raises ConfigError.
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
    """Counts attempts to connect, per address, over a window that slides along."""

    def __init__(self, rate: str | None) -> None:
        self._rate = None if rate is None else _rate(rate)
        self._storage = _Memory()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    def hit(self, address: str) -> float | None:
        """Count one attempt; None if it is allowed, else the seconds until one will be."""
        if self._rate is None or self._limiter.hit(self._rate, address):
            return None
        window = self._rate.get_expiry()
        previous, previous_left, current, current_left = self._storage.get_sliding_window(
            self._rate.key_for(address), window
        )
        free = self._rate.amount - current
        if previous and free > 0:
            # What is left of the previous window weighs less by the second, until it leaves room for one.
            return max(0.0, previous_left - free * window / previous)
        return current_left - window


class _Memory(MemoryStorage):
    # The parent starts a thread for almost every hit, to look through every key for expired ones: 1.3 ms
    # of CPU per connection at 15,000 addresses (limits 5.8).  Here each doubling of the keys looks once.

    def __init__(self) -> None:
        super().__init__()
        self._sweep_at = 1024

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        count = self.get(key) + amount
        self.storage[key] = count
        if count == amount:
            self.expirations[key] = time.time() + expiry
            if len(self.expirations) > self._sweep_at:
                for old in list(self.expirations):
                    self.get(old)  # forgets what has expired
                self._sweep_at = max(1024, 2 * len(self.expirations))
        return count


def _rate(text: str) -> RateLimitItem:
    try:
        rates = parse_many(text)
    except ValueError as error:
        raise ConfigError("connects_per_ip", 'must read like "300/minute"', text) from error
    if len(rates) != 1 or rates[0].amount < 1:
        raise ConfigError("connects_per_ip", "must be one rate, of 1 or more; None is off", text)
    return rates[0]
