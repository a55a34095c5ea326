"""The protocols between the wings: all that delivery and admission know of a backend."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from ..errors import BackendError, EventError
from ..event import FINISHED, REOPENED, EventId, Place
from .presence import Presence
from .reports import Reports
from .retention import Kept
from .writers import Writers

T = TypeVar("T")

LONGEST_LIFE = 400 * 86_400.0
"""Seconds that a session can live where nobody says it: browsers keep no cookie for longer than 400 days
(RFC 6265bis, section 5.5)."""

CONTROL = "\x01control"
"""The channel on which workers are told to end streams; no application's channel can be called so."""


class Numbered(NamedTuple):
    """An event that history can give again: its id in its data set, its bytes on the wire, id line
    included, and whose streams are not to hear it.
    """

    id: EventId
    frame: bytes
    except_user: str | None = None


Entry = tuple[int, int, bytes]
"""The same as streams are given it: the two numbers of its id, and its bytes.  What many streams missed is
given to each as it is there: to make two objects of each event would be most of what a resume costs."""


Logged = Entry | tuple[int, int, bytes, str]
"""The same as logs keep it: with the user who is not to hear it, if there is one."""


def heard_by(user: str | None, kept: Iterable[Logged]) -> list[Entry]:
    """The events of ``kept`` that ``user`` is to hear, or who is none."""
    return [entry[:3] for entry in kept if len(entry) == 3 or entry[3] != user]


id_of = itemgetter(0, 1)
"""An entry's id as a plain tuple, for bisect."""


class Reset(NamedTuple):
    """Completeness of ``channel`` cannot be proven from before ``head``; ``reason`` says why not.

    ``head`` is None where nothing is numbered.  ``first`` is for streams that are open: the channel's last
    events as of then, and ``REOPENED`` among them, as many as make enough for each user, without their id
    lines; at least that with which it finished.
    """

    channel: str
    reason: str
    head: Place | None
    first: Sequence[Logged] = ()


class Replay(NamedTuple):
    """What a stream is owed before it goes live.

    ``events`` in the order of their ids, then live events with ids above ``upto``.  ``resets`` come
    before the events.  ``upto`` is None where nothing is numbered.  ``reach`` says of channels whose
    events reach further than ``upto``, how far; no reset of theirs from before follows.
    """

    events: Sequence[Entry]
    resets: list[Reset]
    upto: Place | None
    reach: Mapping[str, EventId] = {}


NO_FIRST: Mapping[str, int] = MappingProxyType({})
"""Nothing of any channel comes first."""


class Receiver(Protocol):
    """Where a subscriber puts what it hears; the hub of one worker.  No call waits."""

    def deliver(self, channel: str, id: EventId | None, frame: bytes, except_user: str | None = None) -> None:
        """An event on ``channel``; without an id it is live-only and in no history.

        No stream of ``except_user`` is to hear it.
        """

    def deliver_late(self, channel: str, id: EventId, frame: bytes, except_user: str | None = None) -> None:
        """An event that went missing; newer ones of other channels went out before it."""

    def traced(self, channel: str, trace: str) -> None:
        """The event that was delivered last, on ``channel``, was published in this context.

        See ``tracing``.
        """

    def reset(self, reset: Reset) -> None:
        """Something on a channel was lost for good."""

    def flush(self) -> None:
        """All that came together was given: whoever writes it need not wait for the rest."""


class Hearing(NamedTuple):
    """How well a worker hears: channels that are wanted and not known to be heard yet, messages that wait
    until those before them are there, and seconds since everything was known to be delivered.
    """

    settling: int = 0
    held: int = 0
    age: float = 0.0


class Subscriber(Protocol):
    """One worker's ear: every channel that any of its streams listens to, each of them once."""

    @property
    def connected(self) -> bool:
        """Whether events arrive at the moment."""

    @property
    def position(self) -> Place | None:
        """Everything up to here, on every subscribed channel, has been delivered.

        None while that cannot be said, and where nothing is numbered.
        """

    @property
    def refused(self) -> str | None:
        """What the backend says to writes while it takes none, or None.  Listening goes on."""

    @property
    def dropped(self) -> dict[str, int]:
        """Messages that were no events: ``malformed`` ones, and ``foreign`` ones of another data set or of
        somebody who may only PUBLISH.
        """

    @property
    def hearing(self) -> Hearing:
        """How well it hears at the moment; to be asked from time to time."""

    def measure(self, channel: str, id: EventId, then: Callable[[float], None]) -> None:
        """Call ``then`` with the seconds since an event of ``channel`` was given its ``id``, by the clock
        that did, as soon as they are sure; not at all where they cannot be said.
        """

    def bound(self, max_event_bytes: int) -> None:
        """Take no larger event of whoever may only PUBLISH; of a publisher, what that has let through."""

    async def start(self) -> None:
        """Begin; does not wait for the backend to be there."""

    async def close(self) -> None:
        """Stop, and let go of every channel."""

    def want(self, channels: Sequence[str]) -> None:
        """Begin to hear ``channels`` as soon as the backend is there; undone by ``unsubscribe``."""

    async def subscribe(self, channels: Sequence[str]) -> Place | None:
        """Return once every one of ``channels`` is being heard: the place after which all is.

        None where nothing is numbered.  Counted: each call is undone by one ``unsubscribe`` of the same
        channels; an error or a cancellation undoes it by itself.  Raises BackendError.
        """

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """Undo one ``subscribe``."""

    async def replay(
        self,
        channels: Sequence[str],
        after: Place | None,
        first: Mapping[str, int] = NO_FIRST,
        user: str | None = None,
    ) -> Replay:
        """What was published on subscribed ``channels`` after ``after``, a client's place or what
        ``subscribe`` returned, as far as ``user`` is to hear it.

        A place in another data set is answered with resets.  With None nothing is owed, and ``upto`` says
        where the stream begins.  Of every channel then, and of one that is reset, the events are the last
        ``first`` that history has (0 if it does not say), and the last one of a channel that is finished.
        Raises BackendError.
        """

    def finished(self, channels: Sequence[str]) -> Place | None:
        """Where the last event of subscribed ``channels`` is, if all of them are known to be finished."""


class Leases(Protocol):
    """Counted slots per subject (``user:u42``, ``ip:192.0.2.1``)."""

    @property
    def degraded(self) -> bool:
        """Whether slots count in this worker alone, because the backend is away."""

    async def start(self) -> None:
        """Begin; does not wait for the backend to be there."""

    async def close(self) -> None:
        """Give everything back."""

    async def acquire(self, caps: Sequence[tuple[str, int]]) -> str | None:
        """Take one slot of every ``(subject, cap)``, or none: then the subject that is full.

        When cancelled, nothing is held.
        """

    def release(self, subjects: Sequence[str]) -> None:
        """Give one slot of every subject back."""


Window = tuple[int, float, int, float]
"""Hits in the window before, seconds that they still weigh, and the same of the present window."""


class Attempt(NamedTuple):
    """An attempt to connect that is to be counted under ``key``, where ``limit`` are allowed in ``length``
    milliseconds.
    """

    key: str
    limit: int
    length: int


class AloneError(BackendError):
    """Leases count in this worker alone, so that nothing else is counted with them."""


@runtime_checkable
class Turnstile(Leases, Protocol):
    """Leases of a backend that counts an attempt to connect, of its own ``windows``, in the same step."""

    async def enter(self, attempt: Attempt, caps: Sequence[tuple[str, int]]) -> Window | str | None:
        """Count ``attempt``, and then ``acquire``; where too many were counted already, how full it is.

        Raises AloneError, and then nothing is held, but the attempt may be counted; or BackendError.  When
        cancelled, nothing is held.
        """


class Backend(Protocol):
    """Where events come from and go to."""

    def subscriber(self, receiver: Receiver) -> Subscriber:
        """A new ear for one worker."""

    def windows(self) -> Any:
        """A storage in which the limits library counts for all workers, or None: each for itself."""

    def leases(self) -> Leases:
        """The slots this worker shares with all others of the same backend."""

    def writers(self) -> Writers:
        """Who writes to which channel."""

    def presence(self) -> Presence:
        """How many streams all workers have, and what one of them says of its own."""

    async def reports(self) -> Reports:
        """What each worker said of itself last, with its heartbeat.  Raises BackendError."""

    @property
    def said(self) -> Kept | None:
        """How much history it was told to keep; None if that was not said."""

    async def publish(self, events: Sequence[Outgoing]) -> list[str]:
        """Number, keep and announce each event; their places, as clients see them, in the same order.

        On each channel none of a later call comes before those of an earlier one.  A channel that is finished
        takes none until its retention has passed; ``REOPENED`` is taken then, and changes nothing otherwise.
        Raises PublishError.
        """

    def depth(self, pattern: str) -> int | None:
        """How many events are kept at most of any channel that ``pattern`` covers; None if nobody knows."""

    async def recent(self, channel: str, count: int) -> list[tuple[Place, bytes]]:
        """The last ``count`` events that history has of ``channel``, oldest first, each with its id line.

        Raises BackendError.
        """

    async def cursor(self) -> Place:
        """A place after everything published so far.  Raises BackendError."""

    async def revoke(self, session: str, until: float | None = None) -> float:
        """Remember that ``session`` is revoked until then, in Unix seconds; by itself for as long as a
        session can live: the longest life that any worker says, or ``LONGEST_LIFE``.

        Until when it is.  Raises BackendError.
        """

    async def revoked(self, life: float = 0.0) -> dict[str, float]:
        """Every session that is revoked, and until when.  Raises BackendError.

        ``life``: seconds that the sessions of the worker that asks can live; 0 says nothing.  Its word
        counts for that long and a day, so that cookies from before a change are remembered too; it is to
        be repeated within the day.
        """

    async def close(self) -> None:
        """Let go of connections that publishing opened."""

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work with this backend, for a thread without an event loop."""

    def close_sync(self) -> None:
        """Let go of the connections that ``wait`` opened."""


class Outgoing(NamedTuple):
    """One event on its way to the backend; ``body`` is encoded without an id line.

    No stream of ``except_user`` is to hear it.  ``trace`` is the context that it is published in; see
    ``tracing``.
    """

    channel: str
    body: bytes
    dedupe_key: str | None = None
    except_user: str | None = None
    trace: str | None = None


def check_kept(events: Sequence[Outgoing], *, numbered: bool) -> None:
    """Refuse what needs history where none is kept.  Raises EventError."""
    if numbered:
        return
    for event in events:
        if event.dedupe_key is not None:
            raise EventError("dedupe_key", "needs a backend that keeps history", event.dedupe_key)
        if event.body == REOPENED or event.body.endswith(FINISHED):
            raise EventError("channel", "to finish it needs a backend that keeps history", event.channel)
