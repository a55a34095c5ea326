"""The order of what is heard, and the channels it is heard on, under any interleaving of faults.

A small Redis that is all in this file numbers, keeps and announces; a worker's membership and order hear
it through a connection that loses what it likes; streams begin whenever the order lets them.  Whatever
happens, each stream gets exactly what was published after it began, or a reset before the hole; and where
it is told a place, it has been given everything up to there.  A channel may have its last event, and go on;
when all is level whoever hears it was given that event.  Some events are for all but one user.
"""

from collections import deque
from concurrent.futures import Future
from itertools import count

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sse_edge.backends.base import Numbered
from sse_edge.backends.log import Log
from sse_edge.backends.redis.announcement import NONE, marked, number, parse
from sse_edge.backends.redis.channel import Channel
from sse_edge.backends.redis.membership import Membership
from sse_edge.backends.redis.order import Order
from sse_edge.backends.redis.partitions import PartitionedSubscriber
from sse_edge.backends.redis.recent import Recent
from sse_edge.backends.redis.ticks import Tick
from sse_edge.backends.retention import Retention
from sse_edge.errors import BackendError
from sse_edge.event import FINISHED, REOPENED, ZERO, EventId, Place, finishing

NAMES = ("a", "b", "c")
USERS = (None, "u", "v")
KEPT = 4
"""Events of a channel that history has."""


class Redis:
    """One partition's data: events in their order; the newest of each channel are kept."""

    generations = count()

    def __init__(self):
        self.now = 1000
        self.flush()

    def flush(self):
        letters = "abcdefghijklmnopqrstuvwxyz"
        number = next(self.generations)
        self.tag = "".join(letters[number // 26**place % 26] for place in range(5))
        self.seal = self.tag.encode()
        self.begun = self.cursor()
        self.events = {name: [] for name in NAMES}

    def cursor(self):
        self.now += 1
        return EventId(self.now, 0)

    def last(self, name):
        """The last event of a channel that is finished."""
        kept = self.events[name]
        return kept[-1].id if kept and kept[-1].frame.endswith(FINISHED) else None

    def publish(self, name, body, user=None):
        self.now += 1
        id = EventId(self.now, 1)
        kept = self.events[name]
        previous = kept[-1].id if kept else None
        kept.append(Numbered(id, Place(id, self.tag).line() + body, user))
        before = NONE if previous is None else b"%d-%d" % previous
        return parse(b"%b %d-%d %b\n%b" % (self.seal, *id, before, marked(body, user)))

    def log(self, name, after):
        """What history has of a channel."""
        events = self.events[name]
        trimmed = events[-KEPT - 1].id if len(events) > KEPT else self.begun
        previous = [event.id for event in events if event.id <= max(after, trimmed)]
        log = Log(
            max(after, trimmed), "trimmed" if trimmed > after else "", previous[-1] if previous else None
        )
        for event in events[-KEPT:]:
            if event.id > log.floor:
                log.append(*event)
        return log

    def newest(self, name):
        """The newest event of a channel alone."""
        log = Log(self.begun, "epoch")
        for event in self.events[name][-1:]:
            log.append(*event)
        return log


class Line:
    """A worker's ear on one partition: what RedisSubscriber does, step by step, as it is told."""

    def __init__(self, receiver, kind):
        self.redis = Redis()
        self.members = Membership(lambda name: Channel(name, name.encode(), Future(), Retention(100, 300.0)))
        self.recent = Recent(None)
        self.order = kind(receiver, self.recent, lambda channel: None)
        self.catching_up = None
        self.connected = False

    @property
    def tag(self):
        return self.order.tag

    @property
    def position(self):
        order = self.order
        return None if order.position is None else Place(order.position, order.tag)

    def connect(self):
        self.members.begin()
        self.wire = deque()
        self.subscribed = set()
        self.settling = []
        self.ticking = False
        self.connected = True
        self.catching_up = self.catch_up()

    def lose(self):
        self.order.lose()
        self.connected = False
        self.catching_up = None

    def in_flight(self):
        """The events that are on their way."""
        return {number(thing.id) for what, thing in self.wire if what in NAMES} if self.connected else set()

    def announce(self, name, announcement):
        if self.connected and name in self.subscribed:
            self.wire.append((name, announcement))

    def ask(self):
        for channel in self.members.ask(100):
            self.subscribed.add(channel.name)
            self.wire.append(("confirmed", channel.wire))

    def leave_idle(self):
        dropped, wires = self.members.drop(1.0, 1.0)
        for channel in dropped:
            self.recent.forget(channel)
            self.order.leave(channel)
        for wire in wires:
            self.subscribed.discard(wire.decode())
            self.wire.append(("left", wire))

    def tick(self):
        redis = self.redis
        ends = {place: redis.last(channel.name) for place, channel in enumerate(self.settling)}
        ends = {place: id for place, id in ends.items() if id is not None}
        tick = Tick(redis.cursor(), redis.tag, redis.seal, "-", tuple(self.settling), finished=ends)
        self.settling = []
        self.ticking = True
        self.wire.append(("tick", tick))

    def hear(self):
        what, thing = self.wire.popleft()
        if what == "confirmed":
            channel = self.members.confirmed(thing)
            if channel is not None and not channel.settled:
                self.settling.append(channel)
        elif what == "left":
            assert self.members.left(thing)
        elif what == "tick":
            self.ticking = False
            self.arrived = thing
            self.order.tick(thing)
        elif (channel := self.members.channels.get(what)) is not None:
            self.order.hear(channel, thing)

    def catch_up(self):
        """RedisSubscriber._catch_up; each yield is a place at which anything may happen."""
        self.arrived = None
        while self.arrived is None:
            yield
        tick = self.arrived
        settled = [channel for channel in self.members.channels.values() if channel.settled]
        owed = self.order.begin(tick, settled)
        found = []
        for channel, after in owed:
            yield
            if self.redis.tag != tick.tag:
                raise BackendError("other data")
            found.append((channel, after, self.redis.log(channel.name, after)))
        overheard = dict(self.order.overheard(found))
        yield
        if self.redis.tag != tick.tag:
            raise BackendError("other data")
        found = [
            (channel, overheard[channel], self.redis.log(channel.name, overheard[channel]))
            if channel in overheard
            else (channel, after, log)
            for channel, after, log in found
        ]
        newest = {}
        for channel in self.order.stale:
            yield
            if self.redis.tag != tick.tag:
                raise BackendError("other data")
            newest[channel] = self.redis.newest(channel.name)
        yield from self.order.recover(tick.id, found, newest)
        while True:
            while not self.order.flows:
                if (gap := self.order.gap) is not None:
                    if self.redis.tag != self.order.tag:
                        raise BackendError("other data")
                    log = self.redis.log(gap.channel.name, gap.after)
                    yield
                    self.order.fill(gap, log)
                yield from self.order.drain()
            yield


class Client:
    """A stream, and the reference: what it must have been given."""

    def __init__(self, name, channel, line, before, user=None):
        self.name, self.channel, self.line, self.user = name, channel, line, user
        self.before = before
        self.owed = None
        self.given = []
        self.ended = None

    def open(self):
        """It is told that it is open: from here on it is owed everything, and nothing older."""
        begin = self.line.order.position
        assert self.channel.log.covers(begin)
        self.begin = begin
        self.owed = []
        self.given = [EventId(ms, n) for ms, n, _ in self.channel.log.since(begin, self.user)]
        self.ended = self.channel.finished

    def published(self, id, user):
        if self.owed is not None and self.hears(user):
            self.owed.append(id)

    def hears(self, except_user):
        """Whether it is to hear what all but that user are."""
        return except_user is None or except_user != self.user

    def check(self):
        assert not self.before & set(self.given), "it was given what was published before it asked"
        assert self.given == sorted(set(self.given)), "not in order, or twice"
        assert set(self.owed or []) <= set(self.given), "an event is missing"


class Streams(RuleBasedStateMachine):
    """Streams of one worker on as many partitions as the subclass says."""

    partitions = 1
    kind = Order

    def __init__(self):
        super().__init__()
        self.numbers = count()
        self.clients = []
        self.everything = {name: [] for name in NAMES}
        self.excepted = {}
        self.told = {}
        self.lost = set()
        if self.partitions == 1:
            self.lines = [Line(self, self.kind)]
        else:
            self.lines = []
            PartitionedSubscriber(range(self.partitions), NAMES.index, self, ear=self.line)
        for line in self.lines:
            line.connect()

    def line(self, _, receiver):
        self.lines.append(Line(receiver, self.kind))
        return self.lines[-1]

    def teardown(self):
        """In the end everything arrives: each channel's last event shows what went missing before it."""
        for name in NAMES:
            self.publish(name=name, lost=False, user=None)
            self.finish(name=name, lost=False)
        for _ in range(3):
            for line in self.lines:
                self.settle(line)
        self.check_ends()
        for client in self.clients:
            client.check()
            assert all(client.hears(self.excepted[client.name, id]) for id in client.given), (
                "it was not for this user"
            )
            assert client.owed is not None, "it was never opened"

    def settle(self, line):
        if not line.connected:
            line.connect()
        for _ in range(200):
            line.ask()
            if not line.ticking and (line.settling or line.members.has_begun):
                line.tick()
            while line.connected and line.wire:
                self.hear(line)
            for _ in range(20):
                if line.connected:
                    self.advance(line)
            if not line.connected:
                line.connect()
            elif line.order.flows and not line.settling and not line.wire:
                return
        raise AssertionError("it never comes to rest")

    def line_of(self, name):
        return self.lines[NAMES.index(name) % len(self.lines)]

    def attempt(self, line, step):
        try:
            step()
        except (BackendError, StopIteration):
            line.lose()
        self.open()

    def hear(self, line):
        self.attempt(line, line.hear)

    def advance(self, line):
        self.attempt(line, lambda: next(line.catching_up))

    def open(self):
        for client in self.clients:
            if client.owed is None and client.line.order.begins([client.channel]):
                client.open()

    # The receiver

    def deliver(self, channel, id, frame, except_user=None):
        self.give(channel, id, except_user)
        self.end(channel, id, frame)
        head, _, _ = frame.partition(b"\n")
        if head.startswith(b"id: "):
            self.tell(Place.parse(head[4:].decode()))

    def deliver_late(self, channel, id, frame, except_user=None):
        assert not frame.startswith(b"id: ")
        self.give(channel, id, except_user)
        self.end(channel, id, frame)

    def end(self, channel, id, frame):
        for client in self.clients:
            if client.name == channel and client.owed is not None:
                client.ended = id if frame.endswith(FINISHED) else None

    def check_ends(self):
        """Whoever listens was given the last event of what is finished, and of nothing else."""
        for client in self.clients:
            events = client.line.redis.events[client.name]
            unknown = client.line.tag != client.line.redis.tag or (events and events[-1].id in self.lost)
            if client.owed is None or unknown:  # the next tick tells, or the next event
                continue
            last = client.line.redis.last(client.name)
            assert client.channel.finished == last, "the worker knows it otherwise"
            assert client.ended == last, "it was not given the last event, or was given it and more came"

    def give(self, channel, id, except_user):
        for client in self.clients:
            listens = client.name == channel and client.owed is not None
            if listens and id > client.begin and client.hears(except_user):
                client.given.append(id)

    def tell(self, place):
        """A client that is told a place has been given everything up to it, on whatever it listens to: but
        for announcements that Redis lost, which nobody knows of before the next one of the channel."""
        assert place.id > self.told.get(place.tag, ZERO), "an id went back, or came twice"
        self.told[place.tag] = place.id
        for client in self.clients:
            if client.owed is not None:
                owed = {id for id in client.owed if ZERO < id <= place.id}
                assert owed <= self.lost | set(client.given), (
                    "it was told a place before an event that it was not given"
                )

    def reset(self, reset):
        self.told = {}
        if reset.reason != "epoch":
            assert len(self.line_of(reset.channel).redis.events[reset.channel]) > KEPT, "history had it all"
        for client in self.clients:
            if client.name == reset.channel:
                client.owed = [] if client.owed is not None else None
                client.given = []
                client.ended = None
                if reset.first and reset.first[-1][2].endswith(FINISHED):
                    client.ended = EventId(*reset.first[-1][:2])
                if client.owed is not None:
                    client.begin = reset.head.id
                    client.owed = [
                        event.id
                        for event in client.line.redis.events[client.name]
                        if event.id > client.begin and client.hears(event.except_user)
                    ]

    # What may happen

    @rule(name=st.sampled_from(NAMES), lost=st.booleans(), user=st.sampled_from(USERS))
    def publish(self, name, lost, user):
        """An event; its announcement may go missing."""
        if self.line_of(name).redis.last(name) is not None:
            self.announce(name, REOPENED, lost)
        self.announce(name, b"data: %d\n\n" % next(self.numbers), lost, user)

    @rule(name=st.sampled_from(NAMES), lost=st.booleans())
    def finish(self, name, lost):
        """The last event of a channel, unless it has had that."""
        if self.line_of(name).redis.last(name) is None:
            self.announce(name, finishing(b"data: %d\n\n" % next(self.numbers)), lost)

    def announce(self, name, body, lost, user=None):
        line = self.line_of(name)
        announcement = line.redis.publish(name, body, user)
        id = number(announcement.id)
        self.everything[name].append(id)
        self.excepted[name, id] = user
        for client in self.clients:
            if client.name == name:
                client.published(id, user)
        if lost:
            self.lost.add(id)
        else:
            line.announce(name, announcement)

    @initialize()
    def begin(self):
        """Most of what can go wrong needs streams that are open."""
        for name in NAMES:
            self.subscribe(name=name, user="u")
        for line in self.lines:
            self.settle(line)

    @rule()
    def rest(self):
        """For a while nothing goes wrong."""
        for each in self.lines:
            self.settle(each)
        self.check_ends()

    @rule(name=st.sampled_from(NAMES), user=st.sampled_from(USERS))
    def subscribe(self, name, user):
        """A stream asks for a channel."""
        line = self.line_of(name)
        channel = line.members.want(name)
        self.clients.append(
            Client(name, channel, line, set(self.everything[name]) - self.lost - line.in_flight(), user)
        )
        self.open()

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), keep=st.booleans())
    def unsubscribe(self, data, keep):
        """A stream leaves; the channel may be dropped at once."""
        client = data.draw(st.sampled_from(self.clients))
        self.clients.remove(client)
        client.line.members.release(client.name, 0.0)
        if not keep and client.line.connected:
            client.line.leave_idle()

    @rule(line=st.integers(0, 2))
    def ask(self, line):
        line = self.lines[line % len(self.lines)]
        if line.connected:
            line.ask()

    @rule(line=st.integers(0, 2))
    def tick(self, line):
        line = self.lines[line % len(self.lines)]
        if line.connected and line.members.has_begun and not line.ticking:
            line.tick()

    @rule(line=st.integers(0, 2), messages=st.integers(1, 5))
    def listen(self, line, messages):
        line = self.lines[line % len(self.lines)]
        for _ in range(messages):
            if line.connected and line.wire:
                self.hear(line)

    @rule(line=st.integers(0, 2), steps=st.integers(1, 6))
    def catch_up(self, line, steps):
        """History is read slowly: a few steps at a time."""
        line = self.lines[line % len(self.lines)]
        for _ in range(steps):
            if line.connected:
                self.advance(line)

    @rule(line=st.integers(0, 2))
    def kill(self, line):
        """The connection is lost."""
        self.lines[line % len(self.lines)].lose()

    @rule(line=st.integers(0, 2))
    def reconnect(self, line):
        line = self.lines[line % len(self.lines)]
        if not line.connected:
            line.connect()

    @rule(line=st.integers(0, 2), once=st.integers(0, 5))
    def flush(self, line, once):
        """The data are lost, now and then; only a reset makes that good."""
        line = self.lines[line % len(self.lines)]
        if once == 0:
            line.redis.flush()
            for client in self.clients:
                if client.line is line and client.owed is not None:
                    client.owed = [ZERO]


class Partitioned(Streams):
    """The same with three partitions."""

    partitions = 3


class Eager(Order):
    """The order as it was once: a tick that comes while something is held does not take its turn."""

    def tick(self, tick):
        if self.flows:
            super().tick(tick)
        else:
            for channel in tick.settling:
                channel.settle(tick.id)
            self._held.append(tick)

    def begins(self, channels):
        return self.position is not None and all(channel.settled for channel in channels)


class EagerStreams(Streams):
    """Streams that begin while events from before are held."""

    kind = Eager


ONCE = settings(
    max_examples=500,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)
LONG = settings(max_examples=150, stateful_step_count=60, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize("machine", [Streams, Partitioned])
def test_every_stream_gets_what_was_published_after_it_began(machine):
    """Under any interleaving of events, ticks, confirmations, kills, gaps, flushes and slow reads."""
    run_state_machine_as_test(machine, settings=LONG)


def test_the_machine_finds_what_was_lost_once():
    """A tick that settles a channel out of its turn is found: the machine can fail."""
    with pytest.raises(AssertionError):
        run_state_machine_as_test(EagerStreams, settings=ONCE)
