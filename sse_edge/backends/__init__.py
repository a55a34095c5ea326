"""Where events come from."""

from __future__ import annotations

from ..errors import ConfigError
from .base import Backend


def open_backend(backend: str | Backend) -> tuple[Backend, bool]:
    """The backend behind a URL, or the one given; and whether the caller is to close it.

    ``memory://`` is one backend for the whole process, ``memory://name`` another; see ``RedisBackend``
    for its URLs.  Raises ConfigError for any other.
    """
    if not isinstance(backend, str):
        if not hasattr(backend, "subscriber"):
            raise ConfigError("backend", "must be a URL or a backend object", backend)
        return backend, False
    scheme, _, rest = backend.partition("://")
    if scheme == "memory":
        from .memory import named  # noqa: PLC0415 - only what is used is imported

        return named(rest), False
    if scheme.partition("+")[0] in ("redis", "rediss", "unix"):
        from .redis import RedisBackend  # noqa: PLC0415

        return RedisBackend(backend), True
    why = "must begin with memory://, redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
    raise ConfigError("backend", why, backend, secret="@" in backend)
