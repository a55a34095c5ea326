"""Keys that tokens are verified by: given, or asked of the server that publishes them."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, build_opener

import jwt
from jwt.algorithms import get_default_algorithms, has_crypto, requires_cryptography
from jwt.exceptions import PyJWTError

from ...errors import ConfigError
from ...logline import about, reason, sentence, why
from ..callback import PlainError
from ..secret import checked
from ..settings import strings

log = logging.getLogger("sse_edge")
FRESH = 300.0
"""Seconds after which a key server is asked again."""

COOLDOWN = 10.0
"""Seconds between two questions at least: anybody can write a token that names a key nobody knows."""

STALE = 3600.0
"""Seconds for which keys are used while their server says nothing."""

PATIENCE = 5.0
"""Seconds for it to tell them all, and for a token to wait for that."""

MOST_BYTES = 512 * 1024
"""Bytes of a key set."""

_AT_ONCE = 3  # threads that ask, of which the older ones hang
_MOST = 64  # keys of a set
_SHORTEST = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes: RFC 7518, section 3.2
_UNFIT = (PyJWTError, ValueError, TypeError, AttributeError)


class NoKeysError(PlainError, ConnectionError):
    """A key server has told no keys, or none for so long that they are not to be used any more."""


class Key(NamedTuple):
    """What verifies tokens of one algorithm: ``id`` is the set's name for it, ``secret`` what also signs."""

    algorithm: str
    id: str | None
    prepared: Any
    secret: bytes | None = None

    def fits(self, algorithm: object, key: object) -> bool:
        """Whether a token's header may mean this one."""
        return self.algorithm == algorithm and (self.id is None or key is None or self.id == key)


def checked_algorithms(algorithms: object) -> tuple[str, ...]:
    """Names of algorithms, if tokens may be signed by all of them.  Raises ConfigError."""
    names = strings("algorithms", algorithms)
    if not names:
        raise ConfigError("algorithms", 'must name one at least, such as ["RS256"]', algorithms)
    for name in names:
        if name == "none" or name not in {*get_default_algorithms(), *requires_cryptography}:
            raise ConfigError("algorithms", "is none that tokens are signed by", name)
        if name in requires_cryptography and not has_crypto:
            raise ConfigError("algorithms", "needs cryptography: pip install 'sse_edge[jwt]'", name)
    if 0 < sum(name in _SHORTEST for name in names) < len(names):
        # Else a token could be signed by HMAC with the public key, which everybody has: RFC 8725, 2.1.
        raise ConfigError("algorithms", "must be HS… alone or none of them", algorithms)
    return names


def given(key: object, algorithms: Sequence[str], *, weak: bool) -> list[Key]:
    """Keys as they are given: secrets, public keys in PEM, or a key set (RFC 7517).  Raises ConfigError."""
    if isinstance(key, Mapping):
        found = of_set(key, algorithms)
        if not found:
            raise ConfigError("key", f"is a key set without a key for {', '.join(algorithms)}", secret=True)
        return found
    several = key if isinstance(key, list | tuple) else [key]
    if algorithms[0] in _SHORTEST:
        secrets = checked(several, weak=weak, field="key")
        least = max(_SHORTEST[name] for name in algorithms)
        if not weak and min(map(len, secrets)) < least:
            why = f"must have {least} bytes for these algorithms (RFC 7518, section 3.2)"
            raise ConfigError("key", f"{why}, unless weak_secret=True", secret=True)
        if any(_prepared(algorithms[0], secret) is None for secret in secrets):
            raise ConfigError("key", "is a public key, which is no secret", secret=True)
        return [Key(name, None, secret, secret) for secret in secrets for name in algorithms]
    found = []
    for number, one in enumerate(several, 1):
        fitting = [Key(name, None, prepared) for name in algorithms if (prepared := _prepared(name, one))]
        if not fitting:
            why = f"number {number} is no public key for {', '.join(algorithms)}"
            raise ConfigError("key", why, secret=True)
        if any(hasattr(each.prepared, "private_bytes") for each in fitting):
            raise ConfigError("key", "is a private key, and verifying takes the public one", secret=True)
        found += fitting
    if not found:
        raise ConfigError("key", "must be a key, or a list of them", secret=True)
    return found


def of_set(keys: Mapping[str, Any], algorithms: Sequence[str]) -> list[Key]:
    """The keys of a set that verify tokens of these algorithms; others in it are nobody's fault."""
    found = []
    listed = keys.get("keys")
    for one in listed[:_MOST] if isinstance(listed, list) else ():
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        for name in [name for name in algorithms if one.get("alg") in (None, name)]:
            try:
                prepared = jwt.PyJWK({**one, "alg": name}, name)
            except Exception:  # noqa: BLE001, S112 - whatever two libraries make of an odd one
                continue
            found.append(Key(name, one.get("kid"), prepared))
    return found


class KeyServer:
    """The keys that a URL has (JWKS), asked for when they are needed first, old, or one is missing.

    It is asked in a thread of its own, and meanwhile what is known is used: only whose key is not known
    waits.  While the server says nothing the last keys are used for an hour.  Raises ConfigError for what is
    no such URL.
    """

    def __init__(
        self, url: object, algorithms: Sequence[str], fetch: Callable[[], object] | None = None
    ) -> None:
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise ConfigError("jwks_url", "must be an http(s) URL", url)
        if algorithms[0] in _SHORTEST:
            raise ConfigError("algorithms", "must be of public keys where a server tells them", algorithms)
        self._fetch = fetch or (lambda: fetched(url))
        self._algorithms = algorithms
        self._lock = threading.Lock()
        self._keys: list[Key] = []
        self._asked = self._told = float("-inf")
        self._failed = False
        self._asking: Future[None] | None = None
        self._threads: list[threading.Thread] = []

    async def keys(self, algorithm: object, key: object, now: float) -> list[Key]:
        """Those that may be meant, at Unix time ``now``.  Raises NoKeysError."""
        if algorithm not in self._algorithms:
            return []
        with self._lock:
            found = self._fitting(algorithm, key)
            if (not found or _age(self._told, now) >= FRESH) and _age(self._asked, now) >= COOLDOWN:
                self._begin(now)
            asking = self._asking
            # Where nobody came for long, one that was taken back may be among them.
            holds = _age(self._told, now) < (STALE if self._failed else 2 * FRESH)
        if asking is not None and not (found and holds):
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await asyncio.wrap_future(asking)
            found = self._fitting(algorithm, key)
        if _age(self._told, now) >= STALE:
            raise NoKeysError("the server of the keys has told none")
        return found

    def _fitting(self, algorithm: object, key: object) -> list[Key]:
        return [each for each in self._keys if each.fits(algorithm, key)]

    def _begin(self, now: float) -> None:
        self._asked = now
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= _AT_ONCE:
            return
        asking: Future[None] = Future()
        asking.set_running_or_notify_cancel()  # who waits no longer cancels it for nobody
        thread = threading.Thread(target=self._ask, args=(asking, now), name="sse_edge-keys", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads here
            extra = about("keys-unread", detail=reason(error))
            log.warning("jwks_url cannot be asked: %s", why(error), extra=extra)
            return
        self._threads.append(thread)
        self._asking = asking

    def _ask(self, asking: Future[None], now: float) -> None:
        try:
            told = self._fetch()
            found = of_set(told, self._algorithms) if isinstance(told, Mapping) else []
        except Exception as error:  # noqa: BLE001 - whatever a server says, and a network does not
            self._failed = True
            extra = about("keys-unread", detail=reason(error))
            log.warning("jwks_url tells no keys: %s", why(error), extra=extra)
        else:
            self._failed = not found
            if not found:  # somebody's mistake, which would keep everybody out
                said = ", ".join(self._algorithms)
                extra = about("keys-unread", detail=f"none for {said}")
                log.warning("jwks_url tells no key for %s", sentence(said), extra=extra)
            else:
                self._take(found, now)
        finally:
            with self._lock:
                if self._asking is asking:
                    self._asking = None
            asking.set_result(None)

    def _take(self, keys: list[Key], now: float) -> None:
        with self._lock:
            if now >= self._told or _age(self._told, now):  # else one asked later has answered before
                self._keys, self._told = keys, now


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """A key server is where it was said to be: what it points to may be anything."""


def fetched(url: str) -> object:
    """What a URL has, as JSON.  Raises OSError, HTTPException, ValueError or RecursionError."""
    end = time.monotonic() + PATIENCE
    text = bytearray()
    try:
        with build_opener(_NoRedirects).open(url, timeout=PATIENCE) as response:
            while piece := response.read1(65536):
                text += piece
                if len(text) > MOST_BYTES:
                    raise ValueError(f"more than {MOST_BYTES // 1024} KiB")
                if time.monotonic() > end:
                    raise TimeoutError(f"not all of it within {PATIENCE:g} s")
    except HTTPError as error:
        error.close()
        raise
    return json.loads(text)


def _age(then: float, now: float) -> float:
    """Seconds since then; without end where the clock went back, for more than requests overtake another."""
    age = now - then
    return age if age >= 0 else 0.0 if age > -COOLDOWN else math.inf


def _prepared(algorithm: str, key: object) -> Any:
    try:
        return get_default_algorithms()[algorithm].prepare_key(key)
    except _UNFIT:
        return None
