"""Which requests are polls, and for how long each of them waits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..outcome import BAD_REQUEST, Refusal

if TYPE_CHECKING:
    from ..asgi import Request

LONGEST = 60.0
"""Seconds that a poll waits at most: proxies give up an answer that takes longer."""

_PARAMETER = re.compile(rb"(?:\A|&)poll(?:=([^&]*))?(?=&|\Z)")
_SECONDS = re.compile(rb"[0-9]{1,6}(?:\.[0-9]{1,6})?")


def is_poll(request: Request) -> bool:
    """Whether it asks for one answer and not for a stream: by ``?poll``, or by an Accept that names JSON and
    no event stream.
    """
    if request.query_string and _PARAMETER.search(request.query_string):
        return True
    accept = ",".join(request.all(b"accept")).lower()
    if "application/json" not in accept:  # as in almost every request
        return False
    accepted = {name.strip(" \t") for each in accept.split(",") for name in [each.partition(";")[0]]}
    return "application/json" in accepted and "text/event-stream" not in accepted


def tells_identity(request: Request) -> bool:
    """Whether its client wants to be told whose the answer is: by a parameter of Accept, ``identity=1``,
    which pages of other origins may send without asking first.
    """
    return "identity=1" in ",".join(request.all(b"accept"))


def malformed(request: Request) -> Refusal | None:
    """Why it cannot be said how long a poll is to wait, or None."""
    said = _said(request)
    if not said or _SECONDS.fullmatch(said):
        return None
    given = said[:20].decode("latin-1")
    return BAD_REQUEST.because(f"poll is a number of seconds, 0 to {LONGEST:.0f} (got {given!r})")


class Polling:
    """How long polls wait for something to happen: ``usual`` seconds, unless they say so themselves.

    Raises ConfigError.
    """

    def __init__(self, usual: float) -> None:
        value: object = usual
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST:
            raise ConfigError("poll_wait", f"must be a number of seconds, 0 to {LONGEST:.0f}", value)
        self._usual = usual

    def wait(self, request: Request) -> float | None:
        """Seconds that ``request`` waits; None if it is no poll."""
        if not is_poll(request):
            return None
        said = _said(request)
        return min(float(said), LONGEST) if said and _SECONDS.fullmatch(said) else self._usual


def _said(request: Request) -> bytes | None:
    match = _PARAMETER.search(request.query_string)
    return match[1] if match else None
