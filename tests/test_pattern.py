import time

import pytest

from sse_edge import Anonymous, ConfigError, Identity, SignedCookie, literal
from sse_edge.backends.retention import Retention, kept
from sse_edge.errors import FieldError
from sse_edge.pattern import matches, well_formed


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
