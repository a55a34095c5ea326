"""What comes first, from the recent events of a worker's channels."""

import asyncio

import pytest

from parts.reads import History, at, hear, settled
from sse_edge.backends.base import Numbered
from sse_edge.backends.log import Log
from sse_edge.backends.redis.channel import Channel
from sse_edge.backends.redis.recent import Recent, lacking, replayed
from sse_edge.backends.retention import Retention
from sse_edge.event import REOPENED, ZERO, Place, finishing


@pytest.fixture
def history():
    return History()


FIRST = [
    # what history has ("f": the last event, "r": it says there that the channel goes on), from which place on
    # that was heard, how many come first, what is given, and what is read (how many, up to where)
    ("1 2 3 4 5", 6, 0, [], []),
    ("1 2 3 4 5", 6, 1, [5], [(1, 5)]),
    ("1 2 3 4 5", 6, 3, [3, 4, 5], [(3, 5)]),
    ("1 2 3 4 5", 5, 3, [3, 4, 5], [(2, 4)]),
    ("1 2 3 4 5", 1, 3, [3, 4, 5], []),
    ("1 2 3 4 5", 6, 9, [1, 2, 3, 4, 5], [(9, 5)]),
    ("1 2 3 4 5", 6, 1000, [1, 2, 3, 4, 5], [(20, 5)]),
    ("", 1, 5, [], [(5, 0)]),
    ("1 2 3f", 4, 0, [3], [(1, 3)]),
    ("1 2 3f", 4, 2, [2, 3], [(2, 3)]),
    ("1 2 3f 4r", 5, 0, [], []),
    ("1 2 3f 4r", 5, 1, [3], [(1, 4), (0, 3)]),
    ("1 2f 3r 4", 5, 2, [2, 4], [(2, 4), (0, 2)]),
]


def kept_as(text):
    for each in text.split():
        n = int(each.rstrip("rf"))
        body = b"data: %d\n\n" % n
        yield n, finishing(body) if each.endswith("f") else REOPENED if each.endswith("r") else body


@pytest.mark.parametrize(("kept", "heard", "first", "given", "reads"), FIRST)
async def test_what_comes_first(history, kept, heard, first, given, reads):
    """Whoever has no place is given the newest events, and the end of what is finished; what is known is not
    read."""
    recent = Recent(history.read)
    channel = settled("a", at(heard - 1) if heard > 1 else ZERO, keep=20)
    history.kept["a"] = log = Log(ZERO, "epoch")
    for n, body in kept_as(kept):
        log.append(at(n), body)
        if n >= heard:
            hear(recent, channel, Numbered(at(n), body))
        elif body.endswith(b": finished\n\n"):
            channel.finished = at(n)
        else:
            channel.finished = None
    now = Place(at(max([n for n, _ in kept_as(kept)], default=1)), "abcde")
    while missing := lacking([channel], None, {"a": first}, now.id):
        await recent.complete(missing)
    replay = replayed([channel], None, now, {"a": first})
    assert ([ms for ms, _, _ in replay.events], replay.resets) == (given, [])
    assert [one[1:] for read in history.reads for one in read] == reads


async def test_a_thousand_new_streams_read_once(history):
    """All that open at the same time share the read, whatever each gets first."""
    recent = Recent(history.read)
    for n in range(1, 6):
        history.publish("a", n)
    channel = settled("a", at(5))

    async def opened(first):
        while missing := lacking([channel], None, {"a": first}, at(5)):
            await recent.complete(missing)
        return [ms for ms, _, _ in replayed([channel], None, Place(at(5), "abcde"), {"a": first}).events]

    given = await asyncio.gather(*(opened(1 + n % 3) for n in range(1000)))
    assert given == [[5], [4, 5], [3, 4, 5]] * 333 + [[5]]
    assert history.reads == [[("a", 3, 5)]]


@pytest.mark.parametrize(("age", "given"), [(999, [5]), (1000, [5]), (1001, [])])
async def test_what_has_expired_is_not_given_first(history, age, given):
    """Of a channel whose time has passed nothing is given, though its stream may live somewhat longer."""
    recent = Recent(history.read)
    history.publish("a", 5)
    ready = asyncio.get_running_loop().create_future()
    channel = Channel("a", b"a", ready, Retention(10, 1.0))
    channel.settle(at(5), finished=at(5))
    now = at(5 + age)
    while missing := lacking([channel], None, {"a": 1}, now):
        await recent.complete(missing)
    replay = replayed([channel], None, Place(now, "abcde"), {"a": 1})
    assert [ms for ms, _, _ in replay.events] == given
    assert channel.is_finished(now) == bool(given)


async def test_a_reset_is_followed_by_what_comes_first(history):
    """Whoever cannot be told what it missed is given what a new stream is; other channels resume."""
    recent = Recent(history.read)
    for n in range(1, 9):
        history.publish("ab"[n % 2], n)
    history.kept["a"].trim(2, 1000)
    channels = [settled(name, at(8)) for name in "ab"]
    while missing := lacking(channels, at(3), {"a": 1, "b": 1}, at(8)):
        await recent.complete(missing)
    replay = replayed(channels, at(3), Place(at(8), "abcde"), {"a": 1, "b": 1})
    assert [(reset.channel, reset.reason) for reset in replay.resets] == [("a", "trimmed")]
    assert [ms for ms, _, _ in replay.events] == [5, 7, 8]
