"""What channels are called in metrics: by the templates that they are made of, never by their names."""

from __future__ import annotations

import re

from ..pattern import SEPARATOR
from .template import PLACEHOLDER, Template

MOST = 100
"""Different names at most: each is as many series, in each worker."""

FUNCTION = "(function)"
"""Of channels that a function of the application's names, and no template would."""

OTHERS = "(others)"
"""Of templates beyond ``MOST``."""


class Labels:
    """Names of channels, and of the paths of sources; see ``delivery.patterns.Labels``.

    Of two templates that make the same names the first counts.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._plain: dict[str, str] = {}
        self._made: list[tuple[re.Pattern[str], str]] = []
        self._paths: list[tuple[re.Pattern[str], str]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """See ``delivery.patterns.Labels.names``."""
        return tuple(dict.fromkeys(self._names.values()))

    def add(self, template: Template) -> None:
        """Channels that are made of ``template``."""
        text = template.text
        if template.names:
            self._made.append((_covers(text, f"[^{SEPARATOR}]+"), self._name(text)))
        else:
            self._plain.setdefault(text, self._name(text))

    def add_path(self, path: str) -> None:
        """Streams at a path template that hear no channel."""
        self._paths.append((_covers(path, "[^/]+"), self._name(path)))

    def add_function(self) -> None:
        """Channels that a function names."""
        self._name(FUNCTION)

    def channel(self, name: str) -> str:
        """See ``delivery.patterns.Labels.channel``."""
        plain = self._plain.get(name)
        return _first(self._made, name) if plain is None else plain

    def path(self, path: str) -> str:
        """See ``delivery.patterns.Labels.path``."""
        return _first(self._paths, path)

    def _name(self, text: str) -> str:
        return self._names.setdefault(text, text if len(self._names) < MOST else OTHERS)


def _covers(template: str, anything: str) -> re.Pattern[str]:
    return re.compile(anything.join(map(re.escape, PLACEHOLDER.split(template)[::2])), re.DOTALL)


def _first(patterns: list[tuple[re.Pattern[str], str]], text: str) -> str:
    for pattern, name in patterns:
        if pattern.fullmatch(text):
            return name
    return FUNCTION
