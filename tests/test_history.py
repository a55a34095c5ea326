"""What Redis's answer proves about a channel, as a table."""

import pytest

from sse_edge.backends.redis.history import parse_cut
from sse_edge.event import ZERO, EventId

TTL = 300_000
UPTO = EventId(10_000_000, 0)


def entry(id, previous):
    return [id.encode(), [b"p", previous.encode(), b"b", b"data: x\n\n"]]


def log_of(asked, entries, *, exists=1, epoch="1-0", ttl=b"300000", stuck=b"0-0"):
    answer = [b"10000000-0", epoch.encode(), ttl, stuck, [exists, entries]]
    (log,) = parse_cut(answer, [asked], TTL).logs
    return log


@pytest.mark.parametrize(
    ("asked", "exists", "entries", "epoch", "floor", "reason"),
    [
        # Nothing newer in a stream that is there: complete from what was asked.
        (EventId(9_000_000, 1), 1, [], "1-0", EventId(9_000_000, 1), "trimmed"),
        # No stream: nothing was published for the time a stream lives.
        (ZERO, 0, [], "1-0", EventId(9_700_000, 0), "expired"),
        # The first entry knows the one before it: complete from that one.
        (ZERO, 1, [("9900000-1", "9800000-4")], "1-0", EventId(9_800_000, 4), "trimmed"),
        # The first entry was the first in a stream's life: nothing for a life before it.
        (ZERO, 1, [("9900000-1", "-")], "1-0", EventId(9_600_000, 0), "expired"),
        # What is older than the data set is unknown whatever the entries say.
        (ZERO, 1, [("9900000-1", "-")], "9850000-0", EventId(9_850_000, 0), "epoch"),
        (ZERO, 1, [("9900000-1", "9800000-4")], "9850000-0", EventId(9_850_000, 0), "epoch"),
        (EventId(9_000_000, 1), 1, [], "9850000-0", EventId(9_850_000, 0), "epoch"),
    ],
)
def test_floor(asked, exists, entries, epoch, floor, reason):
    """Entries prove completeness from a floor, and the reason says what is unknown below it."""
    log = log_of(asked, [entry(*given) for given in entries], exists=exists, epoch=epoch)
    assert (log.floor, log.reason) == (floor, reason)


def test_events_carry_their_id_line():
    """A stored body becomes the frame that was announced."""
    log = log_of(ZERO, [entry("9900000-1", "-"), entry("9900000-2", "9900000-1")])
    assert [event.frame for event in log.events] == [
        b"id: 9900000-1\ndata: x\n\n",
        b"id: 9900000-2\ndata: x\n\n",
    ]


def test_events_before_the_epoch_are_not_given():
    """Events older than the epoch are not mixed with what is complete."""
    log = log_of(ZERO, [entry("9800000-1", "-"), entry("9900000-1", "9800000-1")], epoch="9850000-0")
    assert [event.id for event in log.events] == [EventId(9_900_000, 1)]


def test_the_shortest_ttl_counts():
    """A publisher that keeps less than this worker thinks decides what can be proven."""
    assert log_of(ZERO, [], exists=0, ttl=b"1000").floor == EventId(9_999_000, 0)


def test_without_any_ttl_the_own_setting_counts():
    """Before anybody published with history, the worker's own setting is all there is."""
    assert log_of(ZERO, [], exists=0, ttl=b"-").floor == EventId(9_700_000, 0)


@pytest.mark.parametrize(
    ("stuck", "entries", "floor"),
    [
        (b"9990000-7", [], EventId(9_990_000, 7)),
        (b"9000000-7", [], EventId(9_700_000, 0)),
        (b"9990000-7", [("9990000-5", "-")], EventId(9_990_000, 4)),
        (b"9890000-7", [("9900000-1", "-")], EventId(9_890_000, 7)),
        (b"9990000-7", [("9990000-5", "9990000-3")], EventId(9_990_000, 3)),
    ],
)
def test_ids_that_stood_still_prove_nothing_by_their_age(stuck, entries, floor):
    """While the clock was behind the ids, events expired sooner than their ids say."""
    log = log_of(ZERO, [entry(*given) for given in entries], exists=bool(entries), stuck=stuck)
    assert (log.floor, log.reason) == (floor, "trimmed" if log.floor.n == 3 else "expired")
