"""The shipped ``nginx.conf`` and ``Caddyfile``, and how their marked values are replaced.

A comment marks what may differ from one deployment to another.  There are two marks:

``worker_connections 16384;  # tune: worker_connections``
    The value is the last word of the line, or what follows ``=`` in it (``backlog=4096``), or
    ``=name:`` (``zone=per_address:10m``).  After a line that opens a block, the mark may be on the next
    line, where ``caddy fmt`` puts it.

``# tune: upstream {`` … ``# tune: }``
    Each line between them is one value of a list: the first argument of a directive.  All else on a
    line (the directive, further arguments, a mark of its own) is as on the block's first line.

A name may be marked in several places, and is the same value in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ConfigError

SHIPPED = ("nginx.conf", "Caddyfile")

Values = Mapping[str, str | Sequence[str]]

_PACKAGE = Path(__file__).parent
_MARK = re.compile(r"^(?P<code>.*\S)(?P<gap>[ \t]+|(?<=\{)\n[ \t]*)# tune: (?P<name>\w+)$", re.MULTILINE)
_BLOCK = re.compile(
    r"^(?P<open>[ \t]*# tune: (?P<name>\w+) \{\n)(?P<lines>(?:(?![ \t]*# tune:).+\n)+)(?=[ \t]*# tune: \}$)",
    re.MULTILINE,
)
_LAST_WORD = re.compile(r"(?P<before>(?:.*(?:\s|=(?:\w+:)?))?)(?P<value>[^\s=;{]+)(?P<after>;|\s*\{|)")
_ITEM = re.compile(r"(?P<before>\s*\S+\s+)(?P<value>[^\s;]+)(?P<after>.*)")
_WORD = re.compile(r"[^\s\x00-\x1f\x7f;{}#\"'`\\$]+")
"""A value that stays one word in both syntaxes: it ends no directive and begins no comment or variable."""


def shipped(name: str) -> str:
    """The text of a shipped file, ``nginx.conf`` or ``Caddyfile``.

    In a wheel the files are beside this module, in a source tree at its top.  Raises ConfigError for
    any other name.
    """
    if name not in SHIPPED:
        raise ConfigError("name", f"must be one of {', '.join(SHIPPED)}", name)
    path = _PACKAGE / name
    if not path.exists():
        path = _PACKAGE.parents[1] / name
    return path.read_bytes().decode()


def marked(text: str) -> dict[str, str | list[str]]:
    """The marked values of a file as they are: name → word, or list of words for a block.

    Raises ConfigError for a mark that is malformed, or two of one name with different values.
    """
    found: dict[str, str | list[str]] = {}
    blocks, marks = list(_BLOCK.finditer(text)), list(_MARK.finditer(text))
    for block in blocks:
        items = [_read(_ITEM, line, block["name"])["value"] for line in block["lines"].splitlines()]
        _agree(found, block["name"], items)
    for mark in marks:
        _agree(found, mark["name"], _read(_LAST_WORD, mark["code"], mark["name"])["value"])
    if 2 * len(blocks) + len(marks) != text.count("# tune:"):
        raise ConfigError("# tune:", "a mark names no value, or a block does not end")
    return found


def render(text: str, values: Values) -> str:
    """The file with ``values`` in place of its own: name → word, or list of words for a block.

    What is not in ``values`` stays as it is; with none the text comes back byte for byte.  Raises
    ConfigError naming what is not marked in the file, what is not of the marked kind, and what is not
    one plain word.
    """
    own = marked(text)
    for name, value in values.items():
        _check(name, value, own)

    def with_items(block: re.Match[str]) -> str:
        if block["name"] not in values:
            return block[0]
        first = _read(_ITEM, block["lines"].split("\n", 1)[0], block["name"])
        lines = [f"{first['before']}{item}{first['after']}\n" for item in values[block["name"]]]
        return block["open"] + "".join(lines)

    def with_value(mark: re.Match[str]) -> str:
        if mark["name"] not in values:
            return mark[0]
        old = _read(_LAST_WORD, mark["code"], mark["name"])
        code = f"{old['before']}{values[mark['name']]}{old['after']}"
        gap = mark["gap"]
        if len(gap) > 1 and "\n" not in gap:  # marks stay in their column where there is room
            gap = " " * max(2, len(mark["code"]) + len(gap) - len(code))
        return f"{code}{gap}# tune: {mark['name']}"

    return _MARK.sub(with_value, _BLOCK.sub(with_items, text))


def _agree(found: dict[str, str | list[str]], name: str, value: str | list[str]) -> None:
    if found.setdefault(name, value) != value:
        raise ConfigError(name, f"is marked with different values, also {found[name]}", value)


def _read(pattern: re.Pattern[str], line: str, name: str) -> re.Match[str]:
    match = pattern.fullmatch(line)
    if match is None:
        raise ConfigError(name, "marks a line that has no value", line)
    return match


def _check(name: str, value: object, own: Mapping[str, str | list[str]]) -> None:
    if name not in own:
        raise ConfigError(name, f"is not marked in this file; marked are {', '.join(sorted(own))}", value)
    if isinstance(own[name], str):
        words = [value]
    elif isinstance(value, list | tuple) and value:
        words = list(value)
    else:
        raise ConfigError(name, "must be a list of at least one word", value)
    for word in words:
        if not isinstance(word, str) or not _WORD.fullmatch(word):
            raise ConfigError(name, "must be one word, without ; { } # quotes, backslash or $", word)
