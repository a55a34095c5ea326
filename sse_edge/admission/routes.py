"""Which channels a path stands for."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigError, EventError
from ..event import check_channel
from ..logline import about, value, why
from ..outcome import BACKEND_DOWN, BAD_REQUEST, NOT_FOUND, UNAUTHENTICATED, Refusal
from ..pattern import SEPARATOR
from .callback import Callback, callback, tell_failure
from .channel import ALL, Channel
from .labels import Labels
from .polling import is_poll
from .settings import matching, strings, whole
from .source import Source
from .template import PLACEHOLDER, Template, check_apart, placeholders

if TYPE_CHECKING:
    from ..asgi import Request
    from ..identity import Identity

ChannelsFor = str | Channel | Sequence[str | Channel] | Source | Callable[["Request"], Any]
"""Channel templates, a source in their place, or a function (sync or async) of the request that returns a
list of channels."""

ChannelMap = Mapping[str, ChannelsFor] | Callable[["Request"], Any]
"""Channels by path template, or one function for every path."""

Values = Mapping[str, str]
"""What a channel's name was filled with, by placeholder; read-only."""

NO_VALUES: Values = MappingProxyType({})

log = logging.getLogger("sse_edge")
_PLAIN_PATH = re.compile(r"/|(/[^/{}]+)+")
_DOT_SEGMENT = re.compile(r"/\.\.?(?:/|\Z)")


class Resolved(NamedTuple):
    """The channels of one request; ``open`` are those that this user may read for being this user.
    ``compress`` is whether all of them may be compressed together, and ``first`` how many of its last events
    whoever comes new is given of a channel, where it is given any.  ``greetings`` make what comes before all
    else, and a ``source`` all that is heard.  ``made`` are the templates that channels were made of, if they
    were, and ``filled`` what with."""

    channels: tuple[str, ...]
    open: Set[str]
    compress: bool = False
    first: Mapping[str, int] = MappingProxyType({})
    greetings: tuple[Callback, ...] = ()
    source: Source | None = None
    made: Mapping[str, Template] = MappingProxyType({})
    filled: Values = NO_VALUES

    def values(self, channel: str) -> Values:
        """What a channel's name was filled with."""
        made = self.made.get(channel)
        if made is None:
            return NO_VALUES
        return MappingProxyType({name: self.filled[name] for name in made.names})


class _Templates(NamedTuple):
    each: tuple[Template, ...]
    names: frozenset[str]
    compress: bool
    first: tuple[int, ...]
    greetings: tuple[Callback, ...] = ()
    source: Source | None = None


_Target = _Templates | Callback


class Match(NamedTuple):
    """A path that there are streams at, and the values of its placeholders."""

    params: dict[str, str]
    target: _Target

    @property
    def asks(self) -> bool:
        """Whether a function of the application names the channels, which may wait."""
        return not isinstance(self.target, _Templates)


class Routes:
    """Paths and their channels.

    ``path`` is what every route is under.  ``channels`` maps path templates to channel templates or to
    functions, or is one function for every path.  ``{name}`` in a path template stands for one or more
    characters other than ``/``; in a channel template it stands for that value, and ``{user}`` for the
    identity's user, which ``anonymous`` identities have none of.  The earlier of two templates wins,
    and a path without placeholders wins over both.  ``max_channels`` bounds what one stream may ask for.

    No value in a channel's name holds ``:``, and templates that could make the same name are refused; see
    ``template``.  Functions name their channels as they like.
    """

    def __init__(
        self,
        path: str,
        channels: ChannelMap | None,
        *,
        anonymous: bool = False,
        max_channels: int = 64,
    ) -> None:
        if channels is None:
            raise ConfigError("channels", "must map paths to channels", channels)
        self._path = matching("path", path, _PLAIN_PATH, "must be a plain path such as /events")
        self._below = path if path == "/" else path + "/"
        self._check = self._below + "."
        self._max_channels = whole("max_channels", max_channels)
        self._anonymous = anonymous
        self._static: dict[str, _Target] = {}
        self._patterns: list[tuple[re.Pattern[str], _Target]] = []
        self._texts: list[tuple[re.Pattern[str], str]] = []
        self._everywhere: Callback | None = None
        self.labels = Labels()
        """What the channels are called in metrics."""
        self._hinted = False
        if not isinstance(channels, Mapping):
            self._everywhere = callback("channels", channels)
            self.labels.add_function()
            return
        if not channels:
            raise ConfigError("channels", "must name at least one path", channels)
        for template in strings("channels", list(channels)):
            self._add(template, channels[template])
        targets = [*self._static.values(), *(target for _, target in self._patterns)]
        check_apart(one for target in targets if isinstance(target, _Templates) for one in target.each)

    def check_first(self, depth: Callable[[str], int | None]) -> None:
        """ConfigError if more first events are wanted of a template's channels than can be there: ``depth``
        says of a pattern how many are kept at most of any channel that it covers, or None if nobody knows.
        """
        for target in (*self._static.values(), *(target for _, target in self._patterns)):
            if not isinstance(target, _Templates):
                continue
            for one, count in zip(target.each, target.first, strict=True):
                most, said = depth(one.pattern) if count else None, "all" if count == ALL else count
                if most == 0:
                    raise ConfigError("first", f"of {one.text!r} needs a backend that keeps history", said)
                if most is not None and count > most and count != ALL:
                    raise ConfigError("first", f"of {one.text!r} no more than {most} events are kept", said)

    @property
    def plan(self) -> list[tuple[str, tuple[str, ...]]]:
        """Each path and the templates of its channels, of which a function's has none."""
        targets = [*self._static.items(), *((pattern.pattern, target) for pattern, target in self._patterns)]
        return sorted(
            (path, tuple(one.text for one in target.each) if isinstance(target, _Templates) else ())
            for path, target in targets
        )

    def under(self, path: str) -> bool:
        """Whether requests for ``path`` are answered here at all."""
        return path == self._path or path.startswith(self._below)

    def names(self, path: str) -> bool:
        """Whether this is the path that all routes are under, or there is a route for just this one."""
        return path == self._path or path in self._static

    def template(self, path: str) -> str | None:
        """The template that ``path`` was made of, if there is one."""
        if path in self._static:
            return path
        return next((text for made, text in self._texts if made.fullmatch(path)), None)

    def is_check(self, path: str) -> bool:
        """Whether a proxy asks here if this process is there: ``<path>/.``, where never is a stream."""
        return path == self._check

    def match(self, path: str) -> Match | None:
        """The route for ``path``, if there is one; none where it has a segment ``.`` or ``..``."""
        if _DOT_SEGMENT.search(path):
            return None  # A proxy that makes it plain sees another path, and limits that one.
        target = self._static.get(path)
        if target is not None:
            return Match({}, target)
        for pattern, target in self._patterns:
            if found := pattern.fullmatch(path):
                return Match(found.groupdict(), target)
        if self._everywhere is not None and self.under(path):
            return Match({}, self._everywhere)
        return None

    async def resolve(self, match: Match, request: Request, identity: Identity) -> Resolved | Refusal:
        """The channels of a request of ``identity`` that matched; a function for them is told both."""
        if isinstance(match.target, _Templates):
            if match.target.source is not None and is_poll(request):
                return BAD_REQUEST.because("this stream is made for its client, and cannot be polled")
            return self._fill(match.target, match.params, identity.user)
        try:
            answer = await match.target(replace(request, params=match.params, identity=identity))
            if answer is not None and not isinstance(answer, list | tuple):
                raise TypeError(f"channels: must return a list, not {type(answer).__name__}")
            if any(isinstance(one, Source) for one in answer or ()):
                raise TypeError("channels: a Source has a path of its own, and comes from no function")
        except (LookupError, ValueError) as error:
            # What int(params["page"]) raises: the client's doing, so no traceback.
            return BAD_REQUEST.because("this path or query names no channel").of(identity.user, why(error))
        except Exception as error:  # noqa: BLE001 - the application's own
            text = "channels: the function failed for %s"
            tell_failure(error, text, value(request.path), function="channels", path=request.path)
            return BACKEND_DOWN.because("could not tell which channels this path stands for")
        return self._checked(answer or ())

    def _fill(self, templates: _Templates, params: Values, user: str | None) -> Resolved | Refusal:
        values = params
        if "user" in templates.names:
            if user is None:
                return UNAUTHENTICATED.because("this path is for signed-in users")
            values = {**params, "user": str(user)}
        for name in templates.names:
            if SEPARATOR in values[name] or not values[name]:
                if name == "user":
                    self._hint()
                return BAD_REQUEST.because(f"{{{name}}} must not be empty or have {SEPARATOR!r} in it")
        made: dict[str, Template] = {}
        open_ = set()
        first: dict[str, int] = {}
        try:
            for one, count in zip(templates.each, templates.first, strict=True):
                channel = check_channel(one.text.format_map(values))
                made.setdefault(channel, one)
                if count > first.get(channel, 0):
                    first[channel] = count
                if one.open:
                    open_.add(channel)
        except EventError as error:
            return BAD_REQUEST.because(str(error))
        _, _, compress, _, greetings, source = templates
        return Resolved(tuple(made), open_, compress, first, greetings, source, made, values)

    def _hint(self) -> None:
        if not self._hinted:
            self._hinted = True
            log.warning(
                "'%s' separates the parts of a channel's name, so a user with it in the name fills no {user} "
                "and is refused: sign users in under names without it",
                SEPARATOR,
                extra=about("separator-in-name"),
            )

    def _checked(self, names: Sequence[object]) -> Resolved | Refusal:
        if not names:
            return NOT_FOUND
        counts: dict[str, int] = {}
        try:
            for name in names:
                channel = check_channel(_text(name))
                counts[channel] = max(counts.get(channel, 0), _first(name))
        except EventError as error:
            return BAD_REQUEST.because(str(error))
        if len(counts) > self._max_channels:
            return BAD_REQUEST.because(f"more than {self._max_channels} channels")
        first = {channel: count for channel, count in counts.items() if count}
        return Resolved(tuple(counts), frozenset(), _compress(names), first, _greetings(names))

    def _add(self, template: str, target: ChannelsFor) -> None:
        if not self.under(template):
            raise ConfigError("channels", f"each path must be under {self._path}", template)
        names = placeholders(template)
        if "user" in names:
            raise ConfigError("channels", "{user} comes from the identity, never from the path", template)
        if len(set(names)) < len(names):
            raise ConfigError("channels", "a placeholder appears twice in this path", template)
        if isinstance(target, Source):
            made: _Target = self._sourced(target, template, names)
        else:
            made = callback("channels", target) if callable(target) else self._templates(target, names)
        self._label(made, template)
        if names:
            compiled = _compile(template)
            self._patterns.append((compiled, made))
            self._texts.append((compiled, template))
        else:
            self._static[template] = made

    def _label(self, target: _Target, path: str) -> None:
        if not isinstance(target, _Templates):
            self.labels.add_function()
        elif target.source is not None:
            self.labels.add_path(path)
        else:
            for one in target.each:
                self.labels.add(one)

    def _sourced(self, source: Source, path: str, names: list[str]) -> _Templates:
        if source.channel is not None:
            return self._templates(source.channel, names)._replace(source=source)
        if names:
            why = "a path with placeholders needs Source(…, channel=…), which says who may"
            raise ConfigError("channels", why, path)
        return _Templates((), frozenset(), False, (), source=source)

    def _templates(self, target: str | Channel | Sequence[str | Channel], names: list[str]) -> _Templates:
        named = target if isinstance(target, list | tuple | set | frozenset) else (target,)
        if any(isinstance(one, Source) for one in named):
            raise ConfigError("channels", "a Source has a path of its own, without other channels", target)
        texts = strings("channels", [_text(one) for one in named])
        if not texts or len(texts) > self._max_channels:
            raise ConfigError("channels", f"a path has 1 to {self._max_channels} channels", target)
        if len(set(texts)) < len(texts):
            raise ConfigError("channels", "a channel appears twice", target)
        each = tuple(self._template(text, names) for text in texts)
        first = tuple(_first(one) for one in named)
        names_of_all = frozenset().union(*(one.names for one in each))
        return _Templates(each, names_of_all, _compress(named), first, _greetings(named))

    def _template(self, text: str, names: list[str]) -> Template:
        template = Template.of(text)
        if self._anonymous and "user" in template.names:
            raise ConfigError("channels", "{user} needs identities with a user", text)
        if unknown := template.names - {*names, "user"}:
            raise ConfigError("channels", f"{{{min(unknown)}}} is not in the path", text)
        return template


def _text(channel: object) -> object:
    return channel.template if isinstance(channel, Channel) else channel


def _first(channel: object) -> int:
    return channel.count if isinstance(channel, Channel) else 0


def _greetings(channels: Iterable[object]) -> tuple[Callback, ...]:
    """Each greeting once, in the order of the channels."""
    made = [one.greeting for one in channels if isinstance(one, Channel) and one.greeting is not None]
    return tuple([callback("greeting", greeting) for greeting in dict.fromkeys(made)])


def _compress(channels: Iterable[object]) -> bool:
    return all(isinstance(channel, Channel) and channel.compress for channel in channels)


def _compile(template: str) -> re.Pattern[str]:
    # Before another placeholder of the same segment a value ends at the first separator.  Without that
    # rule, {a}-{b}-{c} would try every way to cut a path of dashes: cubic in what a client sends.
    first, *parts = PLACEHOLDER.split(template)
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
