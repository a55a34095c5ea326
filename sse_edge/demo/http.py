"""The little HTTP that the demo's own pages need, so that it needs no framework."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import resources
from urllib.parse import parse_qsl

from ..asgi import Headers, Receive, Send, respond

MAX_BODY = 4096

SECURITY: Headers = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class File:
    """A file of the package, read once; what it names as in ``places`` is named as there."""

    def __init__(self, name: str, content_type: str, places: Mapping[str, str] | None = None) -> None:
        text = resources.files(__package__).joinpath("page", name).read_text()
        for old, new in (places or {}).items():
            text = text.replace(old, new)
        self._body = text.encode()
        self._headers: Headers = [(b"content-type", content_type.encode()), *SECURITY]

    async def send(self, send: Send) -> None:
        """Answer with it."""
        await respond(send, 200, list(self._headers), self._body)


async def answer(send: Send, status: int, content: object) -> None:
    """Answer with JSON."""
    body = json.dumps(content).encode()
    await respond(send, status, [(b"content-type", b"application/json"), *SECURITY], body)


async def go_to(send: Send, place: str, cookies: Iterable[str]) -> None:
    """Answer with a redirect after a form, setting cookies."""
    headers: Headers = [(b"location", place.encode()), *SECURITY]
    headers.extend((b"set-cookie", cookie.encode()) for cookie in cookies)
    await respond(send, 303, headers)


async def form(receive: Receive) -> dict[str, str] | None:
    """A posted form's fields; None when it is too large, is not text, or the client is gone."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            return None
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=10))
    except ValueError:
        return None
