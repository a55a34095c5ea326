"""How much of each channel is kept: what may be said, what holds, and how it is written down."""

import json

import pytest

from sse_edge import ConfigError, MemoryBackend, RedisBackend, Retention
from sse_edge.backends.retention import DEFAULT, Kept, kept


@pytest.mark.parametrize(
    ("history", "history_ttl", "retention", "expected"),
    [
        (None, None, None, Kept(Retention(100, 300.0))),
        (None, None, {}, Kept(Retention(100, 300.0))),
        (5, None, None, Kept(Retention(5, 300.0))),
        (None, 60, None, Kept(Retention(100, 60))),
        (0, 0.5, None, Kept(Retention(0, 0.5))),
        (5, 60, {"a": Retention(1, 2)}, Kept(Retention(5, 60), (("a", Retention(1, 2)),))),
        (
            None,
            None,
            {"b:*": Retention(9, 1.5), "a": Retention(1, 2)},
            Kept(Retention(100, 300.0), (("b:*", Retention(9, 1.5)), ("a", Retention(1, 2)))),
        ),
    ],
)
def test_kept(history, history_ttl, retention, expected):
    """What is not said is the default; patterns stay in the order given."""
    assert kept(history, history_ttl, retention) == expected


BAD = [
    *(("history", {"history": value}) for value in (-1, 1.0, True, "100", float("nan"), [])),
    *(
        ("history_ttl", {"history_ttl": value})
        for value in (0, -1, 0.0, 1e9, float("inf"), float("nan"), True, "300", [])
    ),
    *(("retention", {"retention": value}) for value in (5, "a", [("a", Retention(1, 1))], Retention(1, 1))),
    *(("retention", {"retention": {pattern: Retention(1, 1)}}) for pattern in ("", 5, None, b"a", ("a",))),
    *(("retention['a']", {"retention": {"a": value}}) for value in ((10, 60.0), 10, None, "10", [10, 60])),
    *(
        ("retention['a'].events", {"retention": {"a": Retention(value, 60.0)}})
        for value in (0, -1, 1.0, True, "10", None)
    ),
    *(
        ("retention['a'].seconds", {"retention": {"a": Retention(10, value)}})
        for value in (0, -1, 1e9, float("inf"), float("nan"), True, "60", None)
    ),
    ("retention['b:*'].events", {"retention": {"a": Retention(1, 1), "b:*": Retention(0, 1)}}),
    ("retention", {"history": 0, "retention": {"a": Retention(1, 1)}}),
]


@pytest.mark.parametrize("make", [kept, MemoryBackend, RedisBackend])
@pytest.mark.parametrize(("field", "settings"), BAD)
def test_refused(make, field, settings):
    """What cannot be kept is refused where it is said, naming the setting, by both backends."""
    if make is kept:
        settings = {"history": None, "history_ttl": None, **settings}
    with pytest.raises(ConfigError) as caught:
        make(**settings)
    assert caught.value.field == field


MANY = kept(
    100,
    300.0,
    {
        "task:1": Retention(1, 1.0),
        "task:*": Retention(2, 2.0),
        "*:log": Retention(3, 3.0),
        "a*c*e": Retention(4, 4.0),
    },
)


@pytest.mark.parametrize(
    ("channel", "events"),
    [
        ("task:1", 1),
        ("task:12", 2),
        ("task:", 2),
        ("task:log", 2),
        ("task", 100),
        ("Task:1", 100),
        ("app:log", 3),
        (":log", 3),
        ("app:logs", 100),
        ("ace", 4),
        ("abcde", 4),
        ("aec", 100),
        ("xtask:1", 100),
        ("task:1\n", 2),
        ("", 100),
    ],
)
def test_of_a_channel(channel, events):
    """The first pattern that fits holds, and the default where none does."""
    assert MANY.of(channel).events == events


@pytest.mark.parametrize(
    ("pattern", "events"),
    [
        ("task:1", 1),
        ("task:2", 2),
        ("task:*", 2),
        ("app:log", 3),
        ("*:log", 3),
        ("app:*", 100),
        ("*", 100),
        ("task:*:log", 2),
        ("news", 100),
        ("ace", 4),
    ],
)
def test_depth(pattern, events):
    """The most that is kept of any channel that a pattern covers: of a pattern, no later one holds for it."""
    assert MANY.depth(pattern) == events


def test_depth_of_nothing():
    """Where nothing is numbered nothing is kept."""
    assert kept(0, 1).depth("*") == 0


def test_star_is_the_only_sign():
    """Everything else in a pattern stands for itself."""
    settings = kept(9, 1, {"a.c": Retention(1, 1), "[ab]?": Retention(2, 1), "*": Retention(3, 1)})
    assert [settings.of(name).events for name in ("a.c", "abc", "[ab]?", "a?")] == [1, 3, 2, 3]


@pytest.mark.parametrize(
    ("settings", "numbered", "shortest", "longest"),
    [
        (DEFAULT, True, 300_000, 300_000),
        (kept(100, 0.5), True, 500, 500),
        (kept(100, 1e-9), True, 1, 1),
        (kept(100, 300.0, {"a": Retention(1, 60.0)}), True, 60_000, 300_000),
        (kept(100, 300.0, {"a": Retention(1, 3600)}), True, 300_000, 3_600_000),
        (kept(100, 300.0, {"a": Retention(1, 3600), "b": Retention(1, 2)}), True, 2_000, 3_600_000),
        (kept(0, 300.0), False, 0, 300_000),
    ],
)
def test_times(settings, numbered, shortest, longest):
    """The shortest and the longest time of any channel, and whether there are ids at all."""
    assert settings.numbered is numbered
    assert (settings.shortest_ms, settings.longest_ms) == (shortest, longest)


SETTINGS = [DEFAULT, MANY, kept(0, 0.001), kept(1, 1), kept(7, 1.5, {'"\\\\é😀\n*': Retention(10**9, 1e8)})]


@pytest.mark.parametrize("settings", SETTINGS)
def test_there_and_back(settings):
    """Settings read back as they were written, pattern for pattern."""
    again = Kept.parse(settings.dump())
    assert again == settings
    assert isinstance(again.default, Retention)
    assert all(isinstance(one, Retention) for _, one in again.patterns)
    assert again.version == settings.version


def test_versions_differ_with_the_settings():
    """Every difference makes another version, the order of the patterns too."""
    a, b = Retention(1, 1.0), Retention(2, 2.0)
    different = [
        *SETTINGS,
        kept(100, 301.0),
        kept(101, 300.0),
        kept(100, 300.0, {"a": a}),
        kept(100, 300.0, {"b": a}),
        kept(100, 300.0, {"a": b}),
        kept(100, 300.0, {"a": a, "b": b}),
        kept(100, 300.0, {"b": b, "a": a}),
    ]
    versions = {settings.version for settings in different}
    assert len(versions) == len(different)
    assert all(version.isalnum() and len(version) == 12 for version in versions)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "5",
        "{}",
        "[]",
        "[[100, 300.0]]",
        "[[100, 300.0], [], []]",
        "[[100, 300.0], 5]",
        "[[100, 300.0], {}] ]",
        "[[100], []]",
        "[[], []]",
        '[["100", 300.0], []]',
        '[[100, "300"], []]',
        "[[-1, 300.0], []]",
        "[[100, 0], []]",
        "[[100, NaN], []]",
        "[[100, Infinity], []]",
        '[[100, 300.0], [["a"]]]',
        '[[100, 300.0], [["a", [1]]]]',
        '[[100, 300.0], [["a", [1, 1, 1]]]]',
        '[[100, 300.0], [["a", "12"]]]',
        '[[100, 300.0], [["a", [0, 1]]]]',
        '[[100, 300.0], [["", [1, 1]]]]',
        '[[100, 300.0], [[["a"], [1, 1]]]]',
        '[[100, 300.0], ["ab"]]',
        '[[0, 300.0], [["a", [1, 1]]]]',
        "history=100",
    ],
)
def test_unreadable(text):
    """What ``dump`` cannot have written is no settings."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever reads it may say why
        Kept.parse(text)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (DEFAULT, "history=100, history_ttl=300"),
        (kept(5, 0.5, {"a*": Retention(9, 60.0)}), "history=5, history_ttl=0.5, 'a*': 9 for 60 s"),
    ],
)
def test_said(settings, text):
    """Settings are said as they are given."""
    assert str(settings) == text


def test_the_written_form():
    """It is JSON that other programs can read: the default, then the patterns in their order."""
    assert json.loads(kept(5, 60, {"b": Retention(1, 2), "a": Retention(3, 4)}).dump()) == [
        [5, 60],
        [["b", [1, 2]], ["a", [3, 4]]],
    ]
