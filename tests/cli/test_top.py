"""What ``sse-edge top`` makes of reports: tables in, rows and lines out."""

import json
from dataclasses import replace

import pytest

from sse_edge.backends.reports import Reports
from sse_edge.figures import complete
from sse_edge.status.report import MOST
from sse_edge.top.cells import fitted, shown, width
from sse_edge.top.model import FULL, Note, Picture, Server, filtered, picture, ranked
from sse_edge.top.rates import Pace, between
from sse_edge.top.screen import State, _shares, page, press, screen
from sse_edge.top.table import SECTIONS, number, seconds, size

NOW = 1_764_316_800.0
INFO = {
    "redis_version": "7.0.15", "role": "master", "used_memory": "2900000", "maxmemory": "0",
    "connected_clients": "11", "instantaneous_ops_per_sec": "433", "evicted_keys": "0",
}  # fmt: skip


def report(name="a", host="web-1", pid=7, *, now=None, heard=NOW, settings=None, version="0.1.0", **more):
    """A worker's."""
    figures = {"streams": 3, "connected": True, "ready": True, **more.pop("figures", {})}
    worker = {"name": name, "host": host, "pid": pid, "server": "uvicorn 0.51.0", "version": version}
    worker |= {
        "python": "3.13.1",
        "began": NOW - 600,
        "now": heard if now is None else now,
        "path": "/events",
    }
    return {
        "worker": worker, "settings": settings or {"app": "x"}, "figures": figures, "channels": [],
        "slowest": [], "heard": heard, **more,
    }  # fmt: skip


def slow(user, waits=10.0, **more):
    return {
        "user": user, "address": "192.0.2.1", "path": "/events/me", "channels": ["news"], "unsent": 70_000,
        "waits": waits, **more,
    }  # fmt: skip


def see(*told, silent=0, now=NOW, rates=None, info=INFO, evictions=None, at=NOW, version="0.1.0"):
    """The picture of these reports."""
    servers = [Server("127.0.0.1:6379", info, evictions)]
    return picture(Reports(list(told), silent, now), rates or {}, servers, at=at, version=version)


# ---- Cells


@pytest.mark.parametrize(
    ("given", "expected", "columns"),
    [
        ("u42", "u42", 3),
        ("山田", "山田", 4),
        ("a\x1b[2J\r\n\t\x9b", r"a\x1b[2J\r\n\t\x9b", 18),
        ("e\u0301", "é", 1),
        ("ก็", "ก็", 1),
        ("a\u202eb\u200d", r"a\u202eb\u200d", 14),
        ("❤\ufe0f", r"❤\ufe0f", 7),
        ("\ud800", r"\ud800", 6),
        ("\x7f\xa0", r"\x7f\xa0", 8),
    ],
)
def test_what_others_chose(given, expected, columns):
    """Nothing moves the cursor, and everybody knows how wide it is."""
    assert shown(given) == expected
    assert width(shown(given)) == columns
    assert shown(given, ascii=True).isascii()


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("abc", 5, "abc  "),
        ("abc", 3, "abc"),
        ("abcd", 3, "ab~"),
        ("山田太郎", 6, "山田~ "),
        ("山田", 1, "~"),
        ("a", 0, ""),
    ],
)
def test_exactly_as_wide(text, columns, expected):
    """What is too long is cut, and says so."""
    assert fitted(text, columns).rstrip() == expected.rstrip()
    assert width(fitted(text, columns)) == width(fitted(text, columns, right=True)) == columns


@pytest.mark.parametrize(
    ("say", "value", "expected"),
    [
        (number, 0, "0"), (number, 3.44, "3.4"), (number, 12_345, "12,345"), (number, 12_345.6, "12,346"),
        (number, 12_345_678, "12.3M"), (size, 999, "999 B"), (size, 1234, "1.2 KB"), (size, 2.5e9, "2.5 GB"),
        (size, 654_321, "654 KB"), (seconds, 0.4, "0 s"), (seconds, 119, "119 s"), (seconds, 180, "3 min"),
        (seconds, 7200, "2 h"), (seconds, 86_400 * 5, "5 d"),
    ],
)  # fmt: skip
def test_numbers_are_short(say, value, expected):
    """As short as they can be read."""
    assert say(value) == expected


# ---- Rates


@pytest.mark.parametrize(
    ("seconds", "before", "after", "expected"),
    [
        (5, {"opened": 10}, {"opened": 20}, 2.0),
        (5, {"opened": 20}, {"opened": 10}, 0.0),
        (5, {}, {"opened": 5}, 1.0),
        (0, {"opened": 10}, {"opened": 20}, None),
        (-3, {"opened": 10}, {"opened": 20}, None),
    ],
)
def test_rates(seconds, before, after, expected):
    """By the worker's own clock; never less than 0, and none where that clock has not gone on."""
    rates = between(report(figures=before), report(figures=after, now=NOW + seconds))
    assert rates.get("opened") == expected


def test_a_rate_for_each_value():
    """Of what has a label, also of one that is new."""
    after = report(figures={"refusals": {"origin": 10, "own": 5}}, now=NOW + 5)
    rates = between(report(figures={"refusals": {"origin": 5}}), after)["refusals"]
    assert (rates["origin"], rates["own"], rates["forbidden"]) == (1.0, 1.0, 0.0)


def test_the_pace_of_workers():
    """It stays until there is a newer report; a worker that began anew has none, and no negative one."""
    pace = Pace()
    assert pace.take([report(figures={"opened": 100})]) == {}
    later = report(figures={"opened": 110}, now=NOW + 5)
    assert pace.take([later])["a"]["opened"] == 2.0
    assert pace.take([later])["a"]["opened"] == 2.0
    assert pace.take([report("b", figures={"opened": 3}, now=NOW + 10)]) == {}


# ---- Rows


@pytest.mark.parametrize(
    ("figures", "heard", "expected"),
    [
        ({}, NOW, "ready"),
        ({"ready": False}, NOW, "draining"),
        ({"ready": False, "connected": False}, NOW, "cut off"),
        ({}, NOW - 8.0, "stale"),
    ],
)
def test_the_state_of_a_worker(figures, heard, expected):
    """As it said itself, as long as it says anything."""
    (row,) = see(report(figures=figures, heard=heard)).workers
    assert (row["state"], row["worker"], row["up"]) == (expected, "web-1:7", 600 + heard - NOW)


def test_all_together():
    """Sums over all workers; a rate over those of which it is known."""
    told = [report("a"), report("b", pid=8, figures={"streams": 4, "users": 2}), report("c", pid=9)]
    rates = {"a": {"opened": 1.5, "refusals": {"origin": 1.0, "forbidden": 2.0}}, "b": {"opened": 2.0}}
    totals = see(*told, rates=rates).totals
    assert [totals[key] for key in ("workers", "streams", "users")] == [3, 10, 2]
    assert [totals[key] for key in ("opened", "refused", "ended")] == [3.5, 3.0, None]
    assert totals["states"] == {"ready": 3}


def test_channels_of_all_workers():
    """Their streams together; more than that where a worker did not name all it has."""
    assert FULL == MOST
    full = [[f"c{n}", 50 - n] for n in range(FULL)]
    rows = see(report("a", channels=full), report("b", channels=[["c0", 7], ["x", 1]])).channels
    assert rows[0] == {"channel": "c0", "streams": 57, "more": False}
    assert rows[-1] == {"channel": "x", "streams": 1, "more": True}


def test_outcomes():
    """Refusals and endings that there were, with their rates."""
    told = [report(figures={"refusals": {"origin": 5}, "endings": {"slow": 2}, "dropped": {"foreign": 1}})]
    rows = see(*told, rates={"a": {"refusals": {"origin": 1.0}}}).outcomes
    assert [(row["what"], row["code"], row["rate"], row["total"]) for row in rows] == [
        ("refused", "origin", 1.0, 5), ("ended", "slow", None, 2), ("dropped", "foreign", None, 1),
    ]  # fmt: skip
    assert rows[0]["meaning"] == "this origin may not read streams here"


def test_patterns():
    """What the channels of each route have together, over all workers."""
    told = [report(n, figures={"pattern_streams": {"order:*": 2}}) for n in ("a", "b")]
    rates = {"a": {"pattern_events": {"order:*": 1.5}}, "b": {}}
    assert see(*told, rates=rates).patterns == [{"channel": "order:*", "streams": 4, "events": 1.5}]


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"told": [report(figures={"connected": False})]}, "web-1:7: no events arrive from Redis"),
        (
            {"told": [report(figures={"connected": False, "position_age": 99})]},
            "web-1:7: no events arrive from Redis",
        ),
        ({"told": [report(heard=NOW - 9)]}, "web-1:7: not heard for more than a heartbeat"),
        ({"told": [report(figures={"position_age": 61})]}, "cannot prove that the last 61 s are complete"),
        ({"told": [report(figures={"degraded": ["writes"]})]}, "1 of 1 worker: Redis refuses writes"),
        ({"told": [], "silent": 1}, "1 worker says nothing that this version (0.1.0) can read"),
        ({"told": [report()], "silent": 2}, "2 workers more say nothing that this version (0.1.0) can read"),
        ({"told": [report(), report("b", version="0.2.0")]}, "versions: 0.1.0 (1), 0.2.0 (1); this is 0.1.0"),
        ({"told": [report()], "version": "0.2.0"}, "versions: 0.1.0 (1); this is 0.2.0"),
        ({"told": [report(now=NOW + 3.2)]}, "web-1:7: clock 3.2 s ahead of Redis's"),
        ({"told": [report(now=NOW - 3.2)]}, "web-1:7: clock 3.2 s behind Redis's"),
        ({"told": [], "at": NOW - 5}, "this machine's clock is 5.0 s behind Redis's"),
        ({"told": [report(), report("b", settings={"app": "y"})]}, "/events: not all have the same channels"),
        ({"told": [report(settings={"app": []})]}, None),
        ({"told": [], "info": {**INFO, "role": "slave"}}, "is a replica, which takes no writes"),
        ({"told": [], "evictions": 3.0}, "evicts keys, and history with them"),
        ({"told": [], "info": {**INFO, "maxmemory": "3000000"}}, "is full to 97 %"),
        ({"told": [], "info": {**INFO, "maxmemory": "3200000"}}, None),
        ({"told": [report()]}, None),
        ({"told": [], "info": {}}, None),
    ],
)
def test_what_is_not_as_it_should_be(given, note):
    """Each has a sentence, and what is right has none."""
    made = see(*given.pop("told"), **given)
    assert [note in each.text for each in made.notes] == ([] if note is None else [True])


@pytest.mark.parametrize(
    ("pattern", "workers", "channels", "slowest"),
    [
        ("", 2, 2, 2), ("web-2", 1, 0, 1), ("order:*", 0, 1, 1), ("order", 0, 1, 1), ("u4?", 0, 0, 2),
        ("192.0.2.1", 0, 0, 2), ("*nobody*", 0, 0, 0), ("[", 0, 0, 1),
        ("[2001:db8::", 0, 0, 1), ("[2001*", 0, 0, 1),
    ],
)  # fmt: skip
def test_a_filter(pattern, workers, channels, slowest):
    """A text somewhere, or a pattern for all of it; totals stay as they are."""
    one = report(channels=[["order:7", 2], ["news", 1]], slowest=[slow("u41")])
    two = report("b", host="web-2", slowest=[slow("u42", channels=["order:7"])])
    one["slowest"][0]["path"] = "[2001:db8::1]"
    made = filtered(see(one, two), pattern)
    assert (len(made.workers), len(made.channels), len(made.slowest)) == (workers, channels, slowest)
    assert made.totals["workers"] == 2


def test_ranking():
    """Numbers from the largest, texts from A, and what is not known last."""
    rows = [{"n": 1, "t": "b"}, {"n": None, "t": "a"}, {"n": 3, "t": None}]
    assert [row["n"] for row in ranked(rows, "n")] == [3, 1, None]
    assert [row["t"] for row in ranked(rows, "t")] == ["a", "b", None]


def test_for_programs():
    """All of it is JSON, with names in place of tuples."""
    made = see(report(figures={"connected": False}, slowest=[slow("\ud800")]))
    record = json.loads(json.dumps(made.record()))
    assert record["notes"] == [{"level": "bad", "text": "web-1:7: no events arrive from Redis"}]
    assert record["workers"][0]["opened"] is None
    assert record["slowest"][0]["worker"] == "web-1:7"


# ---- Lines

BUSY = see(
    *(
        report(
            f"w{n}", host="web-7d9f8c6b5-x2x4z", pid=4700 + n, figures={"refusals": {"origin": n + 1}},
            channels=[[f"order:{m}\x1b[2J", m + 1] for m in range(20)],
            slowest=[slow(f"山田{n}" * (1 + 9 * n)), slow(None, path="/events/" + "x" * 200)],
        )
        for n in range(12)
    ),
    silent=3, at=NOW - 9,
)  # fmt: skip
EMPTY = see()
ROOMS = [(80, 24), (160, 50), (20, 12), (40, 3), (3, 2), (1, 1), (300, 9)]


def text(line):
    return "".join(each for each, _ in line)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("made", [BUSY, EMPTY, None])
@pytest.mark.parametrize(
    "state",
    [
        State(),
        State(section=3, sort="user", offset=5),
        State(section=2, offset=1000),
        State(help=True),
        State(typing="\x1b山" * 50, paused=True, filter="x\r"),
        State(away="Redis: Error 111\nconnecting", now=NOW),
    ],
)
def test_a_screen_is_full(room, made, state):
    """Exactly as many lines as the terminal has, each exactly as wide, and nothing that moves its cursor."""
    columns, height = room
    for ascii in (False, True):
        lines = screen(made, state, room, "redis://h/0  sse:", ascii=ascii)
        assert len(lines) == height
        assert {width(text(line)) for line in lines} == {columns}
        assert all(text(line).isprintable() for line in lines)
        assert not ascii or all(text(line).isascii() for line in lines)


def test_what_80_columns_show():
    """The first section whole, and the others as far as there is room."""
    two = [report(figures={"streams": 210}), report("b", pid=8, figures={"ready": False}, heard=NOW - 2)]
    two[0]["figures"]["pattern_streams"] = {"order:*": 213}
    two[0] |= {"channels": [["news", 210]], "slowest": [slow("u42"), slow("u7", 30.0)]}
    lines = [text(line).rstrip() for line in screen(see(*two), State(), (80, 24), "redis://h/0  sse:")]
    assert lines[1:] == [
        "2 workers  1 draining  213 streams  opened -  ended -  refused -  events -",
        "Redis 7.0.15  127.0.0.1:6379  memory 2.9 MB  11 clients  433 ops/s  0 evicted",
        "takes writes  clock +0.0 s",
        "",
        "WORKERS (2)  STATE     STREAMS*  OPENED/s  EVENTS/s  REFUSED/s  ENDED/s      UP",
        "web-1:7      ready          210         -         -          -        -  10 min",
        "web-1:8      draining         3         -         -          -        -  10 min",
        "",
        "CHANNELS (1)  STREAMS*",
        "news               210",
        "",
        "SLOWEST (2)  ADDRESS    FOR*   UNSENT  PATH        CHANNELS  WORKER",
        "u7           192.0.2.1  30 s  70.0 KB  /events/me  news      web-1:7",
        "u42          192.0.2.1  10 s  70.0 KB  /events/me  news      web-1:7",
        "",
        "OUTCOMES (0)",
        "",
        "PATTERNS (1)  STREAMS*  EVENTS/s",
        "order:*            213         -",
        *[""] * 3,
        "q quit  ? help  s sort  / filter  1-5 sections  p pause",
    ]


def test_what_is_wrong_has_its_place():
    """However few lines there are, the first note is there."""
    lines = screen(replace(BUSY, notes=[Note("bad", "Redis")]), State(), (30, 8), "redis://h/0")
    assert ("Redis" + " " * 25, "bad") in [span for line in lines for span in line]


def test_a_page_has_all():
    """For a pipe: every section, and as many rows as are wanted."""
    lines = [text(line) for line in page(BUSY, State(count=5), 100, "redis://h/0  sse:")]
    for section in SECTIONS:
        assert any(line.startswith(section.title) for line in lines)
    assert sum(line.startswith("web-7d9f") for line in lines) == 5


def test_rows_are_moved_through():
    """And not past the last one."""

    def first(offset):
        lines = screen(BUSY, State(section=2, offset=offset), (80, 16), "")
        at = next(n for n, line in enumerate(lines) if text(line).startswith("CHANNELS"))
        return text(lines[at + 1]).split("\\")[0]

    assert [first(0), first(3), first(10_000)] == ["order:19", "order:16", first(20)]


@pytest.mark.parametrize(
    ("needs", "height", "first", "expected"),
    [
        ([4, 4, 4, 4], 20, False, [4, 4, 4, 4]),
        ([20, 3, 20, 3], 20, False, [7, 3, 7, 3]),
        ([20, 3, 20, 3], 20, True, [20, 0, 0, 0]),
        ([5, 20, 20], 15, True, [5, 5, 5]),
        ([9], 4, False, [4]),
    ],
)
def test_room_is_shared(needs, height, first, expected):
    """Who needs little has it, the others the same of what is left."""
    assert _shares(needs, height, first=first) == expected


@pytest.mark.parametrize(
    ("before", "keys", "after"),
    [
        (State(), ["q"], None),
        (State(), ["3"], State(section=3)),
        (State(section=5), ["tab"], State()),
        (State(section=3, filter="x"), ["escape"], State()),
        (State(section=2), ["s"], State(section=2, sort="channel")),
        (State(section=2, sort="channel"), ["s"], State(section=2, sort="streams")),
        (State(offset=4), ["p"], State(offset=4, paused=True)),
        (State(), ["down", "pagedown", "up"], State(offset=10)),
        (State(), ["up"], State()),
        (State(count=5), ["pagedown"], State(count=5, offset=4)),
        (State(), ["?", "x"], State()),
        (State(), ["?", "q"], None),
        (State(), ["/", "q", "ü", "backspace", "tab", "enter"], State(filter="q")),
        (State(filter="old"), ["/", "backspace", "escape"], State(filter="old")),
        (State(), ["x", "\x00", "7"], State()),
    ],
)
def test_keys(before, keys, after):
    """What each does."""
    state = before
    for key in keys:
        state = press(state, key)
    assert state == after


def test_a_picture_of_nothing():
    """There is one even before the first report."""
    assert isinstance(EMPTY, Picture)
    assert EMPTY.totals["streams"] == 0
    assert complete({})["streams"] == 0
