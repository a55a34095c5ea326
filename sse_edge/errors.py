"""Exceptions. One root; every refused value says which field and which value."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .redaction import LONGEST, is_secret, redacted

_PAYLOADS = frozenset(("data", "events", "json", "html", "complete", "failed", "stopped", "abandoned"))
"""Fields that hold what is published, which no log is to have."""

ENDS = (asyncio.CancelledError, GeneratorExit)
"""What comes out of an iterator because it has to end."""


class EdgeError(Exception):
    """Root of everything sse_edge raises on purpose."""


class FieldError(EdgeError, ValueError):
    """A value was refused where it was given.

    ``field`` names the argument, ``why`` says what is wrong, and the message is
    ``"<field>: <why> (got <value>)"``.  ``value`` is what was given, and None for secrets.  Those are never
    repeated: of a field that holds one, and of an event's data, the message names the type, and of a URL
    it leaves out the password and the query.
    """

    def __init__(self, field: str, why: str, value: object = None, *, secret: bool = False) -> None:
        self.field = field
        self.why = redacted(why)
        text = _kind(value)
        if is_secret(field) or secret:
            value = None
        elif field not in _PAYLOADS:
            given = _written(value)
            text = redacted(given)
            if len(given) <= LONGEST and text != given:
                value = None
        self.value = value
        shown = "" if secret else f" (got {_short(text)})"
        super().__init__(f"{field}: {self.why}{shown}")


class ConfigError(FieldError):
    """A setting was refused at construction."""


class EventError(FieldError):
    """An event, a channel name or a publish argument was refused; nothing was published.

    ``index``: with which of several events something is wrong, from 0; the message says it, too.
    """

    index: int | None = None

    def tell(self, index: int) -> None:
        """Say with which of several it is."""
        self.index = index
        said = str(self)
        if self.field in ("events", "dedupe_keys", "except_users"):
            self.args = (f"{self.field}[{index}]{said.removeprefix(self.field)}",)
        else:
            self.args = (f"events[{index}].{said}",)


class PublishError(EdgeError):
    """A publish did not succeed.

    ``published`` are the ids of the first events of the call, as many as certainly are out one after the
    other: to repeat the others is to lose none.  ``may_have_happened`` is whether any of those others may be
    out: because the backend went away after it was sent, or because it is in another partition than the one
    that failed.  False: they certainly are not.  Repeating the call with the same ``dedupe_key`` is safe
    either way.  ``reason`` is ``"unconfirmed"``, or ``"finished"``: the channel has had its last event, or
    ``"writing"``: somebody else writes to it.
    """

    def __init__(
        self,
        message: str,
        *,
        may_have_happened: bool,
        published: Sequence[str] = (),
        reason: str = "unconfirmed",
    ) -> None:
        self.reason = reason
        self.may_have_happened = may_have_happened
        self.published = list(published)
        super().__init__(message)


class BackendError(EdgeError):
    """The channel backend could not be reached, or answered with an error: ``answered``."""

    answered: bool = False


def is_end(error: BaseException) -> bool:
    """Whether it is no failure, but says alone that something had to end: a group of tasks says so of those,
    and of the generator that it is in."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(ENDS)[1] is None
    return isinstance(error, ENDS)


def _written(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python writes; lists without end
        return _kind(value)


def _kind(value: object) -> str:
    return f"a value of type {type(value).__name__}"


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
