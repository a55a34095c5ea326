"""The verdict: is what was seen what was promised?  Nothing here waits, connects or reads a clock.

- A client has every event of its channels up to its Last-Event-ID, in the order of their ids, or was
  reset on that channel before it could notice the hole.
- No reset where history must have proven that nothing was missed.
- With one order of events nothing comes twice; with several, only on another connection.
- A client's id does not go back unless it was reset, and its tag does not change without ``epoch``.
- What a publisher was told is true: out once, or not at all.
- Nobody hears what is for everybody else.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from typing import NamedTuple
from zlib import crc32

from .record import NEVER, SLACK, SURE, Heard, Odd, Opened, Over, Place, Placed, Reset

UNPLACED = 3.0
"""Seconds within which every stream has said where it is: cut off before, a client loses what it heard."""

SPLIT = 20.0
"""Seconds around the moment at which another server took over while the old one lived, in which that one
may have gone on."""

TICKING = 1.5
"""Seconds by which ages are rounded in favour of a reset."""


class Rules(NamedTuple):
    """What the edge under test was set to; ``partitions`` are the orders of events there are."""

    partitions: int
    history: int
    history_ttl: float
    accepts_blindly: bool = False


class Violation(NamedTuple):
    """A promise that was not kept, at ``at`` seconds, to ``who``, on ``channel``."""

    kind: str
    at: float
    who: str
    channel: str
    text: str

    def __str__(self):
        return f"{self.kind} at {self.at:.2f} s: {self.who}, channel {self.channel or '-'}: {self.text}"


class Verdict(NamedTuple):
    """All violations, and how much there was of everything."""

    violations: list
    published: int
    delivered: int
    resumes: int
    resets: Counter
    repeated: int

    @property
    def ok(self):
        """Whether every promise was kept."""
        return not self.violations


class Truth:
    """What was published, and when data may have been lost, as look-ups."""

    def __init__(self, record):
        self.wall = record.wall
        self.publications = {each.key: each for each in record.publications}
        self.losses = [each for each in record.incidents if each.loses]
        self.splits = [each for each in record.incidents if each.splits]
        self.ids = {}
        sure = defaultdict(list)
        self.unsure = defaultdict(list)
        for each in record.publications:
            if each.state == SURE:
                self.ids[each.key] = order = Place.parse(each.id).order
            if each.state == SURE and not self._split(each):
                sure[each.key.channel].append((order, each))
            elif each.state != NEVER:
                self.unsure[each.key.channel].append(each)
        self.sure = {channel: sorted(found, key=lambda one: one[0]) for channel, found in sure.items()}
        self._orders = {channel: [order for order, _ in found] for channel, found in self.sure.items()}

    def between(self, channel, after, upto):
        """(order, publication) of what certainly is out on ``channel`` above ``after`` up to ``upto``."""
        orders = self._orders.get(channel, [])
        return self.sure.get(channel, [])[bisect_right(orders, after) : bisect_right(orders, upto)]

    def may_be_double(self, publication):
        """Whether its dedupe key may have been lost between two attempts."""
        return publication.attempts > 1 and any(
            loss.began <= publication.ended and loss.ended + SLACK >= publication.began
            for loss in self.losses
        )

    def _split(self, publication):
        """Whether a server may have taken it that was no primary any more."""
        return any(
            split.began - SPLIT <= publication.ended and publication.began <= split.ended + SPLIT
            for split in self.splits
        )

    def seconds(self, ms):
        """An id's milliseconds on the campaign's clock."""
        return (ms - self.wall) / 1000


def judge(record, rules):
    """The Verdict on a Record."""
    truth = Truth(record)
    violations = [*_publishers(record, truth)]
    delivered = resumes = repeated = 0
    resets = Counter()
    for name, journal in record.journals.items():
        client = _Client(name, truth, rules)
        for note in journal:
            client.note(note)
        client.leave()
        violations += client.violations
        delivered += client.delivered
        resumes += client.resumes
        repeated += client.repeated
        resets.update(note.reason for note in journal if isinstance(note, Reset))
    violations.sort(key=lambda each: each.at)
    published = sum(each.state == SURE for each in record.publications)
    return Verdict(violations, published, delivered, resumes, resets, repeated)


def _publishers(record, truth):
    """What there is to say of what publishers were told."""
    newest = {}
    for each in record.publications:
        key = each.key
        if each.longest > each.allowed:
            took = f"{key} took {each.longest:.1f} s, allowed are {each.allowed:.1f}"
            yield Violation("hanging publish", each.ended, key.publisher, key.channel, took)
        if each.state != SURE:
            continue
        order = truth.ids[key]
        before = newest.get((key.publisher, key.channel))
        if before is not None and order <= before[0] and not truth.may_be_double(each):
            text = f"{key} has the id {each.id}, and {before[1].key} before it {before[1].id}"
            yield Violation("published backwards", each.ended, key.publisher, key.channel, text)
        newest[key.publisher, key.channel] = order, each


class _Spell:
    """What a client heard of one channel from when it took it up until it let go of it."""

    def __init__(self, start):
        self.start = start
        self.since = 0.0
        """When it was told where it begins, if it did not say so itself."""
        self.heard = {}
        """Key → how many notes of the spell there were before it."""
        self.orders = []
        """(order, number of the note, connection, key) of events whose id is known."""
        self.resets = []
        """(at, number of the note)."""
        self.notes = 0


class _Client:
    def __init__(self, name, truth, rules):
        self.name = name
        self.user = name.partition(".")[0]
        self.truth = truth
        self.rules = rules
        self.violations = []
        self.delivered = self.resumes = self.repeated = 0
        self.place = None
        self.at = 0.0
        self._spells = {}
        self._attempts = {}
        self._connection = 0
        self._on_this = set()
        self._told_since_place = set()
        self._cursor = ""
        self._opened = 0.0

    def note(self, note):
        """Take the next note of the journal."""
        self.at = note.at
        if isinstance(note, Opened):
            self._open(note)
        elif isinstance(note, Heard):
            self._hear(note)
            self._move(note.id)
        elif isinstance(note, Reset):
            self._reset(note)
            self._move(note.id)
        elif isinstance(note, Placed):
            self._move(note.id)
        elif isinstance(note, Over):
            self._say("told over", "", "none of its channels is finished")
        elif isinstance(note, Odd):
            self._say("odd", "", note.text)

    def leave(self):
        """The journal is over."""
        for channel in list(self._spells):
            self._end(channel)

    def _say(self, kind, channel, text):
        self.violations.append(Violation(kind, self.at, self.name, channel, text))

    def _open(self, note):
        self._connection += 1
        self._opened = note.at
        self._on_this = set()
        self._told_since_place = set()
        self._cursor = note.cursor
        self.resumes += bool(note.cursor)
        for channel in set(self._spells) - set(note.channels):
            self._end(channel)
        cursor = Place.parse(note.cursor) if note.cursor else None
        self.place = self.place or cursor
        assert cursor == self.place, f"{self.name} came back with {cursor}, and its place is {self.place}"
        for channel in note.channels:
            if channel not in self._spells or cursor is None:  # without a place it begins once more
                self._spells[channel] = _Spell(cursor)

    def _move(self, id):
        """The client's Last-Event-ID is ``id`` now."""
        if not id:
            return
        place = Place.parse(id)
        before = self.place
        if place == before:
            return
        if before is None:
            for spell in self._spells.values():
                if spell.start is None:
                    spell.start, spell.since = place, self.at
        elif place.tag != before.tag:
            if "epoch" not in self._told_since_place and self._concerned(before.tag, place.tag):
                self._say("other tag", "", f"from {before} to {place} without a reset that says epoch")
        elif place.order < before.order and not self._told_since_place:
            self._say("id back", "", f"from {before} to {place} without a reset")
        self._told_since_place = set()
        self.place = place

    def _concerned(self, before, now):
        """Whether the tags differ in a data set that it has channels of.

        With several orders of events a tag is those of all, one after the other, as long as each other.
        """
        count = self.rules.partitions
        size = len(now) // count
        if count == 1 or len(before) != len(now) or len(now) % count:
            return True
        own = {crc32(channel.encode()) % count for channel in self._spells}
        return any(before[at * size :][:size] != now[at * size :][:size] for at in own)

    def _hear(self, note):
        self.delivered += 1
        if self.place is None and not note.id and note.at > self._opened + UNPLACED:
            self._say("no place", note.key.channel, f"{note.at - self._opened:.1f} s after it was opened")
            self._opened = float("inf")  # once is enough
        key = note.key
        spell = self._spells.get(key.channel)
        if spell is None:
            self._say("foreign event", key.channel, f"{key}, of a channel it has not asked for")
            return
        publication = self.truth.publications.get(key)
        if publication is None:
            self._say("unknown event", key.channel, f"{key} was never to be published")
            return
        if publication.state == NEVER:
            self._say("lie", key.channel, f"{key} came, and its publisher was told that it is not out")
        if publication.except_user == self.user:
            self._say("for others", key.channel, f"{key} came, and is for everybody else")
        spell.notes += 1
        before = self._attempts.setdefault(key, note.attempt)
        double = before != note.attempt
        if double and not self.truth.may_be_double(publication):
            self._say("published twice", key.channel, f"{key} came from attempts {before} and {note.attempt}")
        again = key in spell.heard
        if again and not double and (self.rules.partitions == 1 or key in self._on_this):
            where = "connection" if key in self._on_this else "client"
            self._say("twice", key.channel, f"{key} ({publication.id or note.id}) on one {where}")
        self.repeated += again
        self._on_this.add(key)
        spell.heard.setdefault(key, spell.notes)
        if not (again or double):
            self._in_order(spell, note, publication)

    def _in_order(self, spell, note, publication):
        key = note.key
        order = self.truth.ids.get(key)
        if order is None or self.truth.may_be_double(publication):
            return
        # On one connection, and with one order of events on all of them.
        newest = spell.orders[-1] if spell.orders else None
        comparable = newest is not None and (self.rules.partitions == 1 or newest[2] == self._connection)
        if comparable and order < newest[0]:
            self._say("out of order", key.channel, f"{key} ({publication.id}) came after {newest[3]}")
        spell.orders.append((order, spell.notes, self._connection, key))

    def _reset(self, note):
        self._told_since_place.add(note.reason)
        spell = self._spells.get(note.channel)
        if spell is None:
            self._say("foreign reset", note.channel, f"of a channel it has not asked for ({note.reason})")
            return
        spell.notes += 1
        spell.resets.append((note.at, spell.notes))
        if not self._justified(note):
            where = (
                f"its place was {self.place}, {self._age(note.at):.2f} s old" if self.place else "no place"
            )
            self._say("needless reset", note.channel, f"{note.reason}; {where}")

    def _age(self, at):
        return at - self.truth.seconds(self.place.ms)

    def _justified(self, note):
        """Whether history may have been unable to prove that nothing was missed."""
        place = self.place
        if place is None:
            return note.reason == "gap" and self.rules.accepts_blindly
        if note.reason in ("epoch", "unknown-id"):
            when = self.truth.seconds(place.ms)
            if note.reason == "epoch" and self.rules.partitions > 1 and when <= 0:
                return True  # from before the last partition's data began, of which it says nothing
            return any(loss.began <= note.at and loss.ended + SLACK >= when for loss in self.truth.losses)
        if note.reason == "expired":
            return self._age(note.at) >= self.rules.history_ttl - TICKING
        if note.reason == "trimmed":
            newer = len(self.truth.between(note.channel, place.order, (float("inf"), 0)))
            return newer + len(self.truth.unsure[note.channel]) >= self.rules.history
        return note.reason == "gap" and self.rules.accepts_blindly and not self._cursor

    def _end(self, channel):
        """The client is owed nothing more of the channel: had it everything up to its place?"""
        spell = self._spells.pop(channel)
        if self.place is None or spell.start is None:
            return
        missing = [
            publication
            for order, publication in self.truth.between(channel, spell.start.order, self.place.order)
            # A first place is the oldest of the partitions': the others begin a little later.
            if (self.rules.partitions == 1 or publication.began > spell.since)
            and publication.key not in spell.heard
            and publication.except_user != self.user
            and not self._excused(spell, order, publication)
        ]
        if missing:
            self._lost(channel, spell, missing)

    def _excused(self, spell, order, publication):
        """Whether a reset said so, before the client heard anything newer of the channel."""
        newer = min((number for known, number, *_ in spell.orders if known > order), default=spell.notes + 1)
        return any(at >= publication.began and number <= newer for at, number in spell.resets)

    def _lost(self, channel, spell, missing):
        first = missing[0]
        order = self.truth.ids[first.key]
        before = max((one for one in spell.orders if one[0] < order), default=None)
        after = min((one for one in spell.orders if one[0] > order), default=None)
        names = ", ".join(f"{each.key} ({each.id}, published at {each.ended:.2f} s)" for each in missing[:3])
        text = (
            f"{len(missing)} lost without a reset: {names}{', …' if len(missing) > 3 else ''}; "
            f"heard {before[3] if before else 'nothing'} before, {after[3] if after else 'nothing'} after; "
            f"place {self.place}, {len(spell.resets)} resets"
        )
        self.violations.append(Violation("lost", first.ended, self.name, channel, text))
