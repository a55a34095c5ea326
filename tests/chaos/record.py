"""What was seen: by each client, by each publisher, and what befell the programs meanwhile.

All times are seconds since the campaign began, on one monotonic clock.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

SLACK = 10.0
"""Seconds after a restart within which Redis says from where on it knows: at the first script that asks."""

_ID = re.compile(r"([0-9]+)-([0-9]+)(?:\.(.+))?\Z")


class Place(NamedTuple):
    """An event id: its place in the order of one data set, and the data set's tag ("" without one)."""

    ms: int
    n: int
    tag: str = ""

    @classmethod
    def parse(cls, text):
        """Read ``<ms>-<n>`` or ``<ms>-<n>.<tag>``.  Raises ValueError."""
        match = _ID.match(text)
        if match is None:
            raise ValueError(f"no event id: {text!r}")
        return cls(int(match[1]), int(match[2]), match[3] or "")

    @property
    def order(self):
        """What ids of one data set are compared by."""
        return self.ms, self.n

    def __str__(self):
        return f"{self.ms}-{self.n}" + (f".{self.tag}" if self.tag else "")


class Key(NamedTuple):
    """One event: the ``n``-th that ``publisher`` sent to ``channel``."""

    channel: str
    publisher: str
    n: int

    def __str__(self):
        return f"{self.publisher}#{self.n}"


# What a client notes, in the order in which it came


class Opened(NamedTuple):
    """A stream began; ``cursor`` is the Last-Event-ID it was asked for with ("": none)."""

    at: float
    worker: str
    channels: tuple[str, ...]
    cursor: str


class Heard(NamedTuple):
    """An event; ``id`` is the client's Last-Event-ID from now on."""

    at: float
    id: str
    key: Key
    attempt: int


class Placed(NamedTuple):
    """A block without an event that gave the client another Last-Event-ID."""

    at: float
    id: str


class Reset(NamedTuple):
    """``channel`` may lack something; ``id`` is the client's Last-Event-ID from now on."""

    at: float
    id: str
    channel: str
    reason: str


class Said(NamedTuple):
    """An event of a job: the numbers in it, and what it is called if it is the last one."""

    at: float
    id: str
    numbers: tuple[int, ...]
    end: str = ""


class Over(NamedTuple):
    """The answer was 204: nothing more will come, and nothing is owed."""

    at: float


class Odd(NamedTuple):
    """Something that has no business in a stream."""

    at: float
    text: str


class Closed(NamedTuple):
    """The stream is over, and why: ``cut`` by the client itself, ``lost``, or the edge's own reason."""

    at: float
    why: str


# What a publisher notes

SURE, MAYBE, NEVER = "sure", "maybe", "never"


@dataclass
class Publication:
    """One event that was to be published: SURE with its id, MAYBE out, or NEVER, by the edge's own word.

    ``began`` and ``ended`` are about all attempts, ``longest`` is the longest of them in seconds;
    ``deduped`` is whether they all carried one key, and ``except_user`` who is not to hear it.
    """

    key: Key
    began: float
    deduped: bool = False
    ended: float = 0.0
    longest: float = 0.0
    attempts: int = 0
    state: str = MAYBE
    id: str = ""
    allowed: float = 0.0
    except_user: str | None = None


@dataclass
class Incident:
    """A fault: what it was, to what, from when to when; ``loses`` is whether Redis may lose data by it.

    ``splits`` is whether two servers took themselves for the primary: what was published to the wrong
    one meanwhile is lost by Redis's own rules, and nobody can know.
    """

    kind: str
    target: str
    began: float
    ended: float = float("inf")
    loses: bool = False
    splits: bool = False

    def __str__(self):
        until = "…" if self.ended == float("inf") else f"{self.ended:.2f}"
        return f"{self.began:7.2f} to {until} s  {self.kind} {self.target}" + (" (data)" * self.loses)


@dataclass
class Record:
    """Everything that was seen.

    ``wall`` is the Unix time, in milliseconds, at which the campaign's clock stood at 0.
    """

    wall: float
    journals: dict = field(default_factory=dict)
    watchers: dict = field(default_factory=dict)
    publications: list = field(default_factory=list)
    incidents: list = field(default_factory=list)

    def journal(self, name):
        """The notes of the client ``name``."""
        return self.journals.setdefault(name, [])

    def watcher(self, name):
        """The notes of the watcher ``name``, who sees one job from the beginning to the end."""
        return self.watchers.setdefault(name, [])

    def lost(self, began, ended):
        """Whether Redis may have lost data between two times."""
        return any(
            each.loses and each.began <= ended and each.ended + SLACK >= began for each in self.incidents
        )
