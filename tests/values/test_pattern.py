import time

import pytest

from sse_edge import Anonymous, ConfigError, Identity, SignedCookie, literal
from sse_edge.backends.retention import Retention, kept
from sse_edge.errors import FieldError
from sse_edge.pattern import covers, escaped, matches, may_meet, well_formed


@pytest.mark.parametrize(
    ("pattern", "channel", "yes"),
    [
        (r"room:\*", "room:*", True),
        (r"room:\*", "room:x", False),
        (r"room:\*", r"room:\*", False),
        (r"room:\\", "room:\\", True),
        (r"room:\\", r"room:\\", False),
        (r"room:\\*", r"room:\x", True),
        (r"room:\\*", "room:x", False),
        (r"room:\\\*", r"room:\*", True),
        (r"*\**", "a*b", True),
        (r"*\**", "ab", False),
        (r"\*", "*", True),
        (r"\*", "", False),
        (r"a\*b*c", "a*b-c", True),
        (r"a\*b*c", "a-b-c", False),
        ("order:*", "order:1:private", True),
    ],
)
def test_escapes(pattern, channel, yes):
    """A backslash before a star or a backslash means that character; a star crosses separators."""
    assert matches(pattern, channel) is yes


@pytest.mark.parametrize("pattern", ["\\", "a\\", r"a\b", r"\\\ ", r"\:*", "*\\", "\\\n"])
def test_escapes_that_are_none(pattern):
    """A backslash before anything else is refused where a pattern is said, and covers nothing elsewhere."""
    assert not well_formed(pattern)
    for channel in (pattern, pattern.replace("\\", ""), "a", "\0"):
        assert not matches(pattern, channel)
    why = r"sse_edge\.literal\(\)" if pattern.isprintable() else "without control characters"
    with pytest.raises(FieldError, match=f"channels: .*{why}"):
        SignedCookie("of the tests, and long enough").issue("u", [pattern])
    with pytest.raises(ConfigError, match=f"channels: .*{why}"):
        Anonymous([pattern])
    with pytest.raises(ConfigError, match=r"retention: .*sse_edge\.literal\(\)"):
        kept(None, None, {pattern: Retention(1, 1)})


NASTY = ["*", "**", "\\", "\\*", r"\\*", "a*", "*a", r"a\b", "[ab]", "?", "é😀", " ", "{user}", "%2A"]


@pytest.mark.parametrize("value", NASTY)
def test_literal(value):
    """With literal() a pattern covers the channel that has the value, and no other one."""
    identity = Identity("u", (f"room:{literal(value)}:*",))
    assert identity.may_read(f"room:{value}:1")
    for other in [*NASTY, "", "secret", f"{value}x", f"x{value}"]:
        assert identity.may_read(f"room:{other}:1") is (other == value)


@pytest.mark.parametrize(
    ("pattern", "other", "covered", "met"),
    [
        ("a", "a", True, True),
        ("a", "b", False, False),
        ("*", "a", True, True),
        ("a", "*", False, True),
        ("*", "*", True, True),
        ("order:*", "order:*", True, True),
        ("order:*", "order:*:log", True, True),
        ("order:*:log", "order:*", False, True),
        ("*:log", "order:*", False, True),
        ("*:log", "order:*:log", True, True),
        ("order:*", "task:*", False, False),
        ("*:log", "*:state", False, False),
        ("order:1", "order:*", False, True),
        ("order:1", "task:*", False, False),
        ("task:*", "order:1", False, False),
        (r"a\*b", r"a\*b", True, True),
        (r"a\*b", "a*b", False, True),
        ("a*b", r"a\*b", True, True),
        (r"a\*b", "axb", False, False),
        ("a*c*e", "ab*de", False, True),
    ],
)
def test_two_patterns(pattern, other, covered, met):
    """One covers all that another covers, or may cover some of it."""
    assert covers(pattern, other) is covered
    assert may_meet(pattern, other) is met
    assert may_meet(other, pattern) is met


@pytest.mark.parametrize("text", NASTY)
def test_escaped(text):
    """The pattern of a text covers it, and no other."""
    assert [other for other in NASTY if matches(escaped(text), other)] == [text]


@pytest.mark.parametrize("value", ["", ":", "a:b", "a\n", "\0", "\x7f", "\ud800", None, 7, b"a"])
def test_literal_refuses(value):
    """What cannot be a value in a channel's name is none in a pattern."""
    with pytest.raises(FieldError, match="value"):
        literal(value)


@pytest.mark.parametrize(
    "pattern", [r"\*a" * 85, "*a" * 128, r"\\*" * 85, r"*\*" * 85, "\\" * 256, "\\" * 255]
)
def test_hostile_patterns_cost_little(pattern):
    """A pattern of many stars and backslashes is matched in a blink."""
    began = time.perf_counter()
    for _ in range(100):
        matches(pattern, "a*\\" * 85)
    assert time.perf_counter() - began < 1
