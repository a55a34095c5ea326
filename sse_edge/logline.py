"""What others chose, in a line of a log: it stays one line, and forges no field.

Clients and publishers choose names, paths and headers.  All of it is written as in a URL: ``%0A`` for a
line feed, ``%3D`` for an equals sign, so that ``user=`` and ``address=`` stand in a line only where they are
meant.  ASCII alone, which every terminal and every encoding can show; ``urllib.parse.unquote`` reads it back.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
from contextlib import suppress
from types import TracebackType
from urllib.parse import quote

from .redaction import redacted

LONGEST = 256
"""Characters of one value at most."""

SELDOM = 60.0
"""Seconds in which what may fail at each event is told once."""

Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_UNPRINTABLE = re.compile(r"[^ -~]")
_VALUE = "!$'()*+,-./:;@_|~"  # beyond letters and digits
_SENTENCE = _VALUE + ' "#&<>?[]^`{}\\'


UNIX = "unix"
"""Who is on a unix socket, in a server's lines."""


class About(dict[str, object]):
    """What a record of ours says: an application's own says nothing, whatever it has by that name."""


def about(event: str, **fields: object) -> dict[str, About]:
    """What a record says besides its text, as ``extra``: what happened, by a name that stays, and to whom.

    The fields are as they came, unlike in the text; who writes them makes them harmless, as ``JSONLines``.
    """
    return {"sse_edge": About(event=event, **fields)}


def asked_by(client: str) -> tuple[str, str]:
    """A client as uvicorn tells it, host:port or, on a unix socket, nothing: as it is shown; its address."""
    shown = client or UNIX
    return shown, shown.rpartition(":")[0] or shown


def value(text: str | None) -> str:
    """A value without blanks, quotes and equals signs; ``-`` for None and nothing else."""
    if text is None:
        return "-"
    return "%2D" if text == "-" else _quoted(text, _VALUE)


def sentence(text: str) -> str:
    """A text of ours that may repeat what others chose: blanks and quotes stay."""
    return _quoted(text, _SENTENCE)


def refuses(error: BaseException) -> str:
    """What a backend does that has not done something: it is away, or there and refuses it, and why."""
    said = sentence(str(error)) or "no answer"
    return f"refuses it ({said})" if getattr(error, "answered", False) else f"is away ({said})"


def why(error: BaseException) -> str:
    """An exception in few words; never its ``repr``, which can hold the data that it could not read."""
    said = sentence(redacted(str(error)))
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def reason(error: BaseException) -> str:
    """The same as a field's value: as it is, but for what may be a secret."""
    said = redacted(str(error))
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def escaped(text: str) -> str:
    """A text in which every character is printed as it is; the others are written as in Python."""
    return text if text.isprintable() else _UNPRINTABLE.sub(lambda found: _printed(found[0]), text)


def trace(raised: Raised) -> str:
    """A traceback, indented, so that no line of it looks like one of the log.  What an application's own
    exception says may hold the password of its database."""
    lines = "".join(traceback.format_exception(*raised)).splitlines()
    return "\n".join(f"    {escaped(redacted(line))}" for line in lines)


class Seldom:
    """What fails each time, and is logged once for each kind in ``SELDOM`` seconds.  Kinds have to be few."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def takes(self, kind: str) -> bool:
        """Whether it is to be logged now."""
        now = time.monotonic()
        if now - self._told.get(kind, now - SELDOM) < SELDOM:
            return False
        self._told[kind] = now
        return True


class Traces(logging.Filter):
    """Has tracebacks written by ``trace``, whatever formatter is used; the exception itself stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging: formatters write ``exc_text`` where it is there."""
        if record.exc_info and not record.exc_text:
            record.exc_text = trace(record.exc_info)
        return True


def _printed(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _quoted(text: str, safe: str) -> str:
    more = "..." if len(text) > LONGEST else ""
    return quote(text[:LONGEST], safe=safe, errors="surrogatepass") + more


def _keep_on(log: logging.Logger) -> None:
    """Have nothing break because a handler or a filter of the application's does: handlers of the standard
    library catch what they fail with, and others may not."""
    handle = log.handle

    def handle_safely(record: logging.LogRecord) -> None:
        try:
            handle(record)
        except Exception as error:  # noqa: BLE001 - whatever it raises
            if _seldom.takes("log"):
                _tell(log, error)

    log.handle = handle_safely  # type: ignore[method-assign]


def _tell(log: logging.Logger, error: Exception) -> None:
    """Tell the handlers that can be told."""
    raised = (type(error), error, error.__traceback__)
    text = "what is logged does not come everywhere: a handler of the application's failed"
    record = logging.LogRecord(log.name, logging.ERROR, __file__, 0, text, None, raised)
    vars(record).update(about("log-failed"))
    Traces().filter(record)
    one: logging.Logger | None = log
    while one is not None:
        for handler in one.handlers:
            with suppress(Exception):
                if handler.level <= record.levelno:
                    handler.handle(record)
        one = one.parent if one.propagate else None


_seldom = Seldom()
logging.getLogger("sse_edge").addFilter(Traces())
for _name in ("sse_edge", "sse_edge.access"):
    _keep_on(logging.getLogger(_name))
