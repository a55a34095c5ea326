"""Opening a stream that was let in: on a hub, until its first bytes and what it is owed are out."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..admission.gate import Admission, Gate
from ..admission.greeting import greet
from ..admission.source import Source
from ..asgi import Request
from ..backends.base import Leases
from ..delivery.hub import Hub
from ..delivery.stream import Stream
from ..errors import BackendError
from ..event import Place
from ..figures import Histogram
from ..outcome import BACKEND_DOWN, ERROR, OVER, Refusal
from .entrant import Entrant


class Opened(NamedTuple):
    """A stream that hears its channels, before its first byte; ``blind`` while the backend is away.  What its
    channels' greetings ``said`` comes before all else.  It hears none if it ``plays`` a source.  It was asked
    for when it ``began``, by the monotonic clock, and how long it ``took`` is to be counted there."""

    hub: Hub
    stream: Stream
    cursor: Place | None
    first: Mapping[str, int]
    blind: bool
    said: Sequence[bytes]
    plays: bool
    began: float
    took: Histogram


class Opening:
    """Opens streams whose greetings have ``most`` bytes in an event.

    ``accepts_blindly`` is whether they begin while the backend is away.  How long each took until its first
    bytes is to be counted by ``took``.
    """

    def __init__(
        self, gate: Gate, leases: Leases, most: int, took: Histogram, *, accepts_blindly: bool
    ) -> None:
        self._gate = gate
        self._leases = leases
        self._most = most
        self._took = took
        self._accepts_blindly = accepts_blindly

    async def open(self, entrant: Entrant, admission: Admission) -> Opened | Refusal:
        """Open what was admitted, or let go of what it holds."""
        opened: Opened | Refusal | None = None
        try:
            stream = self._stream(entrant, admission)
            if isinstance(stream, Refusal):
                return stream
            if admission.source is None:
                opened = await self._listen(entrant, admission, stream)
            else:
                opened = await self._play(entrant, admission, admission.source, stream)
            return opened
        finally:
            if not isinstance(opened, Opened):
                self._leases.release(admission.subjects)

    def _stream(self, entrant: Entrant, admission: Admission) -> Stream | Refusal:
        """A stream that is not open yet, or why there may be none any more."""
        sink, now = entrant.sink(admission), time.time()
        hub, identity = entrant.worker.hub, admission.identity
        refusal = self._gate.changed(admission, now, streams=len(hub.streams), draining=hub.drain.begun)
        if refusal is not None:
            return refusal.of(identity.user)
        return hub.new_stream(
            admission.channels,
            sink,
            None if identity.expires is None else identity.expires - now,
            identity.user,
            identity.session,
            admission.address,
            entrant.request.path,
            compress=admission.compress and entrant.wait is None,
            wait=entrant.wait,
            cursor=admission.cursor,
        )

    async def _listen(self, entrant: Entrant, admission: Admission, stream: Stream) -> Opened | Refusal:
        """Have it hear its channels, and ask for what comes first."""
        hub, identity = entrant.worker.hub, admission.identity
        # Only who would never come back is let in without events.
        accepts_blindly = self._accepts_blindly and entrant.wait is None
        blind = accepts_blindly and not hub.subscriber.connected
        try:
            if not blind and not await hub.subscribe(stream, admission.cursor):
                return OVER.of(identity.user)
        except BackendError as error:
            if not accepts_blindly:
                return BACKEND_DOWN.of(identity.user, str(error))
            blind = True  # it was not known yet that the backend is away
        if blind:
            hub.adopt(stream)
        # Asked now that its channels are heard.  A poll with a place has had them.
        greetings = admission.greetings if entrant.wait is None or admission.cursor is None else ()
        said: list[bytes] | Refusal | None = None
        try:
            if greetings:
                said = await greet(greetings, _told(entrant.request, admission), identity, self._most)
            else:
                said = []
        finally:
            if not isinstance(said, list):
                hub.undo(stream)
        if isinstance(said, Refusal):
            return said
        entrant.worker.watch(stream, admission)
        cursor, first = admission.cursor, admission.first
        return Opened(hub, stream, cursor, first, blind, said, False, entrant.began, self._took)

    async def _play(
        self, entrant: Entrant, admission: Admission, source: Source, stream: Stream
    ) -> Opened | Refusal:
        """Ask the source for what it is to be played."""
        hub = entrant.worker.hub
        hub.own(stream)
        made: AsyncIterator[object] | Refusal | None = None
        try:
            told = _told(entrant.request, admission)
            made = await source.begin(told, admission.identity, admission.after)
        finally:
            if made is None or isinstance(made, Refusal):
                hub.undo(stream)
        if isinstance(made, Refusal):
            return made
        hub.sources.add(stream, made)
        entrant.worker.watch(stream, admission)
        return Opened(hub, stream, None, admission.first, False, (), True, entrant.began, self._took)


async def hold(
    hub: Hub,
    stream: Stream,
    cursor: Place | None,
    first: Mapping[str, int],
    blind: bool,
    said: Sequence[bytes],
    plays: bool,
    began: float,
    took: Histogram,
) -> None:
    """Open it, for as long as that takes the request's own task; when it is over the hub is told."""
    try:
        # The first bytes do not wait for history, so that no proxy holds the headers back.
        await stream.begin_response(hub.greeting())
        took.observe(time.monotonic() - began)
        hub.give_first(stream, said)
        if plays:
            hub.sources.begin(stream)
        elif blind:
            hub.catch_up_later(stream, cursor, first)
        else:
            await hub.catch_up(stream, cursor, first)
        await stream.sink.run()
    except BaseException:
        hub.close_stream(stream, ERROR)
        stream.sink.abort()
        raise


def _told(request: Request, admission: Admission) -> Request:
    """A request as the application's functions are told it."""
    return replace(request, params=admission.params, identity=admission.identity)
