"""Publishing events from anywhere: another process, a background task, a view."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from ..backends import open_backend
from ..backends.base import Backend
from ..errors import ConfigError, EventError
from ..event import MAX_EVENT_BYTES, Event, check_channel, check_most
from ..jsontext import Default
from ..stored import StoredEvent, stored
from ..tracing import publishing
from . import orders
from .composer import UNSET, composed, composed_many, reopening
from .writer import PATIENCE, Endings, Keeper, Pieces, Written, give_up, write

_MOST = 2_147_483_647  # more than any history has


class Publisher:
    """Publishes to the channels of a backend, given as a URL or as a backend object.

    ``async with Publisher(url) as events`` closes the connections it opened; so does ``aclose()``.

    - ``default``: a function of a value that says what stands for it in ``json=``, where that holds something
      of the application's own; see ``Event``, which has its own for those that are made elsewhere.
    - ``max_event_bytes``: of an encoded event, 1,024 to 262,144; more is an EventError.  More than that
      belongs behind a link.
    """

    def __init__(
        self,
        backend: str | Backend = "memory://",
        *,
        default: Default | None = None,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        if default is not None and not callable(default):
            raise ConfigError("default", "must be a function of a value", default)
        self._backend, self._owned = open_backend(backend)
        self._default = default
        self._most = check_most(max_event_bytes)
        self._presence = self._backend.presence()
        self._keepers: dict[asyncio.AbstractEventLoop, Keeper] = {}

    async def publish(
        self,
        channel: str,
        data: str | Event = UNSET,
        *,
        event: str | None = None,
        json: object = UNSET,
        dedupe_key: str | None = None,
        except_user: str | None = None,
    ) -> str:
        """Publish one event and return its id.

        ``data`` is text, or ``json`` anything that can be written as JSON, see ``Event``; or give a whole
        ``Event`` without an id.  With a backend that keeps no history the id is "".

        ``dedupe_key``: 1 to 256 characters by which this event is known on its channel.  Repeated, it
        publishes nothing and returns the first id; so with a key a publish whose connection is lost is
        tried once more before it fails.

        ``except_user``: the name of a user, of at most 1,024 characters, who is not to hear it: on none of
        its streams and polls, on no worker, and not from history.  Everybody else does, and nobody is told
        the name.  ``recent`` has it like any other event.

        Calls that are made while others are under way travel together, in the order in which they were made.

        Raises EventError for bad input and PublishError when the backend does not confirm.
        """
        outgoing = composed(
            channel, data, event, json, dedupe_key, except_user, default=self._default, most=self._most
        )
        return (await publishing(self._backend.publish)([outgoing]))[0]

    async def publish_many(
        self,
        events: Iterable[tuple[str, str | Event]],
        *,
        dedupe_keys: Sequence[str | None] | None = None,
        except_users: Sequence[str | None] | None = None,
    ) -> list[str]:
        """Publish ``(channel, text or Event)`` pairs, in order over all channels of a partition; their ids.

        It takes one round trip, or one for each 500 events, in each partition.  No later call comes between.

        ``dedupe_keys`` and ``except_users``: one for each event, or None where it has none; see ``publish``.
        A call whose connection is lost is tried once more if every event has a key.  All of it is checked
        before the first event is published: raises EventError for bad input, whose ``index`` says which
        event it is, and PublishError like ``publish``; its ``published`` are the ids of the first events
        that are out, and ``may_have_happened`` is about the others.
        """
        outgoing = composed_many(events, dedupe_keys, except_users, most=self._most)
        return await publishing(self._backend.publish)(outgoing)

    async def finish(
        self,
        channel: str,
        data: str | Event = UNSET,
        *,
        event: str | None = None,
        json: object = UNSET,
        dedupe_key: str | None = None,
    ) -> str:
        """Publish the channel's last event, given as to ``publish``, and return its id.

        Whoever listens to finished channels alone is given it, and then its stream ends as ``finished``.  The
        channel takes no more events until its history's time is over after this one, or until ``reopen``:
        publishing to it, or finishing it once more, raises PublishError with ``reason`` ``"finished"``.

        Raises like ``publish``, and EventError where no history is kept.
        """
        outgoing = composed(
            channel, data, event, json, dedupe_key, finish=True, default=self._default, most=self._most
        )
        return (await publishing(self._backend.publish)([outgoing]))[0]

    async def reopen(self, channel: str) -> None:
        """Let a finished channel go on; any other stays as it is.  Raises like ``finish``."""
        await self._backend.publish([reopening(channel)])

    async def recent(self, channel: str, n: int) -> list[StoredEvent]:
        """The last ``n`` events, 1 or more, that history has of the channel, oldest first.

        For a page to be rendered with, which then connects from the last one's ``id`` without a hole; or from
        ``cursor()``, asked for before, where it listens to more.  Raises EventError and BackendError.
        """
        if type(n) is not int or n < 1:
            raise EventError("n", "must be a whole number of events, 1 or more", n)
        channel = check_channel(channel)
        found = await self._backend.recent(channel, min(n, _MOST))
        return [event for _, frame in found if (event := stored(channel, frame)) is not None]

    async def count(self, channel: str) -> int:
        """How many open streams there are on a channel, over all workers; polls count while they wait.

        In one process it is exact.  Through Redis it is what each worker said with its last heartbeat, 5
        seconds ago at most; those of a worker that was killed count for up to 10 seconds.  Where Redis has
        lost its data it is less, at first 0, until each has said it again.  Raises EventError and
        BackendError.
        """
        return await self._presence.count(check_channel(channel))

    async def present(self, user: str) -> int:
        """How many open streams a user has, over all workers; see ``count``.  Raises like that."""
        return await self._presence.present(orders.check_one_of(user=user)[1])

    async def write(
        self,
        channel: str,
        iterator: Pieces,
        *,
        event: str | None = "token",
        complete: str = "complete",
        failed: str | Callable[[BaseException], str] = "failed",
        stopped: str = "stopped",
        abandoned: str = "abandoned",
        join: bool = False,
        reopen: bool = False,
        patience: float = PATIENCE,
    ) -> Written:
        """Publish what an iterator gives, until its end, and finish ``channel`` with that; what came of it.

        ``iterator``: an async or sync one of text and Events, or what can be iterated; a sync one runs in a
        thread of its own.  Texts that come within 20 ms are one event called ``event``, and all that comes
        within them is one call, at most 5 ms later.  A text that is larger than an event may be is several.
        The iterator is asked for no more than 256 KiB (and one piece) ahead of what is out, and is closed in
        the end, also where it was refused; a sync one that blocks then is closed as soon as it no longer
        does, and waited for during 3 seconds.

        The last event is called ``complete``; ``failed`` where the iterator raises, which is logged and
        never sent; ``stopped`` after ``stop``; or ``abandoned``: by a process that died, within 10 seconds,
        or at once where the task that awaits this is cancelled, where this publisher is closed, or where
        the app that ``SSEMiddleware`` wraps on this event loop is shut down by its server.  These arguments
        are its data; ``failed`` may be a function that makes it from the exception.  Whoever else finishes
        the channel ends this too, and ``Written.reason`` is then the name of that event.

        A thread without an event loop writes in one of its own, with a publisher that was made in it:
        ``asyncio.run(…)``.

        One writer has a channel at a time, over all workers.  ``join``: where there is another, close this
        iterator unused, and return how that one ended.  ``reopen``: also write to a finished channel.

        While the backend is away the iterator waits, for up to ``patience`` seconds; what is out then is
        looked at before anything is repeated.

        Raises EventError for bad input; and PublishError whose ``reason`` is ``"writing"`` or ``"finished"``
        where the channel is another's or has had its last event, or ``"unconfirmed"`` when patience is over.
        """
        if isinstance(patience, bool) or not isinstance(patience, (int, float)) or not 0 <= patience < 1e9:
            raise EventError("patience", "must be a number of seconds, 0 or more", patience)
        for field, given in (("join", join), ("reopen", reopen)):
            if not isinstance(given, bool):
                raise EventError(field, "must be True or False", given)
        endings = Endings(
            complete=complete, failed=failed, stopped=stopped, abandoned=abandoned, most=self._most
        )
        return await write(
            self._backend,
            self._keeper(),
            channel,
            iterator,
            event=event,
            endings=endings,
            join=join,
            reopen=reopen,
            patience=patience,
            most=self._most,
        )

    async def stop(self, channel: str) -> bool:
        """Have whoever writes to ``channel``, in any process, stop within a second; whether anybody does.

        Its iterator is closed, and the channel finishes as ``stopped``.  Raises BackendError when it is not
        certain that it was told.
        """
        return await self._backend.writers().stop(check_channel(channel))

    def _keeper(self) -> Keeper:
        loop = asyncio.get_running_loop()
        if loop not in self._keepers:
            for gone in [known for known in self._keepers if known.is_closed()]:
                del self._keepers[gone]
            self._keepers[loop] = Keeper(self._backend.writers())
        return self._keepers[loop]

    async def cursor(self) -> str:
        """A place after everything published so far, for a page to connect from without a hole."""
        return str(await self._backend.cursor())

    async def disconnect(
        self, *, user: str | None = None, channel: str | None = None, session: str | None = None
    ) -> None:
        """End every open stream of a user, on a channel, or of a session, on every worker.

        They end as ``revoked``; the clients may come back if their cookie still lets them.
        """
        await self._backend.publish([orders.disconnection(user, channel, session)])

    async def revoke(self, session: str | None, *, max_age: float | None = None) -> None:
        """End every stream of a session, and refuse its cookie from now on, for as long as it can live.

        That is the longest ``max_age`` that the workers' authenticators have or lately had, or 400 days
        (browsers keep no cookie longer) where no worker has said it.  ``max_age``: seconds instead of that.
        A cookie that lives longer is let in again after them.
        Raises EventError for a session that has no name, ``Identity.session`` being None, and PublishError or
        BackendError when it is not certain that it happened.
        """
        session = orders.check_revocation(session, max_age)
        until = None if max_age is None else time.time() + max_age
        # First kept, then told: a worker that begins in between learns of it as well.
        until = await self._backend.revoke(session, until)
        await self._backend.publish([orders.revocation(session, until)])

    async def aclose(self) -> None:
        """Close what this publisher opened; before that what it writes on this event loop is abandoned."""
        if not self._owned:
            return
        try:
            keeper = self._keepers.get(asyncio.get_running_loop())
            if keeper is not None:
                await give_up(keeper)
        finally:
            await self._backend.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
