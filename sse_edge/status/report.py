"""What a worker says of itself with each heartbeat, for ``sse-edge top`` and ``sse-edge doctor``."""

from __future__ import annotations

import json
import os
import platform
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from ..admission.authenticator import AnyOf
from ..asgi_server import Server
from ..backends.base import Backend
from ..backends.reports import Report
from ..delivery.hub import Hub
from ..delivery.ranking import busiest, slowest
from ..figures import Figures, complete
from ..logline import sentence

MOST = 20
"""Channels, and slow streams, that are named."""

LONGEST = 256
"""Characters of a name or a path."""

CHANNELS = 4
"""Channels that are named of a stream."""


class Reporter:
    """Composes the reports of one worker, which began now.

    ``settings`` are the edge's, and ``figures`` tells the worker's.
    """

    def __init__(self, path: str, settings: Mapping[str, Any], figures: Callable[[], Figures]) -> None:
        self._settings = settings
        self._figures = figures
        self._worker = {
            "name": secrets.token_hex(8),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": version("sse_edge"),
            "python": platform.python_version(),
            "began": time.time(),
            "path": path,
        }

    async def report(self, hub: Hub, server: Server | None) -> Report:
        """The report as of now.  Others get turns meanwhile, however many streams there are."""
        channels = await busiest(hub.census, MOST)
        behind = await slowest(hub.streams, MOST, lambda: hub.now)
        return {
            "worker": {**self._worker, "server": server.name if server else "", "now": time.time()},
            "settings": {
                **self._settings,
                "grace": server.grace if server else None,
                "warnings": [sentence(one) for one in server.warnings] if server else [],
            },
            "figures": complete(self._figures()),
            "channels": [[_short(channel), count] for channel, count in channels],
            "slowest": [
                {
                    "user": None if one.stream.user is None else _short(one.stream.user),
                    "address": one.stream.address,
                    "path": _short(one.stream.path),
                    "channels": [_short(channel) for channel in one.stream.channels[:CHANNELS]],
                    "unsent": one.unsent,
                    "waits": round(one.waits, 1),
                }
                for one in behind
            ],
        }


def application(path: str, plan: object, auth: object) -> str:
    """What tells two applications apart that use one Redis: a hash of what they are made of, the ``plan`` of
    their routes and what kind of authenticator they have, or each of several, with the name of its cookie."""
    each = auth.each if isinstance(auth, AnyOf) else (auth,)
    kinds = [(type(one).__qualname__, str(getattr(one, "name", ""))) for one in each]
    return sha256(json.dumps([path, plan, kinds]).encode()).hexdigest()[:16]


def kept(backend: Backend) -> dict[str, float | None]:
    """How much is kept, as this worker was told."""
    events, seconds = backend.said.default if backend.said is not None else (None, None)
    return {"history": events, "history_ttl": seconds}


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
