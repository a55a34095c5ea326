"""Which other URLs a request wants on the same response, each as the request that it would be alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

from ..outcome import BAD_REQUEST, Refusal
from .polling import is_poll

if TYPE_CHECKING:
    from ..asgi import Request

MOST = 15
"""URLs beside a request's own.  The bound on a query string allows for no more of usual length either."""

LAST_EVENT_ID = b"last-event-id"

_PARAMETER = re.compile(rb"(?:\A|&)also=([^&]*)")
_TARGET = re.compile(rb"/[!-~]*")


class Target(NamedTuple):
    """A URL on this server as a request line has it: its ``path`` still encoded."""

    path: str
    query: bytes


def asks_others(request: Request) -> bool:
    """Whether other URLs are wanted on its response."""
    return b"also=" in request.query_string and _PARAMETER.search(request.query_string) is not None


def unjoinable(request: Request) -> Refusal | None:
    """Why a response has no room for others beside it, or None.  Looks at none of them."""
    if not asks_others(request):
        return None
    count = len(_PARAMETER.findall(request.query_string))
    if count > MOST:
        return BAD_REQUEST.because(f"also: {count} URLs, and {MOST} are joined at most")
    if is_poll(request):
        return BAD_REQUEST.because("also: a poll has one answer, and cannot be joined")
    return None


def alone(request: Request) -> Request:
    """The request without what it wants besides."""
    if not asks_others(request):
        return request
    return replace(request, query_string=_PARAMETER.sub(b"", request.query_string).removeprefix(b"&"))


def others(request: Request, path_of: Callable[[str], str | None]) -> list[Request | Refusal]:
    """What it wants besides, in order: requests with the same headers, or why one is none.

    A Last-Event-ID is the request's own; the others have theirs in their queries, which is always taken.
    ``path_of`` makes of a URL's encoded path what a request for it has, or None where that is not answered
    here.
    """
    own = alone(request)
    headers = tuple([pair for pair in request.headers if pair[0] != LAST_EVENT_ID])
    known = {(own.path, own.query_string)}
    found: list[Request | Refusal] = []
    for said in _PARAMETER.findall(request.query_string):
        one = _read(said, path_of)
        if isinstance(one, Target):
            other = replace(own, path=one.path, query_string=one.query, headers=headers)
            found.append(_judged(other, said, known))
            known.add((one.path, one.query))
        else:
            found.append(one)
    return found


def _read(said: bytes, path_of: Callable[[str], str | None]) -> Target | Refusal:
    text = unquote_to_bytes(said)
    if not _TARGET.fullmatch(text) or b"#" in text:
        return _refused(said, "is no path and query of a URL")
    path, _, query = text.partition(b"?")
    there = path_of(path.decode())
    return _refused(said, "is not answered here") if there is None else Target(there, query)


def _judged(other: Request, said: bytes, known: set[tuple[str, bytes]]) -> Request | Refusal:
    if (other.path, other.query_string) in known:
        return _refused(said, "is there already")
    if asks_others(other):
        return _refused(said, "has an also of its own")
    if is_poll(other):
        return _refused(said, "is a poll, which cannot be joined")
    pairs = parse_qsl(other.query_string.decode("latin-1"))
    places = [each for name, each in pairs if name == "last_event_id"]
    if len(places) == 1:
        place = (LAST_EVENT_ID, places[0].encode())
        return replace(other, headers=(*other.headers, place))
    return other


def _refused(said: bytes, why: str) -> Refusal:
    """A path is told, and no query, which may hold a token: the log has this too."""
    path = unquote(said.decode("latin-1")).partition("?")[0]
    return BAD_REQUEST.because(f"also: {path[:200]!r} {why}")
