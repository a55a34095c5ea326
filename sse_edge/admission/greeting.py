"""What the application says first to each client of a channel, made when it comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import EventError
from ..event import MAX_EVENT_BYTES, Event, as_event
from ..logline import value
from ..outcome import BACKEND_DOWN, Refusal
from .callback import Callback, tell_failure

if TYPE_CHECKING:
    from ..asgi import Request
    from ..identity import Identity

Greeting = Callable[["Request", "Identity"], Event | str | Awaitable[Event | str | None] | None]
"""Makes a stream's first event: an Event without an id, text, or None for none."""


async def greet(
    greetings: Iterable[Callback], request: Request, identity: Identity, most: int = MAX_EVENT_BYTES
) -> list[bytes] | Refusal:
    """What ``greetings`` say to ``identity``, as bytes on the wire, in their order, each of ``most``.

    BACKEND_DOWN where one of them fails or takes longer than callbacks may: a page that relies on its state
    is not let in without it.
    """
    said = []
    for make in greetings:
        try:
            answer = await make(request, identity)
            if answer is None:
                continue
            event = as_event(answer, most)
            if event.id is not None:
                raise EventError("id", "a greeting has none: it is in no history", event.id)
            said.append(event.encode())
        except Exception as error:  # noqa: BLE001 - the application's own
            who = value(request.path), value(identity.user)
            whose = {"path": request.path, "user": identity.user}
            tell_failure(error, "greeting failed for %s, user=%s", *who, function="greeting", **whose)
            return BACKEND_DOWN.because("could not make what this stream begins with").of(identity.user)
    return said
