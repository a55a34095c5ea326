"""A channel as routes name it: its template, and how its streams are served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from .callback import check_answers, check_takes
from .greeting import Greeting
from .settings import flag

ALL = 2_147_483_647
"""More events than any channel's history has."""

MOST = 1_000_000
"""First events at most, where they are counted."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel's template, with more to say about it than its name.

    - ``compress``: to be sent as gzip to clients that take it, if all channels of the stream are; see
      SECURITY.md for what must not be compressed together.
    - ``first``: how many of the channel's last events a client without a place is given before it goes live,
      or ``"all"`` that history has.
    - ``greeting``: ``(request, identity)``, sync (run in a thread) or async, makes each stream's very first
      event, or None; it is asked when the stream hears its channels already, so that nothing which changes
      after the state that it reads is missed.

    Raises ConfigError.
    """

    template: str
    compress: bool = False
    first: int | Literal["all"] = 0
    greeting: Greeting | None = None

    def __post_init__(self) -> None:
        text: object = self.template
        if not isinstance(text, str):
            raise ConfigError("channels", "Channel(…) takes a channel's template", text)
        flag("compress", self.compress)
        first: object = self.first
        if first != "all" and not (type(first) is int and 0 <= first <= MOST):
            raise ConfigError("first", f'must be "all" or a whole number of events, 0 to {MOST}', first)
        if self.greeting is not None:
            check_takes("greeting", self.greeting, "request", "identity")
            check_answers("greeting", self.greeting)

    @property
    def count(self) -> int:
        """``first`` as a number."""
        return ALL if self.first == "all" else self.first
