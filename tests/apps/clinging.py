"""``apps.hello`` of an application whose children and calls keep what a worker has open."""

import os
import time

from .hello import app as hello


def block():
    """As no application should."""
    time.sleep(60)
    os._exit(1)


async def app(scope, receive, send):
    """``/child`` leaves a child with all that is open here; ``/stuck`` is a call that does not return."""
    path = scope.get("path")
    if path == "/stuck" or (path == "/child" and not os.fork()):
        block()
    await hello(scope, receive, send)
