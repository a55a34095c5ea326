"""How much of a request is read.  More is refused by its length, before anything of it is looked at.

A server in front may have smaller bounds, and most that speak ASGI have none: what takes time for every
byte, such as a cookie header, would be a way to stop every stream of a worker.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from ..outcome import BAD_REQUEST, Refusal

if TYPE_CHECKING:
    from ..asgi import Request

MAX_COOKIE = 16_384
"""Bytes of all cookies: four times what browsers allow one of them, and as much as nginx and Node take."""

MAX_TEXT = 8_192
"""Bytes of the path, of the query string, and of each other header that is read, repetitions included."""

MAX_HEADERS = 512
"""Header fields.  HTTP/2 may send each cookie as a field of its own (RFC 9113, section 8.2.3)."""

_BOUNDS = {
    b"cookie": MAX_COOKIE,
    b"accept": MAX_TEXT,
    b"host": MAX_TEXT,
    b"last-event-id": MAX_TEXT,
    b"origin": MAX_TEXT,
    b"sec-fetch-mode": MAX_TEXT,
    b"sec-fetch-site": MAX_TEXT,
    b"x-forwarded-for": MAX_TEXT,
    b"x-forwarded-proto": MAX_TEXT,
}


def oversized(request: Request) -> Refusal | None:
    """Why a request is too large to be read, or None if it is not.  Costs the same for every length."""
    count = len(request.headers)
    if count > MAX_HEADERS:
        return BAD_REQUEST.because(f"{count} header fields, and {MAX_HEADERS} are read at most")
    for what, size in (("path", len(request.path)), ("query string", len(request.query_string))):
        if size > MAX_TEXT:
            return _too_long(f"the {what}", size, MAX_TEXT)
    if sum([len(value) for _, value in request.headers]) > MAX_TEXT:  # hardly ever
        return _by_name(request)
    return None


def legible(request: Request) -> Request:
    """What an oversized request is answered and logged by: its headers that are read and are not too long.

    So a page of an allowed origin can see what is wrong.  Of too many headers none is looked at.
    """
    if len(request.headers) > MAX_HEADERS:
        return replace(request, headers=())
    sizes = _sizes(request)
    headers = [pair for pair in request.headers if sizes[pair[0]] <= _BOUNDS.get(pair[0], -1)]
    return replace(request, headers=tuple(headers))


def _sizes(request: Request) -> Counter[bytes]:
    sizes = Counter[bytes]()
    for name, value in request.headers:
        sizes[name] += len(value)
    return sizes


def _by_name(request: Request) -> Refusal | None:
    sizes = _sizes(request)
    for name, most in _BOUNDS.items():
        if sizes[name] > most:
            return _too_long(name.decode().title(), sizes[name], most)
    return None


def _too_long(what: str, size: int, most: int) -> Refusal:
    return BAD_REQUEST.because(f"{what} has {size} bytes, and {most} are read at most")
