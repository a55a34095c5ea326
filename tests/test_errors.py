import pytest

from sse_edge.errors import BackendError, ConfigError, EdgeError, EventError, FieldError, PublishError


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (FieldError("f", "why"), ValueError),
        (ConfigError("f", "why"), FieldError),
        (EventError("f", "why"), FieldError),
        (PublishError("gone", may_have_happened=True), EdgeError),
        (BackendError("gone"), EdgeError),
    ],
)
def test_family(error, base):
    """Everything has one root, and a refused value is a ValueError too."""
    assert isinstance(error, base)
    assert isinstance(error, EdgeError)


def test_field_error_says_field_reason_and_value():
    """A refused value is told with the name of its argument."""
    error = ConfigError("max_age", "must be positive", -1)
    assert str(error) == "max_age: must be positive (got -1)"
    assert (error.field, error.value) == ("max_age", -1)


def test_secret_is_never_repeated():
    """A secret is neither in the message nor on the exception."""
    error = ConfigError("secret", "is too short", "hunter2", secret=True)
    assert str(error) == "secret: is too short"
    assert "hunter2" not in repr(vars(error))


def test_long_value_is_cut():
    """A huge value does not make a huge message, but stays on the exception."""
    error = FieldError("data", "no", "x" * 10_000)
    assert len(str(error)) < 150
    assert error.value == "x" * 10_000


@pytest.mark.parametrize("may", [True, False])
def test_publish_error_says_if_it_may_have_happened(may):
    """A publisher learns whether the event may be out."""
    error = PublishError("connection lost", may_have_happened=may)
    assert error.may_have_happened is may
    assert str(error) == "connection lost"
