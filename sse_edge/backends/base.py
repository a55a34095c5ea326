"""The protocols between the wings: all that delivery and admission know of a backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..errors import EventError
from ..event import EventId


class Numbered(NamedTuple):
    """An event that history can give again: its id, and its bytes on the wire, id line included."""

    id: EventId
    frame: bytes


class Reset(NamedTuple):
    """Completeness of ``channel`` cannot be proven from before ``head``; ``reason`` says why not."""

    channel: str
    reason: str
    head: EventId


class Replay(NamedTuple):
    """What a stream is owed before it goes live.

    ``events`` in the order of their ids, then live events with ids above ``upto``.  ``resets`` come
    before the events.  ``upto`` is None where nothing is numbered.
    """

    events: list[Numbered]
    resets: list[Reset]
    upto: EventId | None


class Receiver(Protocol):
    """Where a subscriber puts what it hears; the hub of one worker.  Both calls never wait."""

    def deliver(self, channel: str, id: EventId | None, frame: bytes) -> None:
        """An event on ``channel``; without an id it is live-only and in no history."""

    def reset(self, reset: Reset) -> None:
        """Something on a channel was lost for good."""


class Subscriber(Protocol):
    """One worker's ear: every channel that any of its streams listens to, each of them once."""

    @property
    def connected(self) -> bool:
        """Whether events arrive at the moment."""

    @property
    def position(self) -> EventId | None:
        """Everything up to here, on every subscribed channel, has been delivered.

        None while that cannot be said.
        """

    async def start(self) -> None:
        """Begin; does not wait for the backend to be there."""

    async def close(self) -> None:
        """Stop, and let go of every channel."""

    async def subscribe(self, channels: Sequence[str]) -> None:
        """Return once every one of ``channels`` is being heard.

        Counted: each call is undone by one ``unsubscribe`` of the same channels, also after an error
        or a cancellation, which undo themselves.  Raises BackendError.
        """

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """Undo one ``subscribe``."""

    async def replay(self, channels: Sequence[str], after: EventId | None) -> Replay:
        """What was published on subscribed ``channels`` after the event ``after``.

        With None nothing is owed, and ``upto`` says where the stream begins.  Raises BackendError.
        """


class Leases(Protocol):
    """Counted slots per subject (``user:u42``, ``ip:192.0.2.1``)."""

    async def acquire(self, caps: Sequence[tuple[str, int]]) -> str | None:
        """Take one slot of every ``(subject, cap)``, or none: then the subject that is full.

        Raises BackendError.  When cancelled, nothing is held.
        """

    def release(self, subjects: Sequence[str]) -> None:
        """Give one slot of every subject back."""


class Backend(Protocol):
    """Where events come from and go to."""

    def subscriber(self, receiver: Receiver) -> Subscriber:
        """A new ear for one worker."""

    def leases(self) -> Leases:
        """The slots this worker shares with all others of the same backend."""

    async def publish(self, events: Sequence[Outgoing]) -> list[str]:
        """Number, keep and announce each event; their ids in the same order.

        Raises PublishError; what it says holds for the first event that has no id.
        """

    def publish_sync(self, events: Sequence[Outgoing]) -> list[str]:
        """The same from a thread without an event loop."""

    async def cursor(self) -> EventId:
        """A place after everything published so far.  Raises BackendError."""

    def cursor_sync(self) -> EventId:
        """The same from a thread without an event loop."""

    async def close(self) -> None:
        """Let go of connections that publishing opened."""

    def close_sync(self) -> None:
        """The same from a thread without an event loop."""


class Outgoing(NamedTuple):
    """One event on its way to the backend; ``body`` is encoded without an id line."""

    channel: str
    body: bytes
    dedupe_key: str | None = None


def check_keys(events: Sequence[Outgoing], history: int) -> None:
    """Refuse a ``dedupe_key`` where nothing is kept to know it by.  Raises EventError."""
    for event in events:
        if event.dedupe_key is not None and not history:
            raise EventError("dedupe_key", "needs a backend that keeps history", event.dedupe_key)
