"""The clients: each comes back after every end with its Last-Event-ID, as EventSource does, and notes all."""

import asyncio
import contextlib
import json
import socket
import struct
import zlib

from apps.chaos import AUTH
from servers.sse import ContentDecoder, Decoder, ResponseReader

from .jobs import ENDS
from .record import Closed, Heard, Key, Odd, Opened, Over, Placed, Reset, Said

HEAD = 5.0
"""Seconds that a client waits for a response's head before it goes elsewhere."""

CROWDED = (1.2, 3.0)
"""Seconds after which a client leaves a crowded worker; the first keep-alive tells it its place before."""

SILENCE = 8.0
"""Seconds without a byte after which a client takes the connection for dead: keep-alives come each second."""


class Ear(Decoder):
    """A decoder that hands out each block by itself: its event, or None, and the Last-Event-ID after it."""

    def __init__(self, last_event_id, take):
        super().__init__(last_event_id)
        self._take = take

    def _end_block(self, events):
        super()._end_block(events)
        self._take(events.pop() if events else None, self.last_event_id)
        self.commits.clear()
        self.comments.clear()


class Client:
    """One of the cast; ``stage`` has the workers, the plan and the record, ``role`` says what it does."""

    def __init__(self, stage, role):
        self.stage = stage
        self.role = role
        self.chance = stage.plan.chance("client", role.name)
        self.life = 0
        self.statuses = {}
        self.worker = None
        self.last_id = ""
        self.closing = False
        self.over = False
        self._writer = None
        self._begin_anew()

    def _begin_anew(self):
        """Be another client from here on."""
        self.life += 1
        self.name = f"{self.role.name}.{self.life}"
        self.journal = self.stage.record.journal(self.name)
        self.channels = self.role.channels if self.life == 1 else self.stage.plan.draw(self.chance)
        self.last_id = ""
        self._cookie = f"session={AUTH.issue(self.role.name)}"
        self._accepts = self.chance.choice(["gzip", "identity"])

    async def run(self):
        """Listen until cancelled, or ``finish`` and the end."""
        chance, role = self.chance, self.role
        while not self.closing:
            crowds = self.stage.crowded is not None and role.budget is not None
            self.worker = self.stage.crowded if crowds else chance.choice(self.stage.workers)
            budget = None if role.budget is None or self.stage.settling else chance.randint(*role.budget)
            if crowds:
                leaving = asyncio.get_running_loop().call_later(chance.uniform(*CROWDED), self.cut)
                ended = await self._listen(budget)
                leaving.cancel()
            else:
                ended = await self._listen(budget)
            if self.closing or not self._goes_on():
                return
            await asyncio.sleep(0.1 if self.stage.settling or crowds else chance.uniform(*role.away))
            if self.stage.settling or not ended:
                continue
            if chance.random() < role.leaves:
                self._begin_anew()
            elif self.last_id and chance.random() < role.changes:
                self.channels = self.stage.plan.draw(chance)

    def _goes_on(self):
        """Whether there is more to listen to."""
        return True

    def cut(self):
        """Break off."""
        if self._writer is not None:
            # With a reset, as a client does that is killed.
            with contextlib.suppress(OSError):
                self._writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            self._writer.transport.abort()

    def finish(self):
        """Go for good."""
        self.closing = True
        self.cut()

    async def _listen(self, budget):
        """One connection; whether it was a stream."""
        try:
            async with asyncio.timeout(HEAD):
                reader, self._writer = await asyncio.open_connection("127.0.0.1", self.worker.port)
        except (OSError, TimeoutError):
            return False
        try:
            self._writer.write(self._request())
            return await self._read(reader, budget)
        finally:
            self.cut()
            self._writer = None

    def _request(self):
        lines = [
            f"GET /events/{','.join(self.channels)} HTTP/1.1",
            f"Host: 127.0.0.1:{self.worker.port}",
            "Accept: text/event-stream",
            f"Accept-Encoding: {self._accepts}",
            f"Cookie: {self._cookie}",
            *([f"Last-Event-ID: {self.last_id}"] if self.last_id else []),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def _read(self, reader, budget):
        response, decoded = ResponseReader(), ContentDecoder()
        ear = Ear(self.last_id, self._take)
        opened, why = False, "lost"
        try:
            while not response.complete:
                async with asyncio.timeout(SILENCE if opened else HEAD):
                    data = await reader.read(65_536)
                if not data:
                    break
                if budget is not None:
                    data = data[:budget]
                    budget -= len(data)
                body = decoded(response.feed(data), response)
                if response.status is not None and not opened:
                    self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
                    if response.status == 204:
                        self._note(Over)
                        self.over = True
                    if response.status != 200:
                        return False
                    opened = True
                    self._note(Opened, self.worker.name, self.channels, self.last_id)
                ear.feed(body)
                if budget == 0:
                    why = "cut"
                    break
            else:
                why = "ended"
        except TimeoutError:
            why = "silent"
        except OSError:
            pass
        except (AssertionError, ValueError, zlib.error) as error:  # no HTTP, no chunks, no gzip
            self._note(Odd, f"a broken response: {error}")
        if opened:
            self._note(Closed, why)
        return opened

    def _note(self, kind, *what):
        self.journal.append(kind(self.stage.now(), *what))

    def _take(self, event, id):
        before, self.last_id = self.last_id, id
        if event is None:
            if id != before:
                self._note(Placed, id)
            return
        try:
            if self._heard(event, id):
                return
            if event.event == "edge-reset":
                told = json.loads(event.data)
                self._note(Reset, id, told["channel"], told["reason"])
            elif event.event == "edge-close":
                if id != before:
                    self._note(Placed, id)
                self._note(Closed, json.loads(event.data)["reason"])
            else:
                self._note(Odd, f"an event named {event.event}: {event.data[:200]}")
        except (ValueError, TypeError, LookupError) as error:
            self._note(Odd, f"{event}: {error}")

    def _heard(self, event, id):
        """Note an event of the application's; whether it is one."""
        if event.event != "message":
            return False
        channel, publisher, n, attempt = json.loads(event.data)
        self._note(Heard, id, Key(channel, publisher, n), attempt)
        return True


class Watcher(Client):
    """Sees one job to its end, and then the next; ``over`` once the last one has ended."""

    def _begin_anew(self):
        self.life += 1
        self.name = f"{self.role.name}.{self.life}"
        self.journal = self.stage.record.watcher(self.name)
        self.channels = (self.chance.choice(self.chance.choice(self.stage.lines).newest).channel,)
        self.last_id = ""
        self.over = False
        self._cookie = f"session={AUTH.issue(self.role.name)}"
        self._accepts = self.chance.choice(["gzip", "identity"])

    def _goes_on(self):
        if self.over and self.stage.settling:
            return False
        if self.over:
            self._begin_anew()
        return True

    def _heard(self, event, id):
        if event.event not in ("message", "token", *ENDS):
            return False
        given = [number for number in event.data.split(";") if number.lstrip("-").isdigit()]
        self._note(Said, id, tuple(map(int, given)), event.event if event.event in ENDS else "")
        return True
