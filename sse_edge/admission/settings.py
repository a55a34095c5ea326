"""Checks that the settings of several policies share.  Each raises ConfigError naming the field."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    import re

Age = float | timedelta
"""Seconds, or what has them."""


def strings(field: str, value: object) -> tuple[str, ...]:
    """The value as a tuple, if it is a list of strings; a bare string is a list of letters by mistake."""
    if not isinstance(value, list | tuple | set | frozenset):
        raise ConfigError(field, "must be a list of strings", value)
    for item in value:
        if not isinstance(item, str):
            raise ConfigError(field, "must be a list of strings", item)
    return tuple(value)


def matching(field: str, value: object, pattern: re.Pattern[str], why: str) -> str:
    """The value, if it is a string that the whole ``pattern`` matches."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ConfigError(field, why, value)
    return value


def flag(field: str, value: object) -> bool:
    """The value, if it is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(field, "must be True or False", value)
    return value


def one_of(field: str, value: object, *words: str) -> None:
    """Raises ConfigError unless the value is one of these words."""
    if value not in words:
        *others, last = [f'"{word}"' for word in words]
        raise ConfigError(field, f"must be {', '.join(others)} or {last}", value)


def whole(field: str, value: object, most: int | None = None) -> int:
    """The value, if it is a whole number from 1 to ``most``."""
    if type(value) is not int or value < 1 or (most is not None and value > most):
        upto = "" if most is None else f", at most {most}"
        raise ConfigError(field, f"must be a positive whole number{upto}", value)
    return value


def seconds(field: str, age: object) -> float:
    """The age in seconds, if it is one."""
    number = age.total_seconds() if isinstance(age, timedelta) else age
    if type(number) not in (int, float) or not 0 < number < math.inf:  # type: ignore[operator]
        raise ConfigError(field, "must be a positive number of seconds, or a timedelta", age)
    return number  # type: ignore[return-value]
