import time
from datetime import UTC, datetime
from uuid import UUID

import pytest

from sse_edge.errors import FieldError
from sse_edge.identity import Identity


@pytest.mark.parametrize(
    ("pattern", "channel", "yes"),
    [
        ("order:1", "order:1", True),
        ("order:1", "order:10", False),
        ("order:1", "Order:1", False),
        ("order:*", "order:1", True),
        ("order:*", "order:", True),
        ("order:*", "orders:1", False),
        ("*", "anything at\nall", True),
        ("*", "", True),
        ("*:1", "order:1", True),
        ("*:1", "order:11", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*b*b", "ab", False),
        ("ab*ba", "aba", False),
        ("*ab*ba*", "aba", False),
        ("*ab*ba*", "abba", True),
        ("**", "x", True),
        ("order:?", "order:1", False),
        ("order:?", "order:?", True),
        ("[ab]", "a", False),
        ("[ab]*", "[ab]x", True),
        ("", "x", False),
    ],
)
def test_pattern(pattern, channel, yes):
    """In a signed pattern ``*`` stands for any run of characters and nothing else is special."""
    assert Identity("u", (pattern,)).may_read(channel) is yes


def test_any_pattern_is_enough():
    """One of several patterns opens a channel."""
    identity = Identity("u", ("news", "order:*"))
    assert identity.may_read("order:7")
    assert not identity.may_read("chat:7")


def test_no_pattern_opens_nothing():
    """Without signed patterns nothing is readable by pattern."""
    assert not Identity("u").may_read("u")


def test_hostile_pattern_costs_little():
    """A pattern of many stars is matched in a blink."""
    identity = Identity("u", ("*a" * 100 + "b",))
    began = time.perf_counter()
    assert not identity.may_read("a" * 256)
    assert time.perf_counter() - began < 0.05


@pytest.mark.parametrize(
    ("given", "text"), [(42, "42"), (UUID(int=7), str(UUID(int=7))), ("u42", "u42"), (None, None)]
)
def test_a_user_is_text(given, text):
    """Whatever a user or a session is named by, its text is what is counted, ended and logged."""
    identity = Identity(given, session=given)
    assert (identity.user, identity.session) == (text, text)


def test_patterns_may_come_as_a_list():
    """As a cookie, a token or a database has them."""
    assert Identity("u", ["news"]).may_read("news")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", "order:*"),  # one by one its letters would be patterns, and a star opens everything
        ("channels", "*"),
        ("channels", None),
        ("channels", {"order:7": True}),
        ("channels", [None]),
        ("channels", [b"news"]),
        ("channels", iter(["news"])),
        ("expires", "1700000000"),
        ("expires", datetime.now(UTC)),
        ("expires", float("nan")),  # later than nothing, so that it would never come
        ("expires", True),
    ],
)
def test_what_is_no_identity(field, value):
    """What an authenticator mistook for patterns or a time opens nothing: it is refused by name."""
    with pytest.raises(FieldError) as caught:
        Identity("u", **{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Identity("u1", session="a"), Identity("u1", ("x",), session="b", expires=9.0), True),
        (Identity("u1"), Identity("u2"), False),
        (Identity(None, session="a"), Identity(None, session="b"), False),
        (Identity(None), Identity(None), True),
        (Identity("None"), Identity(None), False),
    ],
)
def test_the_mark_is_of_a_user(one, other, same):
    """It is the same for all requests of a user, and names nobody."""
    assert (one.mark == other.mark) is same
    assert one.mark.isascii()
    assert one.user is None or one.user not in one.mark
