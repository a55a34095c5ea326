"""What users may import."""

from importlib import resources

import sse_edge

PUBLIC = [
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


def test_the_public_names_are_pinned():
    """A name enters or leaves the public face by a change of this list, and of nothing else."""
    assert sorted(sse_edge.__all__) == PUBLIC
    assert list(sse_edge.__all__) == sorted(sse_edge.__all__)


def test_every_public_name_is_there():
    """Whatever is listed in __all__ exists and says what it is."""
    for name in PUBLIC:
        assert getattr(sse_edge, name).__doc__, name


def test_the_package_ships_its_types():
    """A type checker finds py.typed next to the code."""
    assert resources.files("sse_edge").joinpath("py.typed").is_file()
