"""A whole answer of the app to a plain request."""

from __future__ import annotations

import json
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from ..asgi import Headers


@dataclass(frozen=True, slots=True)
class Response:
    """``status``, ``headers`` (pairs of bytes, as ASGI has them) and ``body`` of an answer."""

    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """What the body says as JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str:
        """The first value of a header, or ""."""
        return first(self.headers, name)


def first(headers: Headers, name: str) -> str:
    """The first value of a header, or ""."""
    wanted = name.lower().encode()
    return next((value.decode("latin-1") for key, value in headers if key.lower() == wanted), "")


def keep_cookies(headers: Headers, cookies: MutableMapping[str, str]) -> None:
    """Set and forget what an answer's Set-Cookie headers say; names alone count, and no path or domain."""
    for key, value in headers:
        if key.lower() != b"set-cookie":
            continue
        pair, *attributes = value.decode("latin-1").split(";")
        name, _, text = pair.strip().partition("=")
        if any(map(_is_past, attributes)):
            cookies.pop(name, None)
        else:
            cookies[name] = text


def _is_past(attribute: str) -> bool:
    name, _, value = (part.strip() for part in attribute.partition("="))
    try:
        if name.lower() == "max-age":
            return int(value) <= 0
        return name.lower() == "expires" and parsedate_to_datetime(value).timestamp() <= time.time()
    except ValueError:
        return False
