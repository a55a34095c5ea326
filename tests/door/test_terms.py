import pytest

from sse_edge.errors import ConfigError
from sse_edge.terms import Terms


@pytest.mark.parametrize(
    ("refusals", "accepted", "as_stream"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("stream", True, True),
        ("stream", False, True),
        ("status", True, False),
        ("status", False, False),
    ],
)
def test_how_a_refusal_is_said(refusals, accepted, as_stream):
    """As a stream or a status, as the setting says, and by itself as the client accepts."""
    assert Terms(refusals=refusals).says_as_stream(accepted=accepted) is as_stream


def test_while_the_backend_is_away():
    """Streams are refused, unless they are to be accepted."""
    assert not Terms().accepts_blindly
    assert Terms(on_backend_down="accept").accepts_blindly


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("refusals", "no"),
        ("refusals", None),
        ("on_backend_down", "wait"),
        ("on_backend_down", True),
        ("query_cursor", 1),
        ("joins", None),
    ],
)
def test_terms_that_are_none(field, value):
    """A setting that is none of those there are is refused, naming it and showing the value."""
    with pytest.raises(ConfigError) as caught:
        Terms(**{field: value})
    assert caught.value.field == field
    assert repr(value) in str(caught.value)
