"""A report of a worker, as others read it."""

from sse_edge.figures import complete

SAID = {
    "worker": {
        "name": "0123456789abcdef", "host": "web-1", "pid": 7, "server": "", "version": "0.1.0",
        "python": "3.13.1", "began": 1, "now": 2.5, "path": "/events",
    },
    "settings": {},
    "figures": complete({"streams": 3, "refusals": {"connect-rate": 4}}),
    "channels": [["news", 3]],
    "slowest": [
        {"user": None, "address": "::1", "path": "/", "channels": [], "unsent": 7, "waits": 1}
    ],
}  # fmt: skip
