"""How a request has arrived here, past all that is in front: told to ``sse-edge doctor`` alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..asgi import Request
    from ..identity import Identity
    from .address import TrustedProxies

DOCTOR = "sse-edge-doctor"
"""A pattern that the doctor's own cookie has among its channels.

Whoever can put it there has the application's secret.  No channel is called so, and a user who may read all
of them, by ``*``, is not told either.
"""

NAME = b"edge-arrival"
"""The header of the answer."""

MOST = 500
"""Characters of X-Forwarded-For that are repeated."""


def is_told(identity: Identity) -> bool:
    """Whether this is the doctor."""
    return DOCTOR in identity.channels


def header(
    request: Request, proxies: TrustedProxies, *, http: str, pid: int, present: int, now: float
) -> tuple[bytes, bytes]:
    """The address that is counted, the peer's, and what it said; in which HTTP it came; who answers, how many
    streams its user has here, and the Unix time.  As JSON.
    """
    told: dict[str, Any] = {
        "address": proxies.client(request),
        "peer": request.peer or "unix",
        "forwarded": ", ".join(request.all(b"x-forwarded-for"))[:MOST],
        "scheme": proxies.scheme(request),
        "http": http,
        "pid": pid,
        "present": present,
        "now": now,
    }
    return NAME, json.dumps(told).encode()
