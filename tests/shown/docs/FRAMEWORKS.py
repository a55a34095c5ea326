"""What docs/FRAMEWORKS.md does not show."""

import secrets
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import transaction
from fastapi import FastAPI, Request
from litestar import Litestar, asgi, post
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.serialization import decode_json
from litestar.stores.memory import MemoryStore
from litestar.types import Receive, Scope, Send
from starlette.middleware.sessions import SessionMiddleware

from sse_edge import SignedCookie
from sse_edge.cookies import DjangoSession, FlaskSession, StarletteSession
from sse_edge.django import on_commit

SECRET = "8d0f4c of the tests"
REDIS = "redis://127.0.0.1:6379/0"
auth = SignedCookie(SECRET)
api = FastAPI()
sessions = ServerSideSessionConfig()
store = MemoryStore()


class Order:
    """A model of Django's."""

    objects: Any


def may_read(user: str | None, channel: str) -> bool:
    """Who may read what."""
    return channel == f"user:{user}"


@post("/logout")
async def logout() -> None:
    """The end of a session."""
