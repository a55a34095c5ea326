"""What README.md does not show."""

import asyncio
import html
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

from celery import Celery
from fastapi.responses import HTMLResponse
from redis.credentials import CredentialProvider

from sse_edge import Identity
from sse_edge.asgi import Request
from sse_edge.testing import client

OLD_SECRET = NEW_SECRET = "8d0f4c of the tests"
celery = Celery()
session_id = chat = prompt = "7"
url = "redis://127.0.0.1:6379/0"
provider: CredentialProvider


class Order:
    """A model of Django's."""

    state: str
    objects: Any


class model:
    """A language model's client."""

    @staticmethod
    def stream(prompt: str) -> Iterator[str]:
        """The pieces of its answer."""
        yield prompt


def may_read(identity: Identity, channel: str) -> bool:
    """Who may read what."""
    return channel == f"user:{identity.user}"


async def tail(request: Request, identity: Identity, after: str | None) -> AsyncIterator[str]:
    """The lines of a log."""
    yield "packed"
