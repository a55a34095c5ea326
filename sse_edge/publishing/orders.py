"""Orders to all workers: whose streams end, and which session is refused from now on."""

from __future__ import annotations

import json
import math

from ..backends.base import CONTROL, Outgoing
from ..errors import EventError
from ..event import Event

_NAMELESS = (
    'has no name: put session["sid"] = token_urlsafe(16) into it at sign-in; '
    "without one, disconnect(user=…) ends streams and refuses nothing"
)


def disconnection(user: str | None, channel: str | None, session: str | None) -> Outgoing:
    """To end the streams of whichever is given.  Raises EventError."""
    name, value = check_one_of(user=user, channel=channel, session=session)
    return _order({name: value})


def revocation(session: str, until: float) -> Outgoing:
    """To end the streams of a session and refuse it until then, in Unix seconds."""
    return _order({"session": session, "until": until})


def _order(order: dict[str, object]) -> Outgoing:
    return Outgoing(CONTROL, Event(json=order).encode())


def read(frame: bytes) -> tuple[str, str, float | None]:
    """Whom an order is about, by which name, and until when a session is revoked.

    Raises ValueError for what is none, RecursionError for too deep and OverflowError for too large a one.
    """
    message = json.loads(frame.partition(b"data: ")[2])
    if not isinstance(message, dict):
        raise ValueError("not an object")
    given = [(key, message[key]) for key in ("user", "channel", "session") if key in message]
    if len(given) != 1 or not isinstance(given[0][1], str):
        raise ValueError("not one user, channel or session")
    ((name, value),) = given
    if "until" not in message:
        return name, value, None
    until = message["until"]
    if name != "session" or type(until) not in (int, float) or not math.isfinite(until):
        raise ValueError("not a session until a time")
    return name, value, float(until)


def check_revocation(session: str | None, max_age: float | None) -> str:
    """The session, if it has a name and ``max_age`` is one.  Raises EventError."""
    if not session:
        raise EventError("session", _NAMELESS, session)
    check_one_of(session=session)
    if max_age is not None and (
        isinstance(max_age, bool) or not isinstance(max_age, (int, float)) or not 0 < max_age < 1e9
    ):
        raise EventError("max_age", "must be a positive number of seconds", max_age)
    return session


def check_one_of(**given: str | None) -> tuple[str, str]:
    """The name and value of the one argument that was given.  Raises EventError."""
    chosen = [(name, value) for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise EventError(" or ".join(given), "must be given, and only one of them", given)
    ((name, value),) = chosen
    if not isinstance(value, str) or not value:
        raise EventError(name, "must be a non-empty string", value)
    return name, value
