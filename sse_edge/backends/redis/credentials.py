"""Passwords that change, such as the tokens of a cloud provider's IAM."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from ...errors import ConfigError


class Credentials(CredentialProvider):
    """Asks a provider once for each new connection, without holding up the event loop meanwhile.

    A provider is redis-py's CredentialProvider, or anything with its ``get_credentials_async()`` or
    ``get_credentials()``, which return ``(user, password)`` or ``(password,)``; the latter is called in a
    thread.  Raises ConfigError for anything else.
    """

    def __init__(self, provider: object) -> None:
        # What the base class has for it would call get_credentials on the event loop.
        asked = getattr(type(provider), "get_credentials_async", None)
        self._is_async = asked not in (None, CredentialProvider.get_credentials_async)
        name = "get_credentials_async" if self._is_async else "get_credentials"
        self._get: Any = getattr(provider, name, None)
        if isinstance(provider, type) or not callable(self._get):
            raise ConfigError(
                "credentials", "must have get_credentials or get_credentials_async", secret=True
            )

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """What AUTH is called with.  Raises AuthenticationError when the provider fails."""
        try:
            given = await self._get() if self._is_async else await asyncio.to_thread(self._get)
        except Exception as error:  # whatever somebody else's code may raise
            raise AuthenticationError(
                f"the provider of credentials failed: {type(error).__name__}"
            ) from error
        if not isinstance(given, tuple) or len(given) not in (1, 2) or not all(type(x) is str for x in given):
            raise AuthenticationError("the provider of credentials gave no (user, password) or (password,)")
        return given
