"""What docs/EVENTS.md does not show."""

import asyncio
import html
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from sse_edge import Identity
from sse_edge.asgi import Request

api = FastAPI()
session_id = "7"


class Order:
    """A model of Django's."""

    state: str
    objects: Any


async def tail(request: Request, identity: Identity, after: str | None) -> AsyncIterator[str]:
    """The lines of a log."""
    yield "packed"
