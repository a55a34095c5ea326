"""What is loaded: ``edge``, built from the environment, and ``bare``, an app that only streams.

``BACKEND`` is the backend's URL, ``CAPS=0`` turns the limits off, ``COMPRESS=1`` has rooms compressed for
clients that take gzip; ``KEEP_ALIVE``, ``MAX_UNSENT`` and ``MAX_UNSENT_AGE`` are the settings of those names.
"""

import os
from collections.abc import Sequence

from sse_edge import Channel, Limits, SignedCookie, SSEMiddleware
from sse_edge.asgi import Receive, Scope, Send

AUTH = SignedCookie("a secret of the load tests", secure=False)


def requests(paths: Sequence[str], first: int = 0, headers: Sequence[str] = ()) -> list[bytes]:
    """A browser's request for each path, each of a user of its own; ``headers`` are more lines of all."""
    made = []
    for number, path in enumerate(paths, first):
        cookie = AUTH.issue(f"u{number}", [f"room:{path.rpartition('/')[2]}"])
        head = [
            f"GET {path} HTTP/1.1",
            "Host: localhost",
            "Accept: text/event-stream",
            "Cache-Control: no-cache",
            "Sec-Fetch-Site: same-origin",
            "Sec-Fetch-Mode: cors",
            "Sec-Fetch-Dest: empty",
            f"Cookie: session={cookie}",
            *headers,
        ]
        made.append("\r\n".join([*head, "", ""]).encode())
    return made


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """One chunk, then silence until the client leaves."""
    if scope["type"] != "http":
        raise ValueError("only http is served")
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    chunk = b": stream open\nretry: 3000\nid: 1-1\nevent: edge-position\ndata: {}\n\n"
    await send({"type": "http.response.body", "body": chunk, "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


UNLIMITED = Limits(per_user=None, per_ip=None, connects_per_ip=None)
LIMITS = Limits(per_user=6, per_ip=100_000, per_worker=100_000, connects_per_ip="1000000/minute")

edge = SSEMiddleware(
    backend=os.environ.get("BACKEND", "memory://"),
    auth=AUTH,
    channels={
        "/events/rooms/{room}": Channel("room:{room}", compress=os.environ.get("COMPRESS") == "1"),
        "/events/me": "user:{user}",
    },
    limits=UNLIMITED if os.environ.get("CAPS") == "0" else LIMITS,
    keep_alive=float(os.environ.get("KEEP_ALIVE", "15")),
    drain_window=20,
    max_unsent=int(os.environ.get("MAX_UNSENT", "1048576")),
    max_unsent_age=float(os.environ.get("MAX_UNSENT_AGE", "30")),
)
