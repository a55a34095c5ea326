"""Did every client get exactly what was published?

Publishers number the events of each channel; clients record the numbers they got, over all of their
connections; the report says what was lost, repeated or out of order, and which losses a reset told
the client of.  The rule: every client ends with exactly the published sequence of each channel, or
was reset before the hole.

Nothing here waits, sends or reads a clock.  Times are seconds of any clock that is the same for
publishers and clients.  What is kept does not grow with the events a client gets, only with what is
wrong with them; a publisher keeps eight bytes per event.
"""

import json
import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

SHOWN = 20  # findings that a report's text names at most


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
    id, on the connection with this number (0: it noticed nothing, they never came).

    Of what was published until ``told`` a reset has told the client that it may be missing.
    """

    first: int
    last: int
    connection: int = 0
    id: str = ""
    told: float = -math.inf

    def __str__(self) -> str:
        numbers = f"{self.first}" if self.first == self.last else f"{self.first}..{self.last}"
        return f"{numbers} (connection {self.connection}, id {self.id})" if self.connection else numbers

    def without(self, first: int, last: int) -> Iterator[Self]:
        """What is left of it without the events ``first`` to ``last``, of which there is one at least."""
        for begin, end in ((self.first, min(self.last, first - 1)), (max(self.first, last + 1), self.last)):
            if begin <= end:
                yield self._replace(first=begin, last=end)


class ResetSeen(NamedTuple):
    """A reset as a client got it: after the event numbered ``after``; ``at`` is when."""

    reason: str
    after: int
    at: float
    connection: int

    def __str__(self) -> str:
        return f"{self.reason} after {self.after} (connection {self.connection})"


class Numbering:
    """The events of one channel: numbers from 1, and when each was first tried to be published.

    Of what is ``unconfirmed`` nobody knows whether it was published: it may come and may be missing.
    """

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

    def first_after(self, at: float) -> int:
        """The first number that was published after ``at``."""
        return bisect_right(self.times, at) + 1


@dataclass(slots=True)
class Ear:
    """What one client got of one channel: all up to ``high``, the highest number, but for ``holes``."""

    after: int | None
    since: float
    gone: bool = False
    high: int = 0
    told: float = -math.inf  # when a reset told it that something may be missing, if nothing newer came since
    holes: list[Place] = field(default_factory=list)
    repeated: list[Place] = field(default_factory=list)
    disordered: list[Place] = field(default_factory=list)
    resets: list[ResetSeen] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many different events it got."""
        return self.high - sum(hole.last - hole.first + 1 for hole in self.holes)

    def late(self, n: int, connection: int, id: str) -> None:
        """Event ``n`` arrived, which is not newer than all others."""
        places = self.repeated
        for at, hole in enumerate(self.holes):
            if hole.first <= n <= hole.last:
                self.holes[at : at + 1] = hole.without(n, n)
                places = self.disordered
                break
        _extend(places, n, connection, id)

    def has(self, n: int, at: float) -> bool:
        """Whether it got event ``n``, published at ``at``, or is not owed it, or was just told of it."""
        before = at <= self.since if self.after is None else n <= self.after
        return self.gone or before or n <= self.high or at <= self.told

    def lost(self, numbering: Numbering) -> list[Place]:
        """What it was owed, did not get, and was not told of."""
        begin = numbering.first_after(self.since) if self.after is None else self.after + 1
        rest = Place(self.high + 1, self.high if self.gone else numbering.last, told=self.told)
        lost: list[Place] = []
        for place in (*self.holes, rest):
            # What was published after the client had its reset is no part of what the reset is about.
            lost += place.without(0, max(begin, numbering.first_after(place.told)) - 1)
        for n in numbering.unconfirmed:
            lost = [left for place in lost for left in place.without(n, n)]
        return lost


@dataclass(slots=True)
class Client:
    """What one client got, over all of its connections.

    Raises KeyError for a channel that the client does not listen to.
    """

    ears: dict[str, Ear] = field(default_factory=dict)
    connection: int = 1
    _last_id: tuple[str, int, int] = "", 0, 0

    def listen(self, channel: str, *, after: int | None = None, since: float = 0.0) -> None:
        """From here on the client is owed what is numbered above ``after``; if that is not known,
        what is published after ``since``."""
        self.ears[channel] = Ear(after, since)

    def behind(self, newest: Mapping[str, tuple[int, float]]) -> bool:
        """Whether it lacks a channel's newest event, of which ``newest`` says the number and the time."""
        return any(name in newest and not ear.has(*newest[name]) for name, ear in self.ears.items())

    def leave(self) -> None:
        """The client goes for good: it is owed nothing newer than the newest it has."""
        for ear in self.ears.values():
            ear.gone = True

    def reconnected(self) -> None:
        """What follows arrives on another connection."""
        self.connection += 1

    def event(self, channel: str, n: int, id: str = "") -> None:
        """Event ``n`` of ``channel`` arrived; ``id`` is the client's Last-Event-ID after it."""
        ear = self.ears[channel]
        if n <= ear.high:
            ear.late(n, self.connection, id)
        else:
            if n > ear.high + 1:
                ear.holes.append(Place(ear.high + 1, n - 1, self.connection, id, ear.told))
            ear.high, ear.told = n, -math.inf
        if not id:
            return
        order, _, tag = id.partition(".")
        ms, _, number = order.partition("-")
        last, self._last_id = self._last_id, (tag, int(ms), int(number))
        # Ids rise over all channels of a data set.  The same again: an event that came without an id line.
        if tag == last[0] and self._last_id < last:
            _extend(ear.disordered, n, self.connection, id)

    def reset(self, channel: str, reason: str, at: float) -> None:
        """The client was told at ``at`` that ``channel`` may lack something from here on."""
        ear = self.ears[channel]
        ear.resets.append(ResetSeen(reason, ear.high, at, self.connection))
        ear.told = max(at, ear.told)


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
        said: dict[str, Sequence[object]] = {
            "lost": self.lost,
            "repeated": self.repeated,
            "out of order": self.disordered,
            "reset": self.resets,
        }
        parts = [f"{what} {', '.join(map(str, places))}" for what, places in said.items() if places]
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
        """Whether ``client`` waits for nothing."""
        known = self.numberings.items()
        return not client.behind({name: (each.last, each.times[-1]) for name, each in known if each.times})

    def report(self, *, overlap: bool = False) -> Report:
        """The verdict; with ``overlap`` an event may come again, and after newer ones."""
        findings, received = [], 0
        for name, client in self.clients.items():
            for channel, ear in client.ears.items():
                received += ear.count
                lost = ear.lost(self.numbering(channel))
                repeated, disordered = ([], []) if overlap else (ear.repeated, ear.disordered)
                if lost or repeated or disordered or ear.resets:
                    findings.append(Finding(name, channel, lost, repeated, disordered, ear.resets))
        return Report(len(self.clients), received, findings)


def _extend(places: list[Place], n: int, connection: int, id: str) -> None:
    """Add event ``n``, as part of the place before it if it follows on directly."""
    if places and places[-1].connection == connection and n - places[-1].last in (0, 1):
        places[-1] = places[-1]._replace(last=n)
    else:
        places.append(Place(n, n, connection, id))
