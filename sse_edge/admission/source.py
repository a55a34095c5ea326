"""A route's own streams: each client has an iterator of the application's, behind the same gate."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..event import Event
from ..logline import value, why
from ..outcome import BACKEND_DOWN, BAD_REQUEST, OVER, Refusal
from .callback import Callback, callback, check_takes, generates, tell_failure

if TYPE_CHECKING:
    from ..asgi import Request
    from ..identity import Identity

Items = AsyncIterable[Event | str]
"""What one client hears: Events, or texts that become events without a name."""

Make = Callable[["Request", "Identity", str | None], Items | Awaitable[Items | None] | None]
"""Makes it, for a request of an identity whose last id was so; None where there is nothing more to hear."""


@dataclass(frozen=True, slots=True)
class Source:
    """A stream that is made for each client: a counter, a clock, a model's answer.

    ``make``: ``(request, identity, after)``, an async generator function, or a function or class that gives
    an async iterator of ``Event`` or text; a sync function runs in a thread.  ``after`` is the client's last
    id as the iterator gave it, ``Event(…, id=…)``, or None.  None in place of an iterator says that there is
    nothing more: the client is told not to come back (204).  All of an iterator runs in one task.

    ``channel``: a channel's template that says who may: its name is asked about, and is what ``disconnect``
    ends, as for any other channel.  Nothing that is published to it is heard.  Without it every identity may,
    as with a plain channel, and a path with placeholders is refused.

    Raises ConfigError.
    """

    make: Make
    channel: str | None = None
    _ask: Callback = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_takes("make", self.make, "request", "identity", "after")
        if generates(self.make) == "sync":
            raise ConfigError("make", "must be an async generator, not a sync one", self.make)
        channel: object = self.channel
        if channel is not None and not isinstance(channel, str):
            raise ConfigError("channel", "must be a channel's template, or None", channel)
        # What only makes an object needs no thread, and may need the event loop.
        at_once = isinstance(self.make, type) or generates(self.make) == "async"
        object.__setattr__(self, "_ask", callback("make", self.make, threaded=not at_once, many=True))

    async def begin(
        self, request: Request, identity: Identity, after: str | None
    ) -> AsyncIterator[Any] | Refusal:
        """The iterator for one client, or why it gets none."""
        try:
            made = await self._ask(request, identity, after)
            if made is None:
                return OVER.of(identity.user)
            if not isinstance(made, AsyncIterable):
                raise TypeError(f"make must return an async iterator or None, not {type(made).__name__}")
            return aiter(made)
        except (LookupError, ValueError) as error:
            # What int(params["page"]) raises: the client's doing, so no traceback.
            return BAD_REQUEST.because("this path or query names no stream").of(identity.user, why(error))
        except Exception as error:  # noqa: BLE001 - the application's own
            who = value(request.path), value(identity.user)
            said = {"path": request.path, "user": identity.user}
            tell_failure(error, "source failed to begin for %s, user=%s", *who, function="source", **said)
            return BACKEND_DOWN.because("this stream cannot begin at the moment").of(identity.user)
