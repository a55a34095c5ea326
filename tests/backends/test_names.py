"""What is called how in Redis: no two things of any two applications are called alike."""

import itertools

import pytest

from sse_edge.backends.base import CONTROL
from sse_edge.backends.redis.names import Names, stem


@pytest.mark.parametrize(
    ("prefix", "db", "part", "expected"),
    [
        ("sse:", 0, None, "sse"),
        ("sse", 0, None, "sse%"),
        ("sse::", 0, None, "sse%3A"),
        ("sse:staging:", 0, None, "sse%3Astaging"),
        ("sse:staging", 0, None, "sse%3Astaging%"),
        (":", 0, None, ""),
        ("::", 0, None, "%3A"),
        ("sse:", 1, None, "sse@1"),
        ("sse", 1, None, "sse%@1"),
        ("sse@1:", 0, None, "sse%401"),
        ("sse@1:", 1, None, "sse%401@1"),
        ("sse%:", 0, None, "sse%25"),
        ("sse%3A:", 0, None, "sse%253A"),
        ("sse:", 0, "3", "sse:{3}"),
        ("sse:", 2, "leases", "sse@2:{leases}"),
        ("sse", 0, "rate", "sse%:{rate}"),
        ("my app_1.x-y~/z:", 0, None, "my app_1.x-y~/z"),
        ("a!\"#$&'()*+,;<=>?[\\]^`|z:", 0, None, "a!\"#$&'()*+,;<=>?[\\]^`|z"),
        ("é:", 0, None, "%C3%A9"),
        ("%C3%A9:", 0, None, "%25C3%25A9"),
    ],
)
def test_stem(prefix, db, part, expected):
    """A plain prefix is its own stem; what would make two alike is written as in a URL."""
    assert stem(prefix, db, part) == expected


def test_names():
    """The names of the default prefix, which plain PUBLISH and permissions are written with."""
    names = Names("sse")
    assert names.clock == "sse:clock"
    assert names.revoked == "sse:revoked"
    assert names.since == "sse:since"
    assert names.lives == "sse:lives"
    assert names.stream("news") == "sse:history:news"
    assert names.dedupe("news", "k") == "sse:dedupe:news\x01k"
    assert names.announce("news") == "sse:news"
    assert names.worker("ab12") == "sse:\x01ab12"


PREFIXES = (
    "a:",
    "a",
    "a::",
    "a:b:",
    "a:b",
    "a%:",
    "a%",
    "a%3A:",
    "a%3A",
    "a%3Ab:",
    "a@1:",
    "a@1",
    "a%401:",
    "a%@1:",
    "a@:",
    "a:history:",
    "a:clock:",
    ":",
    "::",
    "%",
    "%:",
    "@1:",
    "history:",
    "é:",
    "É:",
    "%C3%A9:",
)
CHANNELS = (
    "a",
    "b:a",
    ":a",
    "a:",
    "clock",
    "revoked",
    "since",
    "lives",
    "history:a",
    "dedupe:a",
    "history",
    "staging:news",
    "@1",
    "{0}",
    "{0}:a",
    "%",
    "é",
    "worker",
)
HOMES = list(itertools.product(PREFIXES, (0, 1, 11)))
PLACES = list(itertools.product(PREFIXES, (0, 1, 11), (None, "0", "1", "leases")))
STEMS = {stem(*place): place for place in PLACES}


def test_every_place_has_its_own_stem():
    """No two prefixes, databases and parts share one."""
    assert len(STEMS) == len(PLACES)


def test_two_applications_differ_before_the_first_colon():
    """What belongs to another prefix or database begins otherwise, whatever follows."""
    begins = {stem(prefix, db) for prefix, db in HOMES}
    assert len(begins) == len(HOMES)
    assert not [text for text in begins if ":" in text]
    for text, (prefix, db, _) in STEMS.items():
        assert text.partition(":")[0] == stem(prefix, db)


def test_no_two_keys_are_alike():
    """Whatever prefixes, databases, channels and keys are called, every key is another."""
    keys = [
        key
        for names in map(Names, STEMS)
        for key in (
            names.clock,
            names.revoked,
            names.since,
            names.lives,
            *(names.stream(channel) for channel in CHANNELS),
            *(names.dedupe(channel, key) for channel in CHANNELS for key in ("", "a", ":a", "\x01a")),
        )
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("parts", [(None,), ("0", "1")])
def test_no_two_announcements_are_alike(parts):
    """Nobody hears a channel of another prefix, database or part, nor a worker's own."""
    wires = [
        wire
        for names in (Names(stem(prefix, db, part)) for prefix, db in HOMES for part in parts)
        for wire in (
            *(names.announce(channel) for channel in (*CHANNELS, CONTROL)),
            *(names.worker(worker) for worker in ("0", "ab12")),
        )
    ]
    assert len(set(wires)) == len(wires)
