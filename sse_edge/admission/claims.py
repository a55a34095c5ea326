"""What a session or a token says of who asks: which entries name the user, the sign-in and channels."""

from __future__ import annotations

import hashlib
import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from traceback import walk_tb
from typing import Any
from uuid import UUID

from ..errors import ConfigError, FieldError
from ..identity import Identity
from ..logline import about
from ..logline import value as written
from .callback import check_answers, check_takes, is_async
from .text import is_text

log = logging.getLogger("sse_edge")

Said = Mapping[str, Any]
"""A session's entries, or a token's claims."""

Entry = str | Callable[[Said], Any]
"""A key, or a function of all that is said; what it does not find there (a LookupError) is not said."""


class Claims:
    """Reads an Identity.

    ``user`` gives text, a whole number or a UUID; None, False or nothing is nobody, as in the session of a
    visitor.  ``session`` gives what names the sign-in, the first of several keys that is there; ``channels``,
    where it is not None, a list of patterns.  Raises ConfigError.
    """

    def __init__(self, user: Entry, session: Entry | tuple[str, ...], channels: Entry | None) -> None:
        self.user = _entry("user", user)
        keys = session if isinstance(session, tuple) else (session,)
        self._sessions = [_entry("session", key) for key in keys]
        self.channels = None if channels is None else _entry("channels", channels)
        self._told: set[str] = set()

    def identity(self, said: Said, expires: float | None, session: str | None = None) -> Identity | None:
        """Who it says; None for nobody.

        ``session`` is what the sign-in is called where it says no name itself.  What names its user by what
        can name none, or is not what the functions are made for, is nobody's, and logged once for each way.
        """
        try:
            user = _name("user", _said(self.user, said))
            if user is None:
                return None
            channels = None if self.channels is None else _said(self.channels, said)
            named = self.session(said) or session
            return Identity(user, () if channels is None else channels, named, expires)
        except (TypeError, AttributeError, FieldError) as error:
            self._tell(error)
            return None

    def session(self, said: Said) -> str | None:
        """What it says that the sign-in is called."""
        names = (_name("session", _said(entry, said)) for entry in self._sessions)
        return next((name for name in names if name is not None), None)

    def _tell(self, error: Exception) -> None:
        reason = _reason(error)
        if reason not in self._told:
            self._told.add(reason)
            text = "a session or a token was signed that names nobody: %s; this is said once"
            log.error(text, reason, extra=about("names-nobody", detail=reason))

    def said(self, user: str, session: str, channels: Sequence[str]) -> dict[str, Any]:
        """What would be read as these.  Raises ConfigError where functions read it."""
        made: dict[str, Any] = {}
        for name, entry, value in (
            ("session", next(iter(self._sessions), None), session),
            ("channels", self.channels, list(channels)),
            ("user", self.user, user),
        ):
            if isinstance(entry, str):
                made[entry] = value
            elif name == "channels" and channels and entry is None:
                why = 'are not read here: give channels="channels", or sign in without channels'
                raise ConfigError(name, why, channels)
            elif name == "user" or (name == "channels" and channels):
                raise ConfigError(name, "a function reads them, of which nobody knows what it would find")
        return made


def digest(*parts: object) -> str:
    """What stands for these, in 132 bits."""
    text = json.dumps(parts, default=str).encode()
    return urlsafe_b64encode(hashlib.sha256(text).digest()).decode()[:22]


def _entry(field: str, entry: object) -> Entry:
    if isinstance(entry, str) and entry:
        return entry
    if callable(entry) and not is_async(entry):
        check_takes(field, entry, "session")
        check_answers(field, entry)
        return entry
    raise ConfigError(field, "must be a key, or a function that is not async", entry)


def _said(entry: Entry, said: Said) -> Any:
    if isinstance(entry, str):
        return said.get(entry)
    try:
        return entry(said)
    except LookupError:
        return None


def _reason(error: Exception) -> str:
    """Nothing of what was said, which may be anything."""
    if isinstance(error, FieldError):
        return f"{error.field} {error.why}"
    *_, (frame, line) = walk_tb(error.__traceback__)
    return f"{type(error).__name__} at {written(frame.f_code.co_filename)}:{line}"


def _name(what: str, value: object) -> str | None:
    if value is None or value is False:
        return None
    if type(value) is int or isinstance(value, UUID):
        value = str(value)
    if not isinstance(value, str):
        raise FieldError(what, f"must be text or a whole number, not {type(value).__name__}")
    return value if is_text(value) else None
