"""Did every client get exactly what was published?

Publishers number the events of each channel; clients record the numbers they got, over all of their
connections; the report says what was lost, repeated or out of order, and which losses a reset told
the client of.  The rule: every client ends with exactly the published sequence of each channel, or
was reset before the hole.

Nothing here waits, sends or reads a clock.  Times are seconds of any clock that is the same for
publishers and clients.  What is kept does not grow with the events a client gets, only with what is
wrong with them; a publisher keeps eight bytes per event.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

SHOWN = 20
"""Findings that a report's text names at most."""


def payload(channel: str, n: int, at: float, size: int = 0) -> str:
    """An event's data: its channel, its number there, when it was published, and what makes it ``size``."""
    fields = {"channel": channel, "n": n, "at": at}
    data = json.dumps(fields, separators=(",", ":"))
    lacking = size - len(data) - len(',"pad":""')
    return json.dumps({**fields, "pad": "." * lacking}, separators=(",", ":")) if lacking > 0 else data


def read_payload(data: str) -> tuple[str, int, float]:
    """Channel, number and time of an event's data.  Raises ValueError or LookupError."""
    fields = json.loads(data)
    return str(fields["channel"]), int(fields["n"]), float(fields["at"])


class Place(NamedTuple):
    """Events ``first`` to ``last`` of a channel, and where a client noticed: at the event with this
    id, on the connection with this number (0: it noticed nothing, they never came)."""

    first: int
    last: int
    connection: int
    id: str

    def __str__(self) -> str:
        numbers = f"{self.first}" if self.first == self.last else f"{self.first}..{self.last}"
        return f"{numbers} (connection {self.connection}, id {self.id})" if self.connection else numbers


class ResetSeen(NamedTuple):
    """A reset as a client got it: after the event numbered ``after`` and before ``until`` (0: before
    any other); ``at`` is when."""

    reason: str
    after: int
    until: int
    at: float
    connection: int

    def __str__(self) -> str:
        return f"{self.reason} after {self.after} (connection {self.connection})"


class Numbering:
    """The events of one channel: numbers from 1, and when each was first tried to be published."""

    __slots__ = ("times", "unconfirmed")

    def __init__(self, times: Iterable[float] = (), unconfirmed: Iterable[int] = ()) -> None:
        self.times = array("d", times)
        self.unconfirmed = set(unconfirmed)

    @property
    def last(self) -> int:
        """The newest number, or 0."""
        return len(self.times)

    def next(self, at: float) -> int:
        """The number of the next event, which is published from now on."""
        self.times.append(at)
        return len(self.times)

    def give_up(self, n: int) -> None:
        """Nobody knows whether event ``n`` was published: it may come and may be missing."""
        self.unconfirmed.add(n)

    def first_after(self, at: float) -> int:
        """The first number that was published after ``at``."""
        return bisect_right(self.times, at) + 1


class Ear:
    """What one client got of one channel."""

    __slots__ = ("_gaps", "_have", "after", "disordered", "repeated", "resets", "since", "until")

    def __init__(self, after: int | None, since: float) -> None:
        self.after = after
        self.since = since
        self.until: int | None = None
        self.repeated: list[Place] = []
        self.disordered: list[Place] = []
        self.resets: list[ResetSeen] = []
        self._have: list[tuple[int, int]] = []
        self._gaps: list[Place] = []

    @property
    def high(self) -> int:
        """The highest number it got, or 0."""
        return self._have[-1][1] if self._have else 0

    @property
    def count(self) -> int:
        """How many different events it got."""
        return sum(last - first + 1 for first, last in self._have)

    def event(self, n: int, connection: int, id: str) -> None:
        """Event ``n`` arrived."""
        have, high = self._have, self.high
        if n <= high:
            self._late(n, Place(n, n, connection, id))
            return
        for at in range(len(self.resets) - 1, -1, -1):
            if self.resets[at].until:
                break
            self.resets[at] = self.resets[at]._replace(until=n)
        if have and n == high + 1:
            have[-1] = (have[-1][0], n)
        else:
            self._gaps.append(Place(high + 1, n - 1, connection, id))
            have.append((n, n))

    def reset(self, reason: str, at: float, connection: int) -> None:
        """The client was told that something may be missing from here on."""
        self.resets.append(ResetSeen(reason, self.high, 0, at, connection))

    def leave(self) -> None:
        """The client goes for good: it is owed nothing newer than the newest it has."""
        self.until = self.high

    def begin(self, numbering: Numbering) -> int:
        """The first number it is owed."""
        return self.after + 1 if self.after is not None else numbering.first_after(self.since)

    def has(self, n: int, at: float) -> bool:
        """Whether it got event ``n``, published at ``at``, or is owed it not, or was told after it."""
        if self.until is not None or n <= max(self.high, self.after or 0):
            return True
        return (self.after is None and at <= self.since) or any(reset.at >= at for reset in self.resets)

    def level(self, numbering: Numbering) -> bool:
        """Whether it got the newest event, or is owed none, or was just told that it missed it."""
        last = numbering.last
        if self.until is not None or max(self.high, self.begin(numbering) - 1) >= last:
            return True
        told = self.resets[-1] if self.resets else None
        return told is not None and not told.until and numbering.first_after(told.at) > last

    def lost(self, numbering: Numbering) -> list[Place]:
        """What it was owed, did not get, and was not told of."""
        last = numbering.last if self.until is None else self.until
        holes = _without([(self.begin(numbering), last)], self._have)
        excuses = []
        for reset in self.resets:
            # What was published after the client had its reset is no part of what the reset is about.
            published = bisect_right(numbering.times, reset.at)
            excuses.append((reset.after + 1, min(published, reset.until - 1 if reset.until else published)))
        excuses += [(n, n) for n in sorted(numbering.unconfirmed)]
        return [self._noticed(first, last) for first, last in _without(holes, excuses)]

    def _late(self, n: int, place: Place) -> None:
        have = self._have
        at = bisect_right(have, (n, n)) if have else 0
        if (at and have[at - 1][1] >= n) or (at < len(have) and have[at][0] == n):
            _extend(self.repeated, place)
            return
        _extend(self.disordered, place)
        first = last = n
        if at < len(have) and have[at][0] == n + 1:
            last = have.pop(at)[1]
        if at and have[at - 1][1] == n - 1:
            at -= 1
            first = have.pop(at)[0]
        have.insert(at, (first, last))

    def _noticed(self, first: int, last: int) -> Place:
        for gap in self._gaps:
            if gap.first <= first and last <= gap.last:
                return Place(first, last, gap.connection, gap.id)
        return Place(first, last, 0, "")


class Client:
    """What one client got, over all of its connections."""

    __slots__ = ("_last_id", "connection", "ears")

    def __init__(self) -> None:
        self.ears: dict[str, Ear] = {}
        self.connection = 1
        self._last_id: tuple[str, tuple[int, int]] | None = None

    def listen(self, channel: str, *, after: int | None = None, since: float = 0.0) -> None:
        """From here on the client is owed what is numbered above ``after``; if that is not known,
        what is published after ``since``."""
        self.ears[channel] = Ear(after, since)

    def leave(self) -> None:
        """The client goes for good."""
        for ear in self.ears.values():
            ear.leave()

    def reconnected(self) -> None:
        """What follows arrives on another connection."""
        self.connection += 1

    def event(self, channel: str, n: int, id: str = "") -> None:
        """Event ``n`` of ``channel`` arrived; ``id`` is the client's Last-Event-ID after it.

        Raises KeyError for a channel that the client does not listen to.
        """
        ear = self.ears[channel]
        ear.event(n, self.connection, id)
        if not id:
            return
        order, _, tag = id.partition(".")
        ms, _, number = order.partition("-")
        place = (tag, (int(ms), int(number)))
        # Ids rise over all channels of a data set.  The same again: an event that came without an id line.
        if self._last_id is not None and tag == self._last_id[0] and place < self._last_id:
            _extend(ear.disordered, Place(n, n, self.connection, id))
        self._last_id = place

    def reset(self, channel: str, reason: str, at: float) -> None:
        """The client was told at ``at`` that ``channel`` may lack something.

        Raises KeyError for a channel that the client does not listen to.
        """
        self.ears[channel].reset(reason, at, self.connection)


class Finding(NamedTuple):
    """What there is to say of one client and channel."""

    client: str
    channel: str
    lost: list[Place]
    repeated: list[Place]
    disordered: list[Place]
    resets: list[ResetSeen]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: resets may be."""
        return not (self.lost or self.repeated or self.disordered)

    def __str__(self) -> str:
        parts = [
            f"{what} {', '.join(map(str, places))}"
            for what, places in (
                ("lost", self.lost),
                ("repeated", self.repeated),
                ("out of order", self.disordered),
                ("reset", self.resets),
            )
            if places
        ]
        return f"client {self.client}, channel {self.channel}: {'; '.join(parts)}"


class Report(NamedTuple):
    """The verdict over all clients; ``findings`` are those that have any."""

    clients: int
    received: int
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether every client has exactly what was published, or was reset before the hole."""
        return all(finding.ok for finding in self.findings)

    @property
    def resets(self) -> Counter[str]:
        """How many resets there were, by reason."""
        return Counter(reset.reason for finding in self.findings for reset in finding.resets)

    def __str__(self) -> str:
        faults = [finding for finding in self.findings if not finding.ok]
        text = f"{self.clients} clients, {self.received} events, {len(faults)} with faults"
        if self.resets:
            text += ", resets: " + ", ".join(f"{count} {why}" for why, count in sorted(self.resets.items()))
        shown = (faults or self.findings)[:SHOWN]
        return "\n".join([text, *map(str, shown), *(["…"] if len(faults) > SHOWN else [])])


class Checker:
    """Numbers for publishers, records for clients, and the report."""

    def __init__(self) -> None:
        self.numberings: dict[str, Numbering] = {}
        self.clients: dict[str, Client] = {}

    def numbering(self, channel: str) -> Numbering:
        """The numbers of a channel; one process gives them out."""
        return self.numberings.setdefault(channel, Numbering())

    def client(self, name: str) -> Client:
        """The record of a client."""
        return self.clients.setdefault(name, Client())

    def level(self, client: Client) -> bool:
        """Whether ``client`` waits for nothing: see ``Ear.level``."""
        return all(ear.level(self.numbering(channel)) for channel, ear in client.ears.items())

    def report(self, *, overlap: bool = False) -> Report:
        """The verdict; with ``overlap`` an event may come again, and after newer ones."""
        findings = []
        received = 0
        for name, client in self.clients.items():
            for channel, ear in client.ears.items():
                received += ear.count
                lost = ear.lost(self.numberings.get(channel) or Numbering())
                repeated, disordered = ([], []) if overlap else (ear.repeated, ear.disordered)
                if lost or repeated or disordered or ear.resets:
                    findings.append(Finding(name, channel, lost, repeated, disordered, ear.resets))
        return Report(len(self.clients), received, findings)


def _extend(places: list[Place], place: Place) -> None:
    """Add a place, as part of the one before it if it follows on directly."""
    if places:
        before = places[-1]
        if before.last == place.first and before.connection == place.connection:
            return
        if before.last + 1 == place.first and before.connection == place.connection:
            places[-1] = before._replace(last=place.last)
            return
    places.append(place)


def _without(ranges: list[tuple[int, int]], removed: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """``ranges`` without every number in ``removed``; both from ``first`` to ``last``, inclusive."""
    rest = [range_ for range_ in ranges if range_[0] <= range_[1]]
    for gone in removed:
        if gone[0] <= gone[1]:
            rest = list(_cut(rest, *gone))
    return rest


def _cut(ranges: list[tuple[int, int]], first: int, last: int) -> Iterator[tuple[int, int]]:
    for begin, end in ranges:
        if end < first or begin > last:
            yield begin, end
            continue
        if begin < first:
            yield begin, first - 1
        if end > last:
            yield last + 1, end
