"""Keys that tokens are verified by: given, or asked of the server that publishes them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any, NamedTuple

import jwt
from jwt.algorithms import get_default_algorithms, has_crypto, requires_cryptography
from jwt.exceptions import PyJWTError

from ...errors import ConfigError
from ...logline import value
from ..secret import checked
from ..settings import strings

log = logging.getLogger("sse_edge")
FRESH = 300.0
"""Seconds after which a key server is asked again."""

COOLDOWN = 10.0
"""Seconds between two questions at least: anybody can write a token that names a key nobody knows."""

STALE = 3600.0
"""Seconds for which keys are used while their server says nothing."""

_PATIENCE = 5.0  # seconds for it to answer
_MOST = 64  # keys of a set
_SHORTEST = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes: RFC 7518, section 3.2
_UNFIT = (PyJWTError, ValueError, TypeError, AttributeError)


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
        for name in algorithms if one.get("alg") is None else {one["alg"]}.intersection(algorithms):
            try:
                prepared = jwt.PyJWK({**one, "alg": name}, name)
            except _UNFIT:
                continue
            found.append(Key(name, one.get("kid"), prepared))
    return found


class KeyServer:
    """The keys that a URL has (JWKS), asked for when they are needed first, old, or one is missing.

    Blocks for as long as asking takes.  While the server says nothing the last keys are used for an hour.
    Raises ConfigError for what is no such URL.
    """

    def __init__(
        self, url: object, algorithms: Sequence[str], fetch: Callable[[], object] | None = None
    ) -> None:
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise ConfigError("jwks_url", "must be an http(s) URL", url)
        if algorithms[0] in _SHORTEST:
            raise ConfigError("algorithms", "must be of public keys where a server tells them", algorithms)
        client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=_PATIENCE)
        self._fetch = fetch or client.fetch_data
        self._algorithms = algorithms
        self._keys: list[Key] = []
        self._asked = self._told = float("-inf")
        self._lock = threading.Lock()

    def keys(self, algorithm: object, key: object, now: float) -> list[Key]:
        """Those that may be meant, at Unix time ``now``.  Raises OSError while the server has told none."""
        with self._lock:
            found = [each for each in self._keys if each.fits(algorithm, key)]
            if (not found or not 0 <= now - self._told < FRESH) and not 0 <= now - self._asked < COOLDOWN:
                self._asked = now
                self._ask(now)
                found = [each for each in self._keys if each.fits(algorithm, key)]
            if not 0 <= now - self._told < STALE:
                raise ConnectionError("the server of the keys has told none")
            return found

    def _ask(self, now: float) -> None:
        try:
            told = self._fetch()
        except (*_UNFIT, OSError, HTTPException) as error:
            log.warning("jwks_url tells no keys, error=%s", value(str(error)))
            return
        found = of_set(told, self._algorithms) if isinstance(told, Mapping) else []
        if found:
            self._keys, self._told = found, now
        else:  # somebody's mistake, which would keep everybody out
            log.warning("jwks_url tells no key for %s", value(", ".join(self._algorithms)))


def _prepared(algorithm: str, key: object) -> Any:
    try:
        return get_default_algorithms()[algorithm].prepare_key(key)
    except _UNFIT:
        return None
