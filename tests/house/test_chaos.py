"""The chaos campaign: two short ones, what it plans, and that its verdict finds what it is there for."""

from zlib import crc32

import pytest

from chaos.campaign import Outcome, play
from chaos.plan import CLIENTS, DECKS, KINDS, LAYOUTS, PUBLISHERS, make_plan
from chaos.record import (
    MAYBE,
    NEVER,
    SURE,
    Closed,
    Heard,
    Incident,
    Key,
    Odd,
    Opened,
    Over,
    Placed,
    Publication,
    Record,
    Reset,
    Said,
)
from chaos.report import details, line
from chaos.verdict import Rules, judge
from chaos.watched import judge_watchers

ONE = Rules(partitions=1, history=100, history_ttl=60.0)
THREE = ONE._replace(partitions=3)


# The verdict


def published(n, *, channel="c", ms=None, state=SURE, attempts=1, began=None, ended=None, **fields):
    """The n-th event of ``channel``: its id is <1000 n>-1, a second after the one before."""
    began = n if began is None else began
    id = f"{1000 * n if ms is None else ms}-1" if state == SURE else ""
    ended = began if ended is None else ended
    return Publication(
        Key(channel, "p", n), began, attempts=attempts, ended=ended, state=state, id=id, **fields
    )


def opened(at, cursor="", channels=("c",)):
    """A stream began."""
    return Opened(at, "w0", channels, cursor)


def heard(n, *, channel="c", id=None, attempt=1):
    """The n-th event of ``channel`` came when it was published."""
    return Heard(n, f"{1000 * n}-1" if id is None else id, Key(channel, "p", n), attempt)


def reset(at, reason="epoch", *, id="", channel="c"):
    """A client was told that something is missing."""
    return Reset(at, id, channel, reason)


def seen(*journal, events=(1, 2, 3, 4), incidents=()):
    """A record of one client; ``events`` are numbers or publications."""
    record = Record(wall=0.0, incidents=list(incidents))
    record.publications += [each if isinstance(each, Publication) else published(each) for each in events]
    record.journal("a").extend(journal)
    return record


def kinds(record, rules=ONE):
    """The kinds of all violations."""
    return [violation.kind for violation in judge(record, rules).violations]


BEGUN = (opened(0.5), Placed(0.5, "500-0"))
LOST = Incident("redis emptied", "", 1.5, 2.5, loses=True)
SPLIT = Incident("other primaries", "", 1.5, 2.5, loses=True, splits=True)
HARMLESS = Incident("worker killed", "w0", 1.5, 2.5)

KEPT = {
    "all in order": seen(*BEGUN, heard(1), heard(2), heard(3), heard(4)),
    "a resume": seen(*BEGUN, heard(1), heard(2), Closed(2.5, "cut"), opened(3, "2000-1"), heard(3), heard(4)),
    "nothing after its place is owed": seen(*BEGUN, heard(1), heard(2)),
    "nothing before its place is owed": seen(opened(2.5), Placed(2.5, "2500-0"), heard(3), heard(4)),
    "cut before it had a place": seen(
        opened(0.1), Closed(0.2, "cut"), opened(2.5), Placed(2.5, "2500-0"), heard(3)
    ),
    "it begins with a cursor": seen(opened(2.5, "2000-0"), heard(2), heard(3)),
    "a reset before the hole": seen(*BEGUN, heard(1), reset(3.5), heard(4), incidents=[LOST]),
    "a reset and nothing more": seen(*BEGUN, heard(1), reset(4.5), Placed(4.5, "4500-0"), incidents=[LOST]),
    "an event that may be out is not": seen(
        *BEGUN, heard(1), heard(3), events=[1, published(2, state=MAYBE), 3]
    ),
    "an event that may be out is": seen(*BEGUN, heard(1), heard(2), events=[1, published(2, state=MAYBE)]),
    "twice because its key was lost": seen(
        *BEGUN,
        heard(1),
        heard(2, id="1500-1"),
        heard(2, attempt=2, id="2000-1"),
        events=[1, published(2, attempts=2, deduped=True)],
        incidents=[LOST],
    ),
    "lost with a server that was no primary any more": seen(
        *BEGUN, heard(1), heard(40), events=[1, 2, 40], incidents=[SPLIT]
    ),
    "other channels": seen(
        *BEGUN,
        heard(1),
        opened(1.5, "1000-1", ("d",)),
        heard(2, channel="d"),
        events=[1, published(2, channel="d"), 3],
    ),
    "a channel that it left and takes up again": seen(
        *BEGUN,
        heard(1),
        opened(1.2, "1000-1", ("d",)),
        Placed(3.5, "3500-0"),
        opened(3.6, "3500-0", ("c",)),
        heard(4),
    ),
    "trimmed": seen(*BEGUN, reset(149.5, "trimmed"), heard(150), events=[*range(1, 151)]),
    "expired": seen(*BEGUN, reset(200, "expired"), Placed(200, "200000-0")),
    "an event for everybody else": seen(
        *BEGUN, heard(1), heard(3), events=[1, published(2, except_user="a"), published(3, except_user="b")]
    ),
    "the tag changes with epoch": seen(
        opened(0.5),
        Placed(0.5, "500-0.aa"),
        reset(3),
        Placed(3, "100-0.bb"),
        incidents=[LOST],
    ),
    "the same tag": seen(
        opened(0.5), Placed(0.5, "500-0.aa"), heard(1, id="1000-1.aa"), heard(2, id="2000-1.aa")
    ),
}


@pytest.mark.parametrize("record", KEPT.values(), ids=KEPT)
def test_what_keeps_every_promise(record):
    """The verdict finds nothing where nothing is wrong."""
    assert judge(record, ONE).violations == []


BROKEN = {
    "lost": ("lost", seen(*BEGUN, heard(1), heard(3))),
    "lost, and noticed by nobody": ("lost", seen(*BEGUN, heard(1), Placed(2.5, "2500-0"))),
    "lost long after a server was no primary any more": (
        "lost",
        seen(*BEGUN, heard(1), heard(42), events=[1, 41, 42], incidents=[SPLIT]),
    ),
    "lost at a resume": (
        "lost",
        seen(*BEGUN, heard(1), Closed(1.5, "cut"), opened(3, "1000-1"), heard(3)),
    ),
    "lost because it came for other channels": (
        "lost",
        seen(
            *BEGUN,
            heard(1),
            opened(2.5, "1000-1", ("d",)),
            heard(3, channel="d"),
            events=[1, published(2, channel="d"), published(3, channel="d")],
        ),
    ),
    "lost before it left the channel": (
        "lost",
        seen(*BEGUN, heard(1), Placed(2.5, "2500-0"), opened(2.6, "2500-0", ("d",))),
    ),
    "the reset comes after the hole": (
        "lost",
        seen(*BEGUN, heard(1), heard(3), reset(3.5), incidents=[LOST]),
    ),
    "the reset comes before the hole was there": (
        "lost",
        seen(
            *BEGUN,
            reset(0.9),
            heard(1),
            heard(3),
            incidents=[Incident("redis emptied", "", 0.1, 0.2, loses=True)],
        ),
    ),
    "the reset is another channel's": (
        "lost",
        seen(
            opened(0.5, channels=("c", "d")),
            Placed(0.5, "500-0"),
            heard(1),
            reset(2.5, channel="d"),
            heard(3),
            incidents=[LOST],
        ),
    ),
    "twice": ("twice", seen(*BEGUN, heard(1), heard(2), heard(2))),
    "twice, on two connections": ("twice", seen(*BEGUN, heard(1), heard(2), opened(2.5, "2000-1"), heard(2))),
    "out of order": ("out of order", seen(*BEGUN, heard(2), heard(1, id="2000-1"))),
    "id back": ("id back", seen(*BEGUN, Placed(1.5, "1500-0"), Placed(1.6, "1400-0"), events=[])),
    "id back at an event": ("id back", seen(opened(0.5), Placed(0.5, "1700-0"), heard(2, id="1600-0"))),
    "never told where it is": ("no place", seen(opened(0.5), heard(4, id=""), events=[published(4)])),
    "the tag changes unsaid": (
        "other tag",
        seen(opened(0.5), Placed(0.5, "500-0.aa"), Placed(1, "600-0.bb")),
    ),
    "the tag changes with another reason": (
        "other tag",
        seen(
            opened(0.5),
            Placed(0.5, "500-0.aa"),
            reset(70, "expired"),
            Placed(70, "70000-0.bb"),
            events=[],
        ),
    ),
    "epoch, and nothing was lost": ("needless reset", seen(*BEGUN, reset(3), incidents=[HARMLESS])),
    "epoch for a place long after the loss": (
        "needless reset",
        seen(opened(20), Placed(20, "20000-0"), reset(21), incidents=[LOST]),
    ),
    "epoch before the loss": ("needless reset", seen(*BEGUN, reset(1), incidents=[LOST])),
    "unknown-id": ("needless reset", seen(*BEGUN, reset(1, "unknown-id"))),
    "gap": ("needless reset", seen(*BEGUN, reset(1, "gap"))),
    "trimmed, and all of it is kept": ("needless reset", seen(*BEGUN, reset(5, "trimmed"))),
    "expired, and it was away shortly": ("needless reset", seen(*BEGUN, reset(5, "expired"))),
    "a channel that nobody asked for": (
        "foreign event",
        seen(*BEGUN, heard(1, channel="d"), events=[published(1, channel="d")]),
    ),
    "a reset of another channel": ("foreign reset", seen(*BEGUN, reset(2, channel="d"), incidents=[LOST])),
    "an event that was not published": ("unknown event", seen(*BEGUN, heard(9, id="900-1"), events=[])),
    "an event that is not out, by the publisher's word": (
        "lie",
        seen(*BEGUN, heard(1), heard(2), events=[1, published(2, state=NEVER)]),
    ),
    "an event for everybody else": (
        "for others",
        seen(*BEGUN, heard(1), heard(2), events=[1, published(2, except_user="a")]),
    ),
    "both attempts with one key came": (
        "published twice",
        seen(
            *BEGUN,
            heard(1),
            heard(1, attempt=2, id="1500-1"),
            events=[published(1, attempts=2, deduped=True)],
            incidents=[HARMLESS],
        ),
    ),
    "a publisher's ids go back": ("published backwards", seen(events=[published(1), published(2, ms=900)])),
    "a publisher waits for ever": ("hanging publish", seen(events=[published(1, longest=9.0, allowed=5.0)])),
    "an unknown event of the edge": ("odd", seen(*BEGUN, Odd(1, "an event named edge-surprise"))),
}


@pytest.mark.parametrize(("kind", "record"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_a_promise(kind, record):
    """The verdict finds each kind of violation, and calls it so."""
    assert kinds(record) == [kind]


def test_several_orders_of_events():
    """With partitions an event may come again on another connection, and not on the same."""
    cut = Closed(2.6, "cut")
    again = seen(
        *BEGUN,
        heard(1, id="800-1"),
        heard(2, id="800-1"),
        cut,
        opened(3, "800-1"),
        heard(1, id="800-1"),
        heard(2),
    )
    assert kinds(again, THREE) == []
    assert judge(again, THREE).repeated == 2
    assert kinds(seen(*BEGUN, heard(1), heard(1)), THREE) == ["twice"]
    assert kinds(seen(*BEGUN, heard(1, id="800-1"), heard(3)), THREE) == ["lost"]
    # Published after its place and before it was told so: in another partition it began after that.
    assert kinds(seen(opened(1.5), Placed(2.2, "1500-0"), heard(3)), THREE) == []
    assert kinds(seen(opened(1.5), Placed(2.2, "1500-0"), heard(3)), ONE) == ["lost"]


def test_a_place_from_before_all_partitions_had_begun():
    """A place older than the campaign may be older than one partition's data, which then says so."""
    early = (opened(0.1), Placed(0.1, "300-0"))
    record = seen(*early, reset(0.5), events=[])
    record.wall = 400.0
    assert kinds(record, THREE) == []
    assert kinds(record, ONE) == ["needless reset"]
    record.wall = 200.0
    assert kinds(record, THREE) == ["needless reset"]


def test_the_tags_of_several_orders_of_events():
    """Where a tag is made of several, only those of a client's own channels are to change with a reset."""
    channel = next(name for name in map(str, range(100)) if crc32(name.encode()) % 3 == 1)

    def moved(tag):
        begun = (opened(0.5, channels=(channel,)), Placed(0.5, "500-0.aabbcc"))
        return kinds(seen(*begun, Placed(1, f"600-0.{tag}"), events=[]), THREE)

    assert moved("xxbbxx") == []
    assert moved("aaxxcc") == ["other tag"]
    assert moved("aabb") == ["other tag"]


def test_a_reset_of_a_stream_that_was_opened_blindly():
    """A stream without a place may be told of a gap where the edge was set to open it all the same."""
    record = seen(opened(0.5), Reset(2.5, "", "c", "gap"), Placed(2.5, "2500-0"), heard(3))
    assert kinds(record, ONE) == ["needless reset"]
    assert kinds(record, ONE._replace(accepts_blindly=True)) == []


# Those who see a job from the beginning to the end


def steps(at, *numbers, end="", id="9-1"):
    """An event of a job, with these numbers."""
    return Said(at, id, numbers, end)


def watched(*journal, incidents=()):
    """A record of one watcher."""
    record = Record(wall=0.0, incidents=list(incidents))
    record.watcher("a").extend(journal)
    return record


ALL = (opened(1), steps(1, 0), steps(2, 1, 2), steps(3, 3, end="end"))
SEEN = {
    "all in order, and told so": watched(*ALL, Closed(3, "finished"), Over(4)),
    "cut off, and come back": watched(*ALL[:3], Closed(2, "cut"), opened(2.5, "2-1"), ALL[3], Over(4)),
    "cut off before it had a place": watched(opened(1), Closed(1, "cut"), *ALL, Over(4)),
    "a text": watched(opened(1), steps(1, 0, 1), steps(2, 2, 3), steps(3, 4, end="complete"), Over(4)),
    "a text that was given up": watched(opened(1), steps(1, 0, 1), steps(2, end="abandoned"), Over(4)),
    "an end that does not know how many there were": watched(opened(1), steps(1, 0), steps(2, -1, end="end")),
    "a hole where data was lost": watched(opened(1), steps(1, 0), steps(2, 2), incidents=[LOST]),
}


@pytest.mark.parametrize("record", SEEN.values(), ids=SEEN)
def test_what_a_watcher_may_see(record):
    """Nothing is wrong with a job that is seen to its end."""
    assert judge_watchers(record, ONE) == []


UNSEEN = {
    "the beginning": ("lost", watched(opened(1), steps(1, 1))),
    "something in between": ("lost", watched(opened(1), steps(1, 0), steps(2, 2))),
    "something when it came back": ("lost", watched(*ALL[:2], opened(2, "1-1"), steps(2, 2))),
    "what came before the end": ("lost", watched(opened(1), steps(1, 0), steps(2, 2, end="complete"))),
    "204, and it had nothing": ("told over", watched(opened(1), Closed(1, "cut"), Over(2))),
    "204, and it is owed the end": ("told over", watched(*ALL[:3], Over(2))),
    "finished, and it is owed the end": ("told over", watched(*ALL[:3], Closed(2, "finished"))),
    "the same again": ("twice", watched(*ALL[:2], steps(2, 0))),
    "the same again when it came back": ("twice", watched(*ALL[:2], opened(2, "1-1"), steps(2, 0))),
    "more after the end": ("after the end", watched(*ALL, steps(4, 3))),
    "a reset": ("needless reset", watched(*ALL[:2], reset(2), incidents=[HARMLESS])),
}


@pytest.mark.parametrize(("kind", "record"), UNSEEN.values(), ids=UNSEEN)
def test_what_a_watcher_must_not_see(kind, record):
    """Each kind of violation is found, and called so."""
    assert [violation.kind for violation in judge_watchers(record, ONE)] == [kind]


def test_a_watcher_of_several_orders_of_events():
    """What it has heard may come again when it comes back, and not otherwise."""
    again = (*ALL[:2], Closed(1, "cut"), opened(2, "1-1"), steps(2, 0, 1))
    assert judge_watchers(watched(*again), THREE) == []
    ended = (*ALL, Closed(3, "finished"), opened(4, "1-1"), steps(4, 1, 2), steps(4, 3, end="end"), Over(5))
    assert judge_watchers(watched(*ended), THREE) == []
    assert [each.kind for each in judge_watchers(watched(*ended), ONE)] == [
        "after the end",
        "twice",
        "after the end",
    ]
    assert [each.kind for each in judge_watchers(watched(*ALL[:2], steps(2, 0)), THREE)] == ["twice"]


def test_others_are_never_told_that_it_is_over():
    """Of channels that nobody finishes."""
    assert kinds(seen(*BEGUN, heard(1), Over(2))) == ["told over"]


# The plan


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_plan_is_its_seed(layout):
    """A seed gives the same plan again, another seed another one, and a longer plan begins the same."""
    plan = make_plan(7, layout, 60)
    assert plan == make_plan(7, layout, 60)
    assert plan.faults != make_plan(8, layout, 60).faults
    longer = make_plan(7, layout, 120)
    for lane in {fault.lane for fault in plan.faults}:
        mine = [fault for fault in plan.faults if fault.lane == lane]
        assert mine == [fault for fault in longer.faults if fault.lane == lane][: len(mine)]
    assert plan.chance("x", 1).random() == longer.chance("x", 1).random()
    assert len(plan.roles) == CLIENTS
    assert len(plan.desks) == PUBLISHERS


def test_faults_of_a_lane_come_one_after_the_other():
    """Two faults never befall the same thing at once, and all are over in time."""
    for seed in range(20):
        plan = make_plan(seed, "single", 60)
        for lane in ("redis", "workers", "lines"):
            faults = [fault for fault in plan.faults if fault.lane == lane]
            assert len(faults) > 5
            ends = [0.0, *(fault.at + fault.seconds for fault in faults)]
            assert all(end < fault.at for end, fault in zip(ends, faults, strict=False))
            assert ends[-1] <= 60.1


def test_every_kind_of_fault_has_its_turn():
    """Within twenty seeds of a minute everything that can befall a layout does; some lose no data."""
    for layout in LAYOUTS:
        plans = [make_plan(seed, layout, 60) for seed in range(20)]
        planned = {fault.kind for plan in plans for fault in plan.faults}
        for lane, deck in DECKS[layout].items():
            assert planned >= set(deck), lane
    for plan in (make_plan(seed, "single", 60) for seed in range(20)):
        assert plan.settings.loses or not any(fault.loses(plan.settings.durable) for fault in plan.faults)
    kinds = {
        fault.kind for layout in LAYOUTS for seed in range(20) for fault in make_plan(seed, layout, 60).faults
    }
    assert kinds == set(KINDS)


def test_an_unknown_layout():
    """A plan for a layout that is none is refused."""
    with pytest.raises(ValueError, match="no such layout: ring; there are single"):
        make_plan(1, "ring", 60)


# The report


def test_a_failure_says_how_to_play_it_again():
    """Who, which channel, what was expected, the faults around it, and the command."""
    plan = make_plan(7, "partitions", 120)
    record = seen(*BEGUN, heard(1), heard(3), incidents=[HARMLESS, Incident("line cut", "of w1", 40, 41)])
    outcome = Outcome(plan, record, judge(record, ONE), {}, {200: 1}, 0.0)
    assert line(outcome).startswith(
        "partitions seed 7: FAILED (1 lost); 4 published, 2 delivered, 0 resumes; resets: none; "
        "2 faults: 1 line cut, 1 worker killed; answers: 1 200"
    )
    told = details(outcome)
    assert "lost at 2.00 s: a, channel c: 1 lost without a reset: p#2 (2000-1" in told
    assert "heard p#1 before, p#3 after" in told
    assert "1.50 to 2.50 s  worker killed w0" in told
    assert "line cut" not in told
    assert "To play it again: make chaos SEED=7 MINUTES=2 LAYOUT=partitions" in told


# Short campaigns


@pytest.mark.live
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("seed", "layout"), [pytest.param(4, "single", marks=pytest.mark.heavy), (2, "partitions")]
)
async def test_a_short_campaign(seed, layout):
    """Faults by chance for some seconds: all promises are kept."""
    outcome = await play(make_plan(seed, layout, 20))
    print(line(outcome))
    if not outcome.verdict.ok:
        pytest.fail(f"{line(outcome)}\n{details(outcome)}", pytrace=False)
    assert outcome.verdict.published > 200
    assert outcome.verdict.delivered > 1000
    assert len(outcome.record.incidents) > 8
