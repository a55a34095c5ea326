"""What an attacker sends, as strategies and tables, and how long the tests look for what it breaks."""

import os
import random
import re

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

from sse_edge.errors import EventError
from sse_edge.event import Event

TIMES = int(os.environ.get("PROPERTIES", "1"))
"""How many times as many examples as ``make test`` looks at: 1 is the same examples every time."""


def looking_at(examples):
    """Settings for a property of which ``make test`` looks at so many examples."""
    short = TIMES == 1
    return settings(
        max_examples=examples * TIMES,
        deadline=None,
        derandomize=short,
        database=None if short else DirectoryBasedExampleDatabase(".hypothesis/examples"),
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


# Text

_BLANKS = ["", " ", "  ", "\t", ":", "::", "-", "*", "/", ".", "%", "{", "}", "\\", '"', "x" * 100]
_CONTROLS = ["\0", "\x0b", "\x0c", "\x1c", "\x1e", "\x7f", "\x85", "\x9b"]
_ENDS = ["\r", "\n", "\r\n", "\n\r", "\r\r", "\n\n", "\u2028", "\u2029", "%0d%0a", "&#10;", "\\n", "\\u000a"]
_LETTERS = ["é", "e\u0301", "ß", "İ", "\u0131", "\u212a", "ﬁ", "\U0001d54f", "한", "ئ", "Ã©", "\xa0", "\xad"]
_SIGNS = [
    "🙂",
    "👩\u200d👩\u200d👧",
    "\U0010ffff",
    "\ufeff",
    "\ufffe",
    "\uffff",
    "\ufffd",
    "\u200b",
    "\u202e",
]
_FIELDS = [
    "data: x",
    "data",
    "id: 9",
    "id:9\n\n",
    "event: open",
    "retry: 1",
    "retry:1\n",
    ": comment",
    "\n: \n",
]
_NAMES = ["null", "0", "-1", "1-1.abcde", "edge-close", "edge-", "error", "open", "message", "__proto__"]
PIECES = _BLANKS + _CONTROLS + _ENDS + _LETTERS + _SIGNS + _FIELDS + _NAMES
"""What is something else to some parser."""

SURROGATES = ["\ud800", "\udfff", "\ud83d", "\ude42\ud83d"]
ANY = st.characters(exclude_categories=())  # lone surrogates too
TEXT = st.lists(st.sampled_from(PIECES + SURROGATES) | st.text(ANY, max_size=4), max_size=6).map("".join)
SENDABLE = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=6).map("".join)
LINES = st.lists(st.sampled_from([piece for piece in PIECES if not re.search("[\r\n\0]", piece)]), max_size=4)
LINE = LINES.map("".join) | TEXT
CHANNEL = st.sampled_from(["news", "order:7", "a b", '"q"\\', "é🙂", "\u2028", "*", "{a}"]) | LINE

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | SENDABLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SENDABLE, inner, max_size=3),
    max_leaves=6,
)

RETRY = (
    st.none() | st.integers(0, 10_000) | st.integers(-(10**30), 10**30) | st.sampled_from([2**31, 10**4400])
)

CUTS = st.lists(st.integers(1, 9), min_size=1, max_size=8) | st.just([1]) | st.just([1 << 20])
"""Sizes of the pieces that some bytes arrive in, over and over."""


def pieces(data, cuts):
    """Some bytes in pieces of these sizes."""
    at, turn = 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def latin(text):
    """Text as a header's value: its bytes, each of them a character."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


HEADER = st.text(st.characters(max_codepoint=255), max_size=40) | LINE.map(latin)


def lines(text):
    """Text as a browser hands it over: it tells no line end from another."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


# Events that a browser has to read

_LONG = 200_000


def nasty_events():
    """A few hundred events that something could be wrong with, always the same, as arguments of ``Event``."""
    cases = [{"data": piece} for piece in PIECES]
    cases += [{"data": f" {piece}a{piece} "} for piece in PIECES]
    cases += [{"data": f"a{end}{end}b{end}id: 9{end}"} for end in ("\r", "\n", "\r\n", "\n\r")]
    cases += [{"data": "named", "event": piece} for piece in PIECES]
    cases += [{"data": "named", "event": f" {piece} : "} for piece in PIECES]
    cases += [{"data": "placed", "id": piece} for piece in PIECES]
    cases += [{"data": "placed", "id": f" {piece}: "} for piece in PIECES]
    cases += [{"data": "🙂" * count} for count in range(1, 20)]
    cases += [{"data": "x" * _LONG}, {"data": "\n" * 5000}, {"data": "🙂\n" * 9000}, {"data": ":" * _LONG}]
    cases += [{"data": "long name", "event": "n" * 60_000}, {"data": "long id", "id": "i" * 60_000}]
    cases += [{"data": "wait", "retry": retry} for retry in (0, 1, 1000, 2**31 - 1)]
    chance = random.Random(7)
    for _ in range(150):
        texts = ["".join(chance.choices(PIECES, k=chance.randint(0, 5))) for _ in range(3)]
        cases.append({"data": texts[0], "event": texts[1], "id": texts[2]})
    return [case for case in cases if _is_accepted(case)]


def _is_accepted(case):
    try:
        Event(**case)
    except EventError:
        return False
    return True
