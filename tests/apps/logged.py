"""An app that logs and fails in every way, as ``edge``; ``BACKEND`` comes from the environment.

Probes are below ``/probe``.  ``/say`` logs what is hard to write, ``/fail`` raises, ``/thread`` too, in a
thread of its own, and ``/warn`` warns.
"""

import logging
import os
import threading
import warnings

from sse_edge import Identity, Limits, SSEMiddleware

log = logging.getLogger("shop")


class Auth:
    """Whoever says a name in the query."""

    anonymous = False
    max_age = 3600

    def identify(self, request, now):
        user = request.query.get("user")
        return Identity(user[0]) if user else None


class Odd:
    """Cannot be printed."""

    def __str__(self):
        raise ValueError("no text")


async def authorize(identity, channel):
    raise OSError(f"authorize is broken: postgres://app:{'hunter'}2@db\nfor {identity.user}")


def fail():
    raise RuntimeError("a thread\nfailed")


async def inner(scope, receive, send):
    """Whatever is asked for, and 404."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        return
    match scope["path"]:
        case "/say":
            log.warning(
                "two\nlines\x1b[2J %s",
                "\ud800",
                extra={"odd": Odd(), "password": "s3cret", "n": float("nan")},
            )
            log.error("no %d number", "so")
            log.error("%s", "x" * 100_000, extra={"many": ["\U0001f600" * 900] * 500})
        case "/fail":
            raise ExceptionGroup("several", [ValueError("a\nb"), KeyError("c")])
        case "/thread":
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()
        case "/warn":
            warnings.warn("this is\nold", stacklevel=1)
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"not found"})


edge = SSEMiddleware(
    inner,
    backend=os.environ["BACKEND"],
    auth=Auth(),
    channels={"/events/me": "user:{user}", "/events/room/{room}": "room:{room}"},
    authorize=authorize,
    limits=Limits(connects_per_ip=None, per_ip=None),
    status_path="/probe",
    drain_window=0.5,
)
