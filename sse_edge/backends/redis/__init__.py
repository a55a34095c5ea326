"""The Redis backend: the only place that imports redis."""

from .client import RedisBackend

__all__ = ["RedisBackend"]
