"""An app with caps, as ``edge``, for tests that count over real workers.

``BACKEND`` is Redis's URL, ``PER_USER`` and ``PER_IP`` are caps (absent: off), and ``HEARTBEAT`` is the
seconds between a worker's heartbeats.
"""

import logging
import os

from sse_edge import Limits, RedisBackend, SignedCookie, SSEMiddleware
from sse_edge.backends.redis.leases import RedisLeases

AUTH = SignedCookie("a secret of the tests", secure=False)


def _cap(name):
    return int(os.environ[name]) if name in os.environ else None


class Backend(RedisBackend):
    """A RedisBackend whose heartbeat can be chosen."""

    def leases(self):
        """See ``Backend.leases``."""
        return RedisLeases(self.server, "sse:{leases}", heartbeat=float(os.environ.get("HEARTBEAT", "5")))


logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
edge = SSEMiddleware(
    backend=Backend(os.environ.get("BACKEND", "redis://127.0.0.1:1/0")),
    auth=AUTH,
    channels={"/events/me": ["user:{user}", "news"]},
    limits=Limits(per_user=_cap("PER_USER"), per_ip=_cap("PER_IP"), connects_per_ip=None),
)
