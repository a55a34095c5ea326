"""Which channels are asked for, confirmed and left, and what the answers of Redis mean, step by step."""

from concurrent.futures import Future

import pytest

from sse_edge.backends.redis.channel import Channel, State
from sse_edge.backends.redis.membership import Membership
from sse_edge.backends.retention import Retention

LINGER = 2.0


def make(name):
    return Channel(name, b"sse:" + name.encode(), Future(), Retention(100, 300.0))


@pytest.fixture
def members():
    return Membership(make)


def names(channels):
    return [channel.name for channel in channels]


def heard(members, *wanted):
    """Those channels, wanted once each and confirmed."""
    channels = [members.want(name) for name in wanted]
    members.ask(1000)
    for channel in channels:
        members.confirmed(channel.wire)
    return channels


def test_a_channel_is_one_however_many_want_it(members):
    """It is made once, asked for once, counted, and found by its name and by its name in Redis."""
    one = members.want("a")
    assert members.want("a") is one
    assert (one.count, members.channels, members.wires) == (2, {"a": one}, {b"sse:a": one})
    assert members.ask(10) == [one]
    assert members.ask(10) == []


def test_asked_in_batches_in_the_order_wanted(members):
    """At most so many are asked for at a time, each once."""
    for name in "abcde":
        members.want(name)
    assert [names(members.ask(2)) for _ in range(4)] == [["a", "b"], ["c", "d"], ["e"], []]
    assert {channel.state for channel in members.channels.values()} == {State.ASKED}


def test_confirmed_once_it_was_asked_for(members):
    """A confirmation counts for a channel that was asked for, and once."""
    channel = members.want("a")
    assert members.confirmed(b"sse:a") is None
    members.ask(1)
    assert members.confirmed(b"sse:a") is channel
    assert channel.state is State.HEARD
    assert members.confirmed(b"sse:a") is None
    assert members.confirmed(b"sse:unknown") is None


@pytest.mark.parametrize(
    ("steps", "dropped"),
    [
        (["+", "-"], True),
        (["+", "+", "-"], False),
        (["+", "+", "-", "-"], True),
        (["+", "-", "+"], False),
        (["+", "-", "-", "+"], False),  # one release too many takes nothing from the next
        (["+", "-", "+", "-"], True),
    ],
)
def test_counted(members, steps, dropped):
    """A channel is left when as many have released it as wanted it."""
    for step in steps:
        if step == "+":
            heard(members, "a")
        else:
            members.release("a", 0.0)
    gone, wires = members.drop(LINGER, LINGER)
    assert (names(gone), wires) == ((["a"], [b"sse:a"]) if dropped else ([], []))
    assert ("a" in members.channels) is not dropped
    assert (b"sse:a" in members.wires) is not dropped


def test_releasing_what_nobody_has(members):
    """A channel that is not there is released without complaint."""
    members.release("a", 0.0)
    assert members.drop(9.0, LINGER) == ([], [])


def test_idle_channels_linger(members):
    """Only after so many seconds without anybody is a channel left, those idle for longest first."""
    a, b, c = heard(members, "a", "b", "c")
    members.release("b", 10.0)
    members.release("a", 11.0)
    members.release("c", 11.5)
    assert members.drop(11.9, LINGER) == ([], [])
    assert members.drop(12.0, LINGER) == ([b], [b"sse:b"])
    assert members.drop(14.0, LINGER) == ([a, c], [b"sse:a", b"sse:c"])
    assert (members.channels, members.wires) == ({}, {})
    assert {channel.state for channel in (a, b, c)} == {State.LEFT}


def test_wanted_again_in_time(members):
    """A page that reloads finds its channel as it was, and its idle time begins anew afterwards."""
    (channel,) = heard(members, "a")
    members.release("a", 0.0)
    assert members.want("a") is channel
    assert members.ask(1) == []
    members.release("a", 1.5)
    assert members.drop(2.5, LINGER) == ([], [])
    assert members.drop(3.5, LINGER) == ([channel], [b"sse:a"])


def test_not_asked_for_yet(members):
    """A channel that nobody wants any more before it was asked for is never asked for."""
    channel = members.want("a")
    members.release("a", 0.0)
    assert members.drop(LINGER, LINGER) == ([channel], [])
    assert members.ask(1) == []


def test_asked_for_and_not_confirmed(members):
    """It stays until its confirmation came, or that would be taken for the next one's of its name."""
    channel = members.want("a")
    members.ask(1)
    members.release("a", 0.0)
    for now in (2.0, 4.0, 6.0):
        assert members.drop(now, LINGER) == ([], [])
    assert members.confirmed(b"sse:a") is channel
    assert members.drop(7.9, LINGER) == ([], [])
    assert members.drop(8.0, LINGER) == ([channel], [b"sse:a"])


def test_one_that_is_not_confirmed_keeps_no_other(members):
    """Those that were idle after it are left at their time."""
    stuck = members.want("a")
    members.ask(1)
    (other,) = heard(members, "b")
    members.release("a", 0.0)
    members.release("b", 0.0)
    assert members.drop(2.0, LINGER) == ([other], [b"sse:b"])
    assert members.channels == {"a": stuck}


def test_wanted_again_while_it_is_left(members):
    """The end of the old subscription, which was asked for, is not taken for the new one's."""
    (old,) = heard(members, "a")
    members.release("a", 0.0)
    members.drop(LINGER, LINGER)
    new = members.want("a")
    assert new is not old
    assert members.ask(1) == [new]
    assert members.left(b"sse:a")  # the answer to UNSUBSCRIBE
    assert new.state is State.ASKED
    assert members.confirmed(b"sse:a") is new
    assert not members.left(b"sse:a")  # the server ended the new one by itself


def test_left_as_often_as_asked(members):
    """A channel that comes and goes before Redis answers is ended as often as that was asked for."""
    for _ in range(3):
        heard(members, "a")
        members.release("a", 0.0)
        members.drop(LINGER, LINGER)
    assert [members.left(b"sse:a") for _ in range(4)] == [True, True, True, False]
    assert not members.left(b"sse:unknown")


def test_has_begun(members):
    """A connection has begun once all that were there before are confirmed, or left; not those after."""
    assert members.has_begun
    for name in "abc":
        members.want(name)
    members.begin()
    assert not members.has_begun
    members.want("later")
    members.release("c", 0.0)
    assert names(members.drop(LINGER, LINGER)[0]) == ["c"]
    members.ask(10)
    assert members.confirmed(b"sse:a")
    assert not members.has_begun
    assert members.confirmed(b"sse:b")
    assert members.has_begun


def test_a_new_connection(members):
    """Everything is asked for again, and nothing that the old one still owed is waited for."""
    a, b, c = heard(members, "a", "b", "c")
    members.want("d")
    members.ask(1)
    members.release("c", 0.0)
    members.drop(LINGER, LINGER)
    members.begin()
    assert {channel.state for channel in members.channels.values()} == {State.WANTED}
    assert members.confirmed(b"sse:a") is None
    assert not members.left(b"sse:c")
    assert names(members.ask(10)) == ["a", "b", "d"]
    assert (a.count, b.count, c.state) == (1, 1, State.LEFT)


def test_idle_since_before_the_connection(members):
    """What nobody wants is dropped without a word when a new connection begins, and not asked for again."""
    a, b = heard(members, "a", "b")
    members.release("a", 0.0)
    members.begin()
    assert members.drop(0.0, 0.0) == ([a], [])
    assert members.ask(10) == [b]


class Watched(Channel):
    """A channel that counts how often anybody asks since when one is idle."""

    looked = 0

    @property
    def idle_since(self):
        Watched.looked += 1
        return self.since

    @idle_since.setter
    def idle_since(self, now):
        self.since = now


def test_idle_channels_cost_nothing():
    """However many linger, only those that are due are looked at, and one more."""
    ready = Future()
    members = Membership(lambda name: Watched(name, name.encode(), ready, 100))
    heard(members, *map(str, range(100_000)))
    for n in range(100_000):
        members.release(str(n), n / 1000)
    Watched.looked = 0
    assert members.drop(1.9, LINGER) == ([], [])
    assert Watched.looked == 1
    assert len(members.drop(2.0095, LINGER)[0]) == 10
    assert Watched.looked == 12
    members.want("50000")
    members.release("50000", 99.999)
    assert len(members.drop(51.0, LINGER)[0]) == 49_001 - 10
    assert Watched.looked <= 12 + 49_001
