"""Records of a log as JSON: one object on one line, whatever was logged."""

from __future__ import annotations

import json
import logging
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from .logline import LONGEST, About, asked_by, escaped
from .redaction import HIDDEN, is_secret, redacted, without_credentials
from .tracing import current

LONGEST_LINE = 16_000
"""Bytes of a line at most: container runtimes cut lines at 16 KiB, and half an object is none."""

SHARES = (8192, 2048, 512, 64)
"""Characters of each text at most: the first with which the line is no longer than that."""

LARGEST = 2**53
"""From here on numbers are texts, as are those that are none: many readers would make others of them."""

DEEP, MANY = 5, 100
"""Levels of what an application adds, and members of all of them together."""

LEVELS = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)

SERVERS = frozenset(("uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "websockets", "_granian"))
"""The first parts of the names of servers' loggers."""

_ENDS = frozenset(("traceback", "stack"))
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "taskName"),  # where a formatter or a later Python has put them
    *("color_message", "websocket"),  # uvicorn's, and that of its WebSockets
}
_OURS = frozenset(("sse_edge", "sampled"))


class JSONLines(logging.Formatter):
    """Writes each record as a JSON object, on one line of ASCII of at most 16,000 bytes.

    ``time``, ``level``, ``logger``, ``pid``, ``event`` and ``message`` are always there; ``event`` is a name
    that stays, and says which others there are: see deploy/LOGS.md.  What an application adds by ``extra`` is
    in the object ``extra``.  Never raises, whatever is logged.

    For any server, in a configuration for ``logging.config.dictConfig``:
    ``{"formatters": {"json": {"()": "sse_edge.JSONLines"}}}``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        try:
            said = _said(record)
        except Exception as error:  # noqa: BLE001 - there is nobody else whom it could be told
            text = f"a record could not be read: {type(error).__name__}"
            said = {"time": _time(time.time()), "level": "error", "logger": "sse_edge", "pid": os.getpid()}
            said |= {"event": "log", "message": text}
        for share in SHARES:
            line = _dump(said, share)
            if len(line) <= LONGEST_LINE:
                return line
        said.pop("extra", None)
        return _dump(said, SHARES[-1])


def _dump(said: dict[str, Any], share: int) -> str:
    return json.dumps({name: _plain(value, share, ends=name in _ENDS) for name, value in said.items()})


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _head(record: logging.LogRecord) -> dict[str, Any]:
    return {
        "time": _time(record.created),
        "level": next((name for least, name in LEVELS if record.levelno >= least), "debug"),
        "logger": str(record.name),
        "pid": record.process or os.getpid(),
        **current(),
    }


def _said(record: logging.LogRecord) -> dict[str, Any]:
    """All that a record says."""
    given = vars(record)
    ours, answered = given.get("sse_edge"), _answered(record)
    if isinstance(ours, About):
        about, message = dict(ours), _message(record)
    elif answered is not None:
        about, message = answered
    else:
        served = str(record.name).partition(".")[0] in SERVERS
        about, message = {"event": "server" if served else "log"}, _message(record)
    if "detail" in about and about["detail"] is not None:
        about["detail"] = redacted(str(about["detail"]))
    said = {**_head(record), "event": about.pop("event"), "message": message, **_raised(record)}
    said |= {name: _short(value) for name, value in about.items() if name not in said}
    known = _STANDARD | _OURS if isinstance(ours, About) else _STANDARD
    more = {name: value for name, value in given.items() if name not in known}
    if more:
        said["extra"] = _added(more, iter(range(MANY)))
    return said


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit, or are not to be printed
        given = f" {_text(record.args)}" if record.args else ""
        text = f"{_text(record.msg).rstrip()}{given}"
    return without_credentials(text.rstrip())


def _answered(record: logging.LogRecord) -> tuple[dict[str, Any], str] | None:
    """A server's line about a request: as fields, and without its query."""
    try:
        return _request(record)
    except Exception:  # noqa: BLE001 - whoever logs there by its name may give it anything
        return None


def _request(record: logging.LogRecord) -> tuple[dict[str, Any], str] | None:
    args: Any = record.args
    client: Any
    if record.name == "uvicorn.access" and isinstance(args, tuple) and len(args) == 5:
        client, method, target, version, status = args
        client, address = asked_by(client)
        path, shown = _unasked(target)
        said = {"address": address, "method": method, "path": unquote(path)}
        said["status_code"] = int(status)
        return {"event": "request", **said}, f'{client} - "{method} {shown} HTTP/{version}" {status}'
    if record.name == "uvicorn.error" and isinstance(args, tuple) and '"WebSocket %s"' in str(record.msg):
        client, target, *status = args
        client, address = asked_by(client)
        path, shown = _unasked(target)
        code = status[0] if status else 101 if "[accepted]" in record.msg else 403
        said = {"address": address, "path": unquote(path), "status_code": code}
        return {"event": "websocket", **said}, str(record.msg) % (client, shown, *status)
    if record.name in _ATOMS and isinstance(args, Mapping):
        given: list[Any] = [args.get(atom) for atom in _ATOMS[record.name]]
        client, method, path, status, took = given
        address = str(client).rpartition(":")[0] if record.name == "hypercorn.access" else client
        said = {"address": address, "method": method, "path": path}
        said["status_code"] = int(status) if str(status).isdecimal() else None
        said["seconds"] = float(took) / (1000 if record.name == "granian.access" else 1)
        return {"event": "request", **said}, f'{client} - "{method} {path}" {status}'
    return None


_ATOMS = {
    "gunicorn.access": ("h", "m", "U", "s", "L"),
    "hypercorn.access": ("h", "m", "U", "s", "L"),
    "granian.access": ("addr", "method", "path", "status", "dt_ms"),
}
"""What servers call a request's address, method, path, status and time."""


def _unasked(target: str) -> tuple[str, str]:
    """A path without its query, and as it is shown, where there was one."""
    path, asked, _ = target.partition("?")
    return path, f"{path}?{HIDDEN}" if asked else path


def _raised(record: logging.LogRecord) -> dict[str, str]:
    """An exception: its name, and its traceback, as long as it may be."""
    said = {}
    raised = record.exc_info
    if isinstance(raised, tuple) and len(raised) == 3 and raised[0] is not None:
        lines = "".join(traceback.format_exception(*raised)).splitlines()
        said["exception"] = raised[0].__name__
        said["traceback"] = "\n".join(escaped(redacted(line)) for line in lines)
    elif record.exc_text:  # a queue has made a text of it
        said["traceback"] = "\n".join(escaped(redacted(line)) for line in record.exc_text.splitlines())
    if record.stack_info:
        said["stack"] = "\n".join(escaped(redacted(line)) for line in record.stack_info.splitlines())
    return said


def _short(value: object) -> object:
    """A field of ours: what others chose has as many characters as in a line of text, and seconds have
    milliseconds."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, str) and len(value) > LONGEST:
        return value[:LONGEST] + "..."
    return value


def _added(value: object, left: Iterator[int], deep: int = 0) -> object:
    """What an application adds, as far as there is room ``left``, and without what may be a secret."""
    try:
        if isinstance(value, Mapping) and deep < DEEP:
            named = [(_text(name), each) for (name, each), _ in zip(value.items(), left, strict=False)]
            return {n: HIDDEN if is_secret(n) else _added(each, left, deep + 1) for n, each in named}
        if isinstance(value, (list, tuple)) and len(value) == 2 and _names_secret(value[0]):
            return [_text(value[0]), HIDDEN]  # as headers are
        if isinstance(value, (list, tuple, set, frozenset)) and deep < DEEP:
            some = [each for each, _ in zip(value, left, strict=False)]
            return [_added(each, left, deep + 1) for each in some]
    except Exception:  # noqa: BLE001 - the application's own
        return f"<{type(value).__name__}>"
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redacted(_text(value))


def _names_secret(name: object) -> bool:
    return isinstance(name, (str, bytes)) and is_secret(_text(name))


def _plain(value: object, share: int, *, ends: bool = False) -> Any:
    """A value as JSON knows it: finite numbers, and texts of ``share`` characters and a little at most, which
    are printed as they are.  Of one that ``ends`` the end is kept, and its lines are printable already."""
    if (type(value) is str and len(value) <= share and value.isprintable()) or isinstance(value, bool | None):
        return value  # as most are
    if isinstance(value, (int, float)) and -LARGEST < value < LARGEST:
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, dict):
        return {_plain(name, min(share, LONGEST)): _plain(each, share) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, share) for each in value]
    text = _text(value)
    if ends:
        return text if len(text) <= share else "..." + text[-share:]
    return escaped(text if len(text) <= share else text[:share] + "...")


def _text(value: object) -> str:
    try:
        return str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:  # noqa: BLE001 - the application's own
        return f"<{type(value).__name__}>"
