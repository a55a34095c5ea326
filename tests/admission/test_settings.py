import re

import pytest

from sse_edge.admission.settings import flag, matching, one_of, strings, whole
from sse_edge.errors import ConfigError


@pytest.mark.parametrize("value", [[], ["a", "b"], ("a",), {"a"}, frozenset({"a"})])
def test_strings(value):
    """A collection of strings is taken as it is."""
    assert strings("field", value) == tuple(value)


@pytest.mark.parametrize("value", ["https://a", b"a", None, 1, {"a": 1}, ["a", 1], [b"a"], [None]])
def test_strings_refuses(value):
    """A bare string and lists of other things are refused by the field's name."""
    with pytest.raises(ConfigError, match=r"^field: must be a list of strings"):
        strings("field", value)


@pytest.mark.parametrize(("value", "most"), [(1, None), (10**9, None), (128, 128)])
def test_whole(value, most):
    """A positive whole number up to the bound is taken."""
    assert whole("field", value, most) == value


@pytest.mark.parametrize(
    ("value", "most"), [(0, None), (-1, None), (True, None), (1.0, None), ("1", None), (9, 8)]
)
def test_whole_refuses(value, most):
    """Zero, booleans, floats, text and what is above the bound are refused."""
    with pytest.raises(ConfigError, match=r"^field: must be a positive whole number"):
        whole("field", value, most)


@pytest.mark.parametrize("value", ["", "ab1", "ab\n", b"ab", None])
def test_matching_refuses(value):
    """Text that the pattern does not match as a whole is refused, with the reason given."""
    with pytest.raises(ConfigError, match=r"^field: because"):
        matching("field", value, re.compile("[a-z]+"), "because")


def test_matching():
    """Text that the pattern matches is returned."""
    assert matching("field", "ab", re.compile("[a-z]+"), "because") == "ab"


@pytest.mark.parametrize("value", [0, 1, None, "True", [], "yes"])
def test_flag_refuses(value):
    """Only True and False are taken for a switch."""
    assert flag("field", True)
    assert not flag("field", False)
    with pytest.raises(ConfigError, match=r"^field: must be True or False"):
        flag("field", value)


@pytest.mark.parametrize(
    ("words", "why"), [(("a", "b"), 'must be "a" or "b"'), (("a", "b", "c"), 'must be "a", "b" or "c"')]
)
def test_one_of_refuses(words, why):
    """What is none of the words is refused, and they are named."""
    for word in words:
        one_of("field", word, *words)
    for value in ("A", "", None, True, ["a"]):
        with pytest.raises(ConfigError, match=rf"^field: {why} \(got "):
            one_of("field", value, *words)
