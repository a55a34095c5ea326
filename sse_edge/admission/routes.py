"""Which channels a path stands for."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigError, EventError
from ..event import check_channel
from ..outcome import BACKEND_DOWN, BAD_REQUEST, NOT_FOUND, UNAUTHENTICATED, Refusal
from .callback import Callback, callback
from .settings import matching, strings, whole

if TYPE_CHECKING:
    from ..asgi import Request
    from ..identity import Identity

ChannelsFor = str | Sequence[str] | Callable[["Request"], Any]
"""Channel templates, or a function (sync or async) of the request that returns a list of channels."""

ChannelMap = Mapping[str, ChannelsFor] | Callable[["Request"], Any]
"""Channels by path template, or one function for every path."""

log = logging.getLogger("sse_edge")
_PLAIN_PATH = re.compile(r"/|(/[^/{}]+)+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The channels of one request; ``open`` are those that this user may read for being
    this user."""

    channels: tuple[str, ...]
    open: frozenset[str]


class _Template(NamedTuple):
    text: str
    open: bool  # filled from the identity alone


_Source = tuple[_Template, ...] | Callback


class Match(NamedTuple):
    """A path that there are streams at, and the values of its placeholders."""

    params: dict[str, str]
    source: _Source


class Routes:
    """Paths and their channels.

    ``path`` is what every route is under.  ``channels`` maps path templates to channel templates or to
    functions, or is one function for every path.  ``{name}`` in a path template stands for one or more
    characters other than ``/``; in a channel template it stands for that value, and ``{user}`` for the
    identity's user, which ``anonymous`` identities have none of.  The earlier of two templates wins,
    and a path without placeholders wins over both.  ``max_channels`` bounds what one stream may ask for.
    """

    def __init__(
        self,
        path: str,
        channels: ChannelMap,
        *,
        anonymous: bool = False,
        max_channels: int = 64,
    ) -> None:
        self._path = matching("path", path, _PLAIN_PATH, "must be a plain path such as /events")
        self._below = path if path == "/" else path + "/"
        self._max_channels = whole("max_channels", max_channels)
        self._anonymous = anonymous
        self._static: dict[str, _Source] = {}
        self._patterns: list[tuple[re.Pattern[str], _Source]] = []
        self._everywhere: Callback | None = None
        if not isinstance(channels, Mapping):
            self._everywhere = callback("channels", channels)
            return
        if not channels:
            raise ConfigError("channels", "must name at least one path", channels)
        for template in strings("channels", list(channels)):
            self._add(template, channels[template])

    def under(self, path: str) -> bool:
        """Whether requests for ``path`` are answered here at all."""
        return path == self._path or path.startswith(self._below)

    def match(self, path: str) -> Match | None:
        """The route for ``path``, if there is one."""
        source = self._static.get(path)
        if source is not None:
            return Match({}, source)
        for pattern, source in self._patterns:
            if found := pattern.fullmatch(path):
                return Match(found.groupdict(), source)
        if self._everywhere is not None and self.under(path):
            return Match({}, self._everywhere)
        return None

    async def resolve(self, match: Match, request: Request, identity: Identity) -> Resolved | Refusal:
        """The channels of a request of ``identity`` that matched; a function for them is told both."""
        if isinstance(match.source, tuple):
            return _fill(match.source, match.params, identity.user)
        try:
            answer = await match.source(replace(request, params=match.params, identity=identity))
            if answer is not None and not isinstance(answer, list | tuple):
                raise TypeError(f"channels: must return a list, not {type(answer).__name__}")
        except (LookupError, ValueError) as error:
            # What int(params["page"]) raises: the client's doing, so no traceback.
            log.info("channels: %r for %r", error, request.path)
            return BAD_REQUEST.because("this path or query names no channel")
        except Exception:
            log.exception("channels: the function failed for %r", request.path)
            return BACKEND_DOWN.because("could not tell which channels this path stands for")
        return self._checked(answer or ())

    def _checked(self, names: Sequence[object]) -> Resolved | Refusal:
        if not names:
            return NOT_FOUND
        try:
            channels = tuple(dict.fromkeys(map(check_channel, names)))
        except EventError as error:
            return BAD_REQUEST.because(str(error))
        if len(channels) > self._max_channels:
            return BAD_REQUEST.because(f"more than {self._max_channels} channels")
        return Resolved(channels, frozenset())

    def _add(self, template: str, target: ChannelsFor) -> None:
        if not self.under(template):
            raise ConfigError("channels", f"each path must be under {self._path}", template)
        names = _placeholders(template)
        if "user" in names:
            raise ConfigError("channels", "{user} comes from the identity, never from the path", template)
        if len(set(names)) < len(names):
            raise ConfigError("channels", "a placeholder appears twice in this path", template)
        source = callback("channels", target) if callable(target) else self._templates(target, names)
        if names:
            self._patterns.append((_compile(template), source))
        else:
            self._static[template] = source

    def _templates(self, target: str | Sequence[str], names: list[str]) -> tuple[_Template, ...]:
        texts = (target,) if isinstance(target, str) else strings("channels", target)
        if not texts or len(texts) > self._max_channels:
            raise ConfigError("channels", f"a path has 1 to {self._max_channels} channels", target)
        if len(set(texts)) < len(texts):
            raise ConfigError("channels", "a channel appears twice", target)
        return tuple(self._template(text, names) for text in texts)

    def _template(self, text: str, names: list[str]) -> _Template:
        used = set(_placeholders(text))
        if self._anonymous and "user" in used:
            raise ConfigError("channels", "{user} needs identities with a user", text)
        if unknown := used - {*names, "user"}:
            raise ConfigError("channels", f"{{{unknown.pop()}}} is not in the path", text)
        try:
            check_channel(text)
        except EventError as error:
            raise ConfigError("channels", f"is no channel: {error}", text) from error
        return _Template(text, open=used <= {"user"})


def _fill(
    templates: tuple[_Template, ...], params: Mapping[str, str], user: str | None
) -> Resolved | Refusal:
    if user is None and any("{user}" in text for text, _ in templates):
        return UNAUTHENTICATED.because("this path is for signed-in users")
    values = {**params, "user": user}
    try:
        named = [(check_channel(text.format_map(values)), is_open) for text, is_open in templates]
    except EventError as error:
        return BAD_REQUEST.because(str(error))
    channels = tuple(dict.fromkeys(name for name, _ in named))
    return Resolved(channels, frozenset(name for name, is_open in named if is_open))


def _placeholders(template: str) -> list[str]:
    """The names in braces, in order; ConfigError for braces that are anything else."""
    names = _PLACEHOLDER.findall(template)
    rest = _PLACEHOLDER.sub("", template)
    if "{" in rest or "}" in rest or not all(name.isascii() and name.isidentifier() for name in names):
        raise ConfigError("channels", "braces hold a plain name, such as {order_id}", template)
    return names


def _compile(template: str) -> re.Pattern[str]:
    # Before another placeholder of the same segment a value ends at the first separator.  Without that
    # rule, {a}-{b}-{c} would try every way to cut a path of dashes: cubic in what a client sends.
    first, *parts = _PLACEHOLDER.split(template)
    pattern = re.escape(first)
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    for at, (name, text) in enumerate(pairs):
        follower = re.escape(text)
        if at + 1 < len(pairs) and "/" not in text:
            if not text:
                raise ConfigError("channels", "two placeholders need something between them", template)
            pattern += f"(?P<{name}>(?:(?!{follower})[^/])+){follower}"
        else:
            pattern += f"(?P<{name}>[^/]+){follower}"
    return re.compile(pattern)
