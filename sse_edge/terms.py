"""On which terms streams are given, where no policy of admission's says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .admission.settings import flag, one_of


@dataclass(frozen=True, slots=True)
class Terms:
    """Settings of the edge that check themselves.

    ``refusals``: how a 429 or 503 is said, as a ``"status"``, as a ``"stream"``, or ``"auto"``, as a stream
    to whoever accepts one.  ``on_backend_down``: ``"refuse"`` streams while the backend is away, or
    ``"accept"`` them.  ``query_cursor``: whether the last event's id is taken from the query too.  ``joins``:
    whether a response may have the streams of several URLs.  Raises ConfigError.
    """

    refusals: Literal["auto", "status", "stream"] = "auto"
    on_backend_down: Literal["refuse", "accept"] = "refuse"
    query_cursor: bool = True
    joins: bool = True

    def __post_init__(self) -> None:
        one_of("refusals", self.refusals, "auto", "status", "stream")
        one_of("on_backend_down", self.on_backend_down, "refuse", "accept")
        flag("query_cursor", self.query_cursor)
        flag("joins", self.joins)

    @property
    def accepts_blindly(self) -> bool:
        """Whether streams begin while the backend is away."""
        return self.on_backend_down == "accept"

    def says_as_stream(self, *, accepted: bool) -> bool:
        """Whether a 429 or 503 is said in a stream, to whoever has ``accepted`` one or not."""
        return self.refusals == "stream" or (self.refusals == "auto" and accepted)
