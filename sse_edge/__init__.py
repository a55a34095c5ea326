"""Server-Sent Events for any ASGI app: who may listen, what they hear, and nothing lost unnoticed."""

from .admission.authenticator import AnyOf
from .admission.channel import Channel
from .admission.cookies import Anonymous, SignedCookie
from .admission.limits import Limits
from .admission.publish_token import PublishToken
from .admission.source import Source
from .backends.memory import MemoryBackend
from .backends.redis import RedisBackend
from .backends.retention import Retention
from .errors import BackendError, ConfigError, EventError, PublishError
from .event import Event
from .identity import Identity
from .jsonlines import JSONLines
from .middleware import SSEMiddleware
from .pattern import literal
from .publishing.publisher import Publisher
from .publishing.sync_publisher import SyncPublisher
from .publishing.writer import Written
from .refusals import LogSample
from .stored import StoredEvent

__all__ = [
    "Anonymous",
    "AnyOf",
    "BackendError",
    "Channel",
    "ConfigError",
    "Event",
    "EventError",
    "Identity",
    "JSONLines",
    "Limits",
    "LogSample",
    "MemoryBackend",
    "PublishError",
    "PublishToken",
    "Publisher",
    "RedisBackend",
    "Retention",
    "SSEMiddleware",
    "SignedCookie",
    "Source",
    "StoredEvent",
    "SyncPublisher",
    "Written",
    "literal",
]
