"""What is subscribed on a connection is made what is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ...errors import BackendError
from .channel import Channel
from .membership import Membership
from .server import Verbs

LINGER = 2.0
"""Seconds a channel that nobody listens to stays subscribed: a page that reloads comes right back."""

BATCH = 500
"""Channels per SUBSCRIBE: Redis serves nobody else meanwhile."""


class Subscriptions:
    """Asks for the channels of ``members``, and for the worker's ``own``, on one connection after the other.

    ``on_confirmed`` is called with each channel that is heard from now on, ``on_dropped`` with each that is
    let go of.  ``confirmed`` is set once all is heard that was wanted when the connection began.
    """

    def __init__(
        self,
        members: Membership,
        verbs: Verbs,
        own: bytes,
        on_confirmed: Callable[[Channel], None],
        on_dropped: Callable[[Channel], None],
    ) -> None:
        self._members = members
        self._verbs = verbs
        self._own = own
        self._own_heard = False
        self._on_confirmed = on_confirmed
        self._on_dropped = on_dropped
        self._wake = asyncio.Event()
        self.confirmed = asyncio.Event()

    def begin(self) -> None:
        """A new connection, on which nothing is subscribed."""
        self._members.begin()
        self.drop_idle(0.0)
        self._own_heard = False
        self.confirmed.clear()

    def wake(self) -> None:
        """Something is wanted that was not asked for."""
        self._wake.set()

    async def keep(self, connection: Any) -> None:
        """Ask for what is wanted, and leave what is not.  Returns never; raises what the network raises."""
        await connection.send_command(self._verbs.subscribe, self._own)
        while True:
            self._wake.clear()
            while batch := self._members.ask(BATCH):
                await connection.send_command(self._verbs.subscribe, *(channel.wire for channel in batch))
            gone = self.drop_idle(LINGER)
            for at in range(0, len(gone), BATCH):
                await connection.send_command(self._verbs.unsubscribe, *gone[at : at + BATCH])
            try:
                async with asyncio.timeout(LINGER / 2):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def drop_idle(self, linger: float) -> list[bytes]:
        """Forget the channels that nobody has wanted for ``linger`` seconds; what to unsubscribe from."""
        dropped, wires = self._members.drop(asyncio.get_running_loop().time(), linger)
        for channel in dropped:
            self._on_dropped(channel)
        if dropped:
            self._note_begun()
        return wires

    def confirm(self, wire: bytes) -> None:
        """Redis confirmed a subscription."""
        if wire == self._own:
            self._own_heard = True
        channel = self._members.confirmed(wire)
        if channel is not None:
            self._on_confirmed(channel)
        self._note_begun()

    def leave(self, wire: bytes) -> None:
        """Redis ended a subscription.  Raises BackendError if it was not asked to."""
        if not self._members.left(wire) and (wire in self._members.wires or wire == self._own):
            # Not asked for: a Cluster moved the slot, and other servers announce from now on.
            raise BackendError("the subscription was ended by the server")

    def _note_begun(self) -> None:
        if self._own_heard and self._members.has_begun:
            self.confirmed.set()
