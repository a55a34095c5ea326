"""Streams by name: found without a look at the others, and nothing kept of those that left."""

import pytest

from sse_edge.delivery.roster import Roster


class Stream:
    """What a roster needs of a stream, which is nothing."""


@pytest.fixture
def roster():
    return Roster()


def test_every_stream_of_a_name(roster):
    """A name's streams are found, one or many, and nobody else's."""
    one, two, other = Stream(), Stream(), Stream()
    for name, stream in [("u1", one), ("u1", two), ("u1", two), ("u2", other), (None, Stream())]:
        roster.add(name, stream)
    assert set(roster.of("u1")) == {one, two}
    assert roster.of("u2") == [other]
    assert roster.of("u3") == []


@pytest.mark.parametrize("count", [1, 2, 5])
def test_nothing_is_kept(roster, count):
    """When its last stream has left, a name is gone; leaving twice does nothing."""
    streams = [Stream() for _ in range(count)]
    for stream in streams:
        roster.add("u", stream)
    for stream in streams:
        assert stream in roster.of("u")
        roster.discard("u", stream)
        roster.discard("u", stream)
        assert stream not in roster.of("u")
    roster.discard(None, streams[0])
    roster.discard("nobody", streams[0])
    assert len(roster) == 0


def test_a_stranger_takes_nobody_along(roster):
    """A stream that is not there is struck off without harm to one of the same name."""
    stream = Stream()
    roster.add("u", stream)
    roster.discard("u", Stream())
    assert roster.of("u") == [stream]


class Names(dict):
    """Counts how often it is asked."""

    asked = 0

    def __contains__(self, name):
        self.asked += 1
        return super().__contains__(name)

    def __iter__(self):
        for name in super().__iter__():
            self.asked += 1
            yield name


@pytest.mark.parametrize(("here", "there"), [(3, 10_000), (10_000, 3), (100, 100), (0, 10), (10, 0)])
def test_of_many_names(roster, here, there):
    """Many names cost as much as the shorter of both lists, and bring all streams of each."""
    streams = {f"s{n}": [Stream(), Stream()] for n in range(here)}
    for name, known in streams.items():
        for stream in known:
            roster.add(name, stream)
    names = Names({f"s{n}": 0.0 for n in range(0, 2 * there, 2)})
    names.asked = 0
    found = roster.among(names)
    assert set(found) == {stream for name in names if name in streams for stream in streams[name]}
    names.asked = 0
    roster.among(names)
    assert names.asked <= min(here, there)
