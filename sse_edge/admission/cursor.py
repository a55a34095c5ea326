"""Where a client that comes back has come to, as it says itself: in a header, or else in its query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ..event import NOWHERE, Place, is_cursor

if TYPE_CHECKING:
    from ..asgi import Request

EARLIEST = "earliest"
"""A Last-Event-ID that says of no place, but only that whatever comes first is wanted; as Mercure has it."""

UNTOLD = ""
"""What is no id that anybody here gave out, or not one alone: where its client is cannot be told."""

PARAMETERS = frozenset({b"last_event_id", b"lastEventId", b"lastEventID"})
"""The two latter are what polyfills send, and Mercure's clients."""


def last_id(request: Request, *, takes_query: bool) -> str | None:
    """The id that a client has come to, UNTOLD, or None if it does not say any.

    A header wins over the query, and of several places of one data set there the newest.  A place in the
    query is UNTOLD unless that ``takes_query``: ignored, its client would miss events and not know.
    """
    said = {_text(text.encode("latin-1")) for text in request.all(b"last-event-id") if text}
    if said:
        return _only(said)
    if not request.query_string:  # as in almost every request
        return None
    said = {_text(value) for value in _named(request.query_string)} - {EARLIEST}
    if not said:
        return None
    if not takes_query:
        return UNTOLD
    return _only(said) if len(said) == 1 else _newest(said)


def place(id: str | None) -> Place | None:
    """The place that a client's last id is; NOWHERE for another server's, or an older release's: that it is
    unknown is said in the stream."""
    if id is None:
        return None
    try:
        return Place.parse(id)
    except ValueError:
        return NOWHERE


def _only(said: set[str]) -> str | None:
    (id,) = said if len(said) == 1 else (UNTOLD,)
    return None if id == EARLIEST else id


def _newest(said: set[str]) -> str:
    """A page has the place that it was made at in its URL, and a polyfill adds the one it has come to."""
    places = [place(id) or NOWHERE for id in said]
    # Places in different data have no order.
    return UNTOLD if NOWHERE in places or len({each.tag for each in places}) > 1 else str(max(places))


def _named(query: bytes) -> Iterator[bytes]:
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if value and (unquote_to_bytes(name) if b"%" in name else name) in PARAMETERS:
            yield unquote_to_bytes(value.replace(b"+", b" "))


def _text(said: bytes) -> str:
    """An id as browsers send it (WHATWG HTML, section 9.2.3), or UNTOLD."""
    try:
        id = said.decode()
    except UnicodeDecodeError:
        id = said.decode("latin-1")
    return id if is_cursor(id) else UNTOLD
