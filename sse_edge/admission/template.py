"""Templates of channel names: what they are filled with, and which could make the same name.

``:`` separates the parts of a name, and no value holds it, so a part is what one value made: ``user:{user}``
never makes a name of ``user:{user}:private``.  Two templates that could make the same name are refused, with
two exceptions in which nobody gains by it:

- They differ only in what their placeholders are called (``user:{user}``, ``user:{id}``).  The name says what
  it was made of, whichever made it, and a name that the path had a part in is ``authorize``'s to allow.  Both
  have to be filled with the same kind of thing: where ``{user}`` is a name and ``{id}`` a number, somebody
  could be called ``7``.
- One is a plain name, and the path alone fills the other (``news``, ``{topic}``).  Everybody may read the
  plain one anyway.  With ``{user}`` in the other they are refused: somebody could be called like the plain
  one, and everybody would read along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

from ..errors import ConfigError, EventError
from ..event import check_channel
from ..pattern import SEPARATOR, escaped

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Template(NamedTuple):
    """A channel's name with placeholders in braces, and their ``names``; ``open`` if those are the identity's
    alone."""

    text: str
    names: frozenset[str]
    open: bool

    @property
    def pattern(self) -> str:
        """A pattern that covers what it makes."""
        return "*".join(map(escaped, PLACEHOLDER.split(self.text)[::2]))

    @classmethod
    def of(cls, text: str) -> Template:
        """Read a template.  Raises ConfigError."""
        names = frozenset(placeholders(text))
        try:
            check_channel(text)
        except EventError as error:
            raise ConfigError("channels", f"is no channel: {error}", text) from error
        if any(len(PLACEHOLDER.findall(part)) > 1 for part in text.split(SEPARATOR)):
            why = f"between two placeholders has to be {SEPARATOR!r}, or different values make the same name"
            raise ConfigError("channels", why, text)
        return cls(text, names, names <= {"user"})


def placeholders(template: str) -> list[str]:
    """The names in braces, in order; ConfigError for braces that are anything else."""
    names = PLACEHOLDER.findall(template)
    rest = PLACEHOLDER.sub("", template)
    if "{" in rest or "}" in rest or not all(name.isascii() and name.isidentifier() for name in names):
        raise ConfigError("channels", "braces hold a plain name, such as {order_id}", template)
    return names


def check_apart(templates: Iterable[Template]) -> None:
    """ConfigError for two templates that could make the same name and are no exception."""
    # Of those that look alike one with {user} stands for all: it is an exception with fewer others.
    ordered = sorted(templates, key=lambda one: "user" in one.names)
    shapes = {PLACEHOLDER.sub("{}", one.text): one for one in ordered}
    for one, other in combinations(shapes.values(), 2):
        plain_and_path = not (one.names and other.names) and "user" not in one.names | other.names
        if not plain_and_path and meet(one.text, other.text):
            why = "these two could make the same name; give each a word of its own between two ':'"
            raise ConfigError("channels", why, (one.text, other.text))


def meet(one: str, other: str) -> bool:
    """Whether two templates make the same name for some values, none of them empty or with a separator."""
    parts, others = one.split(SEPARATOR), other.split(SEPARATOR)
    return len(parts) == len(others) and all(map(_parts_meet, parts, others))


def _parts_meet(one: str, other: str) -> bool:
    if not PLACEHOLDER.search(one):
        one, other = other, one
    if not PLACEHOLDER.search(one):
        return one == other
    head, _, tail = PLACEHOLDER.split(one)
    if not PLACEHOLDER.search(other):
        return len(other) > len(head) + len(tail) and other.startswith(head) and other.endswith(tail)
    other_head, _, other_tail = PLACEHOLDER.split(other)
    heads, tails = sorted((head, other_head), key=len), sorted((tail, other_tail), key=len)
    return heads[1].startswith(heads[0]) and tails[1].endswith(tails[0])
