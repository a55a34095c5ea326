"""A sound app, as ``edge``, and with it whatever is planted: settings come from the environment as JSON.

``BACKEND`` is the backend's URL and ``REDIS`` more of RedisBackend's settings, ``LIMITS`` are Limits', and
``SETTINGS`` more of SSEMiddleware's.  ``SKEW``: seconds that this process's clock is ahead.  ``VERSION``:
another one that it says it has.  Users are let in by ``AUTH``'s cookies, or with ``ANYONE`` anybody is.
"""

import importlib.metadata
import json
import os
import time

EARLY = {"SKEW", "VERSION"}
"""What is there before sse_edge is imported: for a new process, and none that is forked."""

SKEW = float(os.environ.get("SKEW", "0"))
if SKEW:
    _now = time.time
    time.time = lambda: _now() + SKEW
if "VERSION" in os.environ:
    importlib.metadata.version = lambda package: os.environ["VERSION"]

from sse_edge import Anonymous, Limits, RedisBackend, SignedCookie, Source, SSEMiddleware  # noqa: E402

AUTH = SignedCookie("a secret of the tests", secure=False)


def given(name):
    """A JSON object of the environment."""
    return json.loads(os.environ.get(name, "{}"))


async def ticks(request, identity, after):
    """One event, and no end."""
    import asyncio  # noqa: PLC0415

    yield "tick"
    await asyncio.sleep(3600)


def made():
    """The middleware."""
    url = os.environ.get("BACKEND", "memory://")
    backend = url if url.startswith("memory") else RedisBackend(url, **given("REDIS"))
    channels = {"/events/news": "news", "/events/orders/{id}": "order:{id}"}
    if "ANYONE" in os.environ:
        auth = Anonymous(["news", "order:*"])
    else:
        auth = AUTH
        channels |= {"/events/me": "user:{user}", "/events/ticks": Source(ticks)}
    settings = {
        "channels": channels,
        "limits": Limits(**{"per_ip": 1000, "connects_per_ip": None, **given("LIMITS")}),
        **given("SETTINGS"),
    }
    return SSEMiddleware(None, backend=backend, auth=auth, **settings)


edge = made()
