"""Any value as JSON: what ``json.dumps`` takes, and what applications pass around besides.

RFC 8259 has no word for dates, identifiers and records; here they are written as pydantic writes them.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Set
from dataclasses import fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from math import isfinite
from pathlib import PurePath
from typing import Any
from uuid import UUID

from .errors import EventError

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment, unused-ignore]

Default = Callable[[Any], object]
"""What stands in JSON for a value of the application's own; TypeError for one that it does not know."""

HINT = "; what stands for it says Publisher(default=…), or of an Event Event(json=…, default=…)"

_SMALL = re.compile(rb"[0-9]e-[0-9]").search
_LONGEST_KEY = 40


def dump(value: object, default: Default | None = None) -> str:
    """``value`` as JSON without spaces, on one line.

    At any depth, besides what JSON knows: models and dataclasses of pydantic (as their own
    ``model_dump(mode="json")`` says), dataclasses, attrs classes; ``datetime``, ``date`` and ``time`` (ISO
    8601, UTC as ``Z``), ``timedelta`` (ISO 8601, ``PT1H30M``), UUIDs, Decimals, paths and IP addresses as
    text; members of an Enum as their values; sets, deques and mappings.  As a key of a dict whatever
    becomes text or a number.  Everything else is given to ``default``.

    The text is the same with orjson and without; orjson is used where it is installed.  Of an Enum whose
    members are texts or numbers themselves, the values have to be the same ones, as they are unless its
    ``__new__`` says otherwise.

    Raises EventError with field ``json``: what nobody can write, NaN and infinities, what contains itself.
    """
    stand_in = _stand_in if default is None else _asking(default)
    # What orjson refuses, or may have written otherwise, is written by json as if there were no orjson.
    if _fast is not None and (text := _fast(value, stand_in)) is not None:
        return text
    encode = _encode if default is None else _encoder(stand_in)
    try:
        return encode(value)
    except (TypeError, ValueError, RecursionError):
        # Of a wrong key or value json does not say where it is, and most keys it does not know.
        return encode(_Plain(value, stand_in).made)


def _encoder(stand_in: Default) -> Callable[[object], str]:
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=stand_in)
    return encoder.encode


def _fast_encoder() -> Callable[[object, Default], str | None] | None:
    """orjson, if it writes large numbers as Python does; older ones do not."""
    if orjson is None or orjson.dumps([1e16, 1.5e300]) != b"[1e+16,1.5e+300]":
        return None
    dumps = orjson.dumps
    # Subclasses may say otherwise what they hold, which json asks them and orjson does not.
    options = (
        orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
    )

    def fast(value: object, stand_in: Default) -> str | None:
        try:
            text = dumps(value, stand_in, options)
        except TypeError:  # orjson's own is one
            return None
        # NaN is written as null, and numbers below 0.0001 not as Python writes them.
        if b"null" in text or b"0.0000" in text or (b"e-" in text and _SMALL(text)):
            return None
        return text.decode()

    return fast


def _asking(default: Default) -> Default:
    """The same with ``default``, asked once about each value: what it is given may be an iterator."""
    said: dict[int, tuple[object, object]] = {}

    def stand_in(value: Any) -> object:
        known = said.get(id(value))
        if known is None:
            made = _known(value, stand_in)
            known = said[id(value)] = (value, default(value) if made is _UNKNOWN else made)
        return known[1]

    return stand_in


def _stand_in(value: Any) -> object:
    """What JSON has in place of a value that it does not know, one step of it.  Raises TypeError."""
    made = _known(value, _stand_in)
    if made is _UNKNOWN:
        raise TypeError
    return made


_UNKNOWN: Any = object()


def _known(value: Any, stand_in: Default) -> object:
    for kind, plain in _SUBCLASSES:
        if isinstance(value, kind):
            return plain(value)
    text = _scalar(value)
    return _structure(value, stand_in) if text is _UNKNOWN else text


_SUBCLASSES: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__pos__),
    (float, float.__pos__),
    (dict, lambda value: dict(value.items())),
    (list, list),
    (tuple, list),
)
"""What the json module writes as what it is, and orjson leaves to us."""


def _scalar(value: Any) -> object:
    """What a value is that can be a key, too."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (datetime, time)):
        text = value.isoformat()
        return f"{text[:-6]}Z" if text.endswith("+00:00") else text
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError
    if isinstance(value, (UUID, Decimal, PurePath, IPv4Address, IPv6Address, IPv4Network, IPv6Network)):
        return str(value)
    return _UNKNOWN


def _duration(value: timedelta) -> str:
    """ISO 8601, section 5.5.2.2, in days and less: a year has no fixed length."""
    micro = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    sign = "-" if micro < 0 else ""
    seconds, micro = divmod(abs(micro), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    second = f"{seconds}.{micro:06}".rstrip("0") if micro else str(seconds) if seconds else ""
    parts = ((str(hours) if hours else "", "H"), (str(minutes) if minutes else "", "M"), (second, "S"))
    clock = "".join(f"{number}{unit}" for number, unit in parts if number)
    whole = (f"{days}D" if days else "") + (f"T{clock}" if clock else "")
    return f"{sign}P{whole or 'T0S'}"


def _structure(value: Any, stand_in: Default) -> object:
    kind = type(value)
    # Told by what they have, so that neither library needs to be there.
    model = getattr(kind, "__pydantic_serializer__", None)
    if model is not None:
        return model.to_python(value, mode="json", fallback=stand_in)
    if hasattr(kind, "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if isinstance(value, Mapping):
        return dict(value.items())
    if isinstance(value, (Set, deque)):
        return list(value)
    return _UNKNOWN


class _Plain:
    """A value as dicts, lists and what stands in them alone, all keys as json takes them: ``made``.

    Raises EventError, saying where: what cannot be written is found here.
    """

    def __init__(self, value: object, stand_in: Default) -> None:
        self._whole = value
        self._stand_in = stand_in
        self._around: set[int] = set()  # what it is in the middle of
        try:
            self.made = self._plain(value, "")
        except RecursionError as error:
            raise self._error("", "is nested too deeply") from error

    def _plain(self, value: Any, path: str) -> object:
        if isinstance(value, (str, int, float)) or value is None:
            self._check_number(value, path)
            return value
        if id(value) in self._around:
            raise self._error(path, "contains itself")
        self._around.add(id(value))
        try:
            if isinstance(value, dict):
                return self._object(value, path)
            if isinstance(value, (list, tuple)):
                return [self._plain(item, f"{path}[{number}]") for number, item in enumerate(value)]
            return self._plain(self._standing_for(value, path), path)
        finally:
            self._around.remove(id(value))

    def _object(self, value: dict[Any, object], path: str) -> dict[Any, object]:
        made: dict[Any, object] = {}
        for key, item in value.items():
            inside = _below(path, key)
            plain = self._key(key, inside)
            if plain in made:
                raise self._error(inside, "is there twice, from two keys that are the same as text")
            made[plain] = self._plain(item, inside)
        return made

    def _key(self, key: Any, path: str) -> object:
        while not isinstance(key, (str, int, float)) and key is not None:
            try:
                plain = _scalar(key)
            except ValueError:
                plain = _UNKNOWN
            if plain is _UNKNOWN:
                raise self._error(path, f"has a key of type {type(key).__name__}")
            key = plain
        self._check_number(key, path)
        return key

    def _check_number(self, value: object, path: str) -> None:
        if isinstance(value, float) and not isfinite(value):
            raise self._error(path, "is no number that JSON has")
        if isinstance(value, int):
            try:
                int.__repr__(value)
            except ValueError as error:
                raise self._error(path, "is a number of too many digits") from error

    def _standing_for(self, value: Any, path: str) -> object:
        # Whatever they say may repeat what the value holds: it is in the traceback, and not in the message.
        try:
            return self._stand_in(value)
        except (TypeError, ValueError) as error:
            hint = HINT if self._stand_in is _stand_in and isinstance(error, TypeError) else ""
            raise self._error(path, f"is of type {type(value).__name__}{hint}") from error

    def _error(self, path: str, why: str) -> EventError:
        return EventError("json", f"cannot be written as JSON: {path or 'it'} {why}", self._whole)


def _below(path: str, key: object) -> str:
    """Where a key's value is; keys that look like what was published, and not like a name, are left out."""
    if isinstance(key, str) and key.isidentifier() and len(key) <= _LONGEST_KEY:
        return f"{path}.{key}" if path else key
    return f"{path}[…]"


_encode = _encoder(_stand_in)
_fast = _fast_encoder()
