"""A channel as routes name it: its template, and how its streams are served."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel's template, with more to say about it than its name.

    ``compress``: to be sent as gzip to clients that take it, if all channels of the stream are; see
    SECURITY.md for what must not be compressed together.  Raises ConfigError.
    """

    template: str
    compress: bool = False

    def __post_init__(self) -> None:
        text: object = self.template
        if not isinstance(text, str):
            raise ConfigError("channels", "Channel(…) takes a channel's template", text)
        if not isinstance(self.compress, bool):
            raise ConfigError("compress", "must be True or False", self.compress)
