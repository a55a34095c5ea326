"""What Redis's answer proves about a channel, as a table."""

import pytest

from sse_edge.backends.redis.history import Asked, parse_cut
from sse_edge.backends.retention import Retention, kept
from sse_edge.errors import BackendError
from sse_edge.event import ZERO, EventId

UPTO = EventId(10_000_000, 0)
NEVER = "0-0"


def entry(id, previous):
    return [id.encode(), [b"p", previous.encode(), b"b", b"data: x\n\n"]]


def cut_of(
    asked, channels, *, epoch="1-0", evicted=NEVER, stuck=NEVER, settings="", changed=NEVER, shortest=0
):
    """The cut of an answer; ``channels`` are ``(entries, before)``."""
    place = [each.encode() for each in (str(UPTO), "abcde", epoch, evicted, stuck, settings, changed)]
    return parse_cut([*place, str(shortest).encode(), *channels], asked)


def log_of(after, entries=(), *, exists=1, before="", channel="c", upto=None, newest=None, **known):
    before = before or (str(after) if exists and not entries else "-")
    given = [[entry(*each) for each in entries], before.encode()]
    return cut_of([Asked(channel, after, upto, newest)], [given], **known).logs[0]


def id_of(ms, n=0):
    return EventId(ms, n)


@pytest.mark.parametrize(
    ("asked", "exists", "entries", "epoch", "floor", "reason"),
    [
        # Nothing newer in a stream that is there: complete from what was asked.
        (id_of(9_000_000, 1), 1, [], "1-0", id_of(9_000_000, 1), "trimmed"),
        # No stream: nothing was published for the time a stream lives.
        (ZERO, 0, [], "1-0", id_of(9_700_000), "expired"),
        # The first entry knows the one before it: complete from that one.
        (ZERO, 1, [("9900000-1", "9800000-4")], "1-0", id_of(9_800_000, 4), "trimmed"),
        # The first entry was the first in a stream's life: nothing for a life before it.
        (ZERO, 1, [("9900000-1", "-")], "1-0", id_of(9_600_000), "expired"),
        # What is older than the data set is unknown whatever the entries say.
        (ZERO, 1, [("9900000-1", "-")], "9850000-0", id_of(9_850_000), "epoch"),
        (ZERO, 1, [("9900000-1", "9800000-4")], "9850000-0", id_of(9_850_000), "epoch"),
        (id_of(9_000_000, 1), 1, [], "9850000-0", id_of(9_850_000), "epoch"),
        # Time did not begin before itself.
        (ZERO, 1, [("100000-1", "-")], NEVER, ZERO, "expired"),
    ],
)
def test_floor(asked, exists, entries, epoch, floor, reason):
    """Entries prove completeness from a floor, and the reason says what is unknown below it."""
    log = log_of(asked, entries, exists=exists, epoch=epoch)
    assert (log.floor, log.reason) == (floor, reason)


AFTER, LAST = id_of(9_800_000, 3), id_of(9_900_000)


@pytest.mark.parametrize(
    ("exists", "entries", "before", "floor", "covered"),
    [
        # Nothing in between, and nothing later.
        (1, [], "", AFTER, True),
        # The next one knows the last that was asked about, or an older one: nothing in between.
        (1, [], "9800000-3", AFTER, True),
        (1, [], "9700000-1", id_of(9_700_000, 1), True),
        # The next one knows one in between, which is gone: trimmed while it was away.
        (1, [], "9850000-1", id_of(9_850_000, 1), False),
        # The next one is the first of a stream's life; the one before it may have died in between.
        (1, [], "-", id_of(9_700_000), True),
        # The stream died meanwhile.
        (0, [], "", id_of(9_700_000), True),
        # Some are there: what comes after them proves nothing more.
        (1, [("9850000-1", "9800000-3")], "", AFTER, True),
        (1, [("9850000-2", "9850000-1")], "", id_of(9_850_000, 1), False),
    ],
)
def test_a_range(exists, entries, before, floor, covered):
    """Between two ids the event after the range tells about an empty range what its first one would."""
    log = log_of(AFTER, entries, exists=exists, before=before, upto=LAST)
    assert (log.floor, log.covers(AFTER)) == (floor, covered)
    assert len(log.events) == len(entries)


def test_events_carry_their_id_line():
    """A stored body becomes the frame that was announced, with the data set's tag."""
    log = log_of(ZERO, [("9900000-1", "-"), ("9900000-2", "9900000-1")])
    assert [event.frame for event in log.events] == [
        b"id: 9900000-1.abcde\ndata: x\n\n",
        b"id: 9900000-2.abcde\ndata: x\n\n",
    ]


def test_events_before_the_epoch_prove_nothing():
    """Events older than the epoch can be given first, and are nothing that a client can resume from."""
    log = log_of(ZERO, [("9800000-1", "-"), ("9900000-1", "9800000-1")], epoch="9850000-0")
    assert (log.floor, log.reason) == (id_of(9_850_000, 0), "epoch")
    assert [ms for ms, _, _ in log.since(log.floor)] == [9_900_000]
    assert [ms for ms, _, _ in log.newest(5)] == [9_800_000, 9_900_000]


@pytest.mark.parametrize(
    ("after", "newest", "count", "whole"),
    [
        (ZERO, None, 2, True),
        (ZERO, 3, 2, True),
        (ZERO, 2, 2, False),  # there may be more
        (id_of(9_700_000, 1), None, 2, False),
    ],
)
def test_whether_there_is_anything_older(after, newest, count, whole):
    """A log is known to have all that history has, if it was asked for from the beginning and has fewer."""
    entries = [(f"98{n:05}-1", "9700000-1") for n in range(count)]
    assert log_of(after, entries, newest=newest).whole == whole


def test_the_cut():
    """All logs of one answer are up to one place, in the order asked."""
    asked = [Asked("a", ZERO), Asked("b", AFTER), Asked("c", AFTER, LAST)]
    channels = [[[], b"-"], [[], b"9800000-3"], [[entry("9850000-1", "9800000-3")], b"-"]]
    cut = cut_of(asked, channels)
    assert (cut.upto, cut.tag, cut.settings) == (UPTO, "abcde", "")
    assert [(log.floor, len(log.events)) for log in cut.logs] == [
        (id_of(9_700_000), 0),
        (AFTER, 0),
        (AFTER, 1),
    ]
    assert cut_of([], []).logs == []


SETTINGS = kept(100, 60.0, {"task:*": Retention(10, 3600.0), "brief:*": Retention(10, 1.0)}).dump()


@pytest.mark.parametrize(
    ("settings", "channel", "floor"),
    [
        ("", "c", 9_700_000),
        (SETTINGS, "c", 9_940_000),
        (SETTINGS, "task:7", 6_400_000),
        (SETTINGS, "brief:7", 9_999_000),
    ],
)
def test_each_channel_lives_as_long_as_the_data_set_keeps_it(settings, channel, floor):
    """How long there was nothing is as long as the settings in Redis keep that channel."""
    log = log_of(ZERO, exists=0, settings=settings, channel=channel)
    assert (log.floor, log.reason) == (id_of(floor), "expired")
    assert cut_of([], [], settings=settings).settings == settings


@pytest.mark.parametrize(
    ("changed", "shortest", "entries", "floor"),
    [
        # Streams lived shorter until the settings changed, in the time that counts.
        ("9950000-2", 60_000, [], id_of(9_940_000)),
        ("9800000-2", 60_000, [], id_of(9_800_000, 2)),
        # Long ago: what counts was kept by the present settings.
        ("9600000-2", 60_000, [], id_of(9_700_000)),
        # They lived longer before: the present settings say less.
        ("9950000-2", 900_000, [], id_of(9_700_000)),
        # Nothing at all was kept before.
        ("9950000-2", 0, [], id_of(9_950_000, 2)),
        # Before the first event of a stream's life the same.
        ("9950000-2", 60_000, [("9900000-1", "-")], id_of(9_840_000)),
        ("9700000-2", 60_000, [("9900000-1", "-")], id_of(9_700_000, 2)),
        ("9500000-2", 60_000, [("9900000-1", "-")], id_of(9_600_000)),
        # An event that knows the one before it needs no such proof.
        ("9950000-2", 60_000, [("9900000-1", "9800000-4")], id_of(9_800_000, 4)),
    ],
)
def test_settings_that_changed(changed, shortest, entries, floor):
    """Until they changed a stream may have lived as long only as the shortest of the older settings said."""
    log = log_of(ZERO, entries, exists=len(entries), changed=changed, shortest=shortest)
    assert log.floor == floor


@pytest.mark.parametrize(
    ("stuck", "entries", "floor", "reason"),
    [
        ("9990000-7", [], id_of(9_990_000, 7), "expired"),
        ("9000000-7", [], id_of(9_700_000), "expired"),
        ("9990000-7", [("9990000-5", "-")], id_of(9_990_000, 4), "expired"),
        ("9890000-7", [("9900000-1", "-")], id_of(9_890_000, 7), "expired"),
        ("9990000-7", [("9990000-5", "9990000-3")], id_of(9_990_000, 3), "trimmed"),
    ],
)
def test_ids_that_stood_still_prove_nothing_by_their_age(stuck, entries, floor, reason):
    """While the clock was behind the ids, events expired sooner than their ids say."""
    log = log_of(ZERO, entries, exists=len(entries), stuck=stuck)
    assert (log.floor, log.reason) == (floor, reason)


@pytest.mark.parametrize(
    ("evicted", "stuck", "entries", "floor", "reason"),
    [
        ("9990000-7", NEVER, [], id_of(9_990_000, 7), "evicted"),
        (str(UPTO), NEVER, [], UPTO, "evicted"),
        # Long enough ago that the stream would have expired anyway.
        ("9000000-7", NEVER, [], id_of(9_700_000), "expired"),
        ("9990000-7", "9980000-7", [], id_of(9_990_000, 7), "evicted"),
        ("9980000-7", "9990000-7", [], id_of(9_990_000, 7), "expired"),
        # The first event of a stream's life: the stream before it may have been evicted.
        ("9890000-7", NEVER, [("9900000-1", "-")], id_of(9_890_000, 7), "evicted"),
        # A stream that is there was not evicted.
        ("9990000-7", NEVER, [("9900000-1", "9800000-4")], id_of(9_800_000, 4), "trimmed"),
    ],
)
def test_evicted(evicted, stuck, entries, floor, reason):
    """Where Redis evicted keys, a stream that is not there proves nothing of the time before."""
    log = log_of(ZERO, entries, exists=len(entries), evicted=evicted, stuck=stuck)
    assert (log.floor, log.reason) == (floor, reason)


def test_evicted_after_the_first_event_of_a_stream():
    """What was evicted up to any time may have been the stream before this one, but none of its events."""
    log = log_of(ZERO, [("9900000-5", "-")], evicted="9990000-7")
    assert log.floor == id_of(9_900_000, 4)
    assert len(log.events) == 1


def test_evicted_matters_not_to_a_stream_that_is_there():
    """A stream that is there, and empty after what was asked, is complete."""
    assert log_of(AFTER, evicted=str(UPTO)).floor == AFTER


@pytest.mark.parametrize("entries", [[], [("9900000-1", "9800000-4")]])
@pytest.mark.parametrize("after", [ZERO, AFTER, UPTO])
def test_without_history(entries, after):
    """Where the data set keeps none, nothing is said of any channel, whatever was kept before."""
    log = log_of(after, entries, exists=len(entries), settings=kept(0, 300.0).dump(), epoch="9850000-0")
    assert (log.floor, log.reason, list(log.events)) == (UPTO, "gap", [])


@pytest.mark.parametrize("settings", ["{}", "[[100, 300.0]", "[[-1, 300.0], []]"])
def test_settings_that_nobody_here_wrote(settings):
    """What cannot be read is no reason to guess."""
    with pytest.raises(BackendError, match="settings"):
        cut_of([], [], settings=settings)


@pytest.mark.parametrize(
    ("entries", "before", "previous"),
    [
        ([("9900000-1", "9800000-4")], "", id_of(9_800_000, 4)),
        ([("9900000-1", "-")], "", None),
        ([], "9700000-2", id_of(9_700_000, 2)),
        ([], "-", None),
    ],
)
def test_the_last_event_before(entries, before, previous):
    """A log knows the event before what was asked, so that one that was never heard is noticed."""
    assert log_of(AFTER, entries, before=before).previous == previous
