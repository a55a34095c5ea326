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


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("auth", "hunter2", "a value of type str"),
        ("auth", ["old", "hunter2"], "a value of type list"),
        ("credentials", ("u", "hunter2"), "a value of type tuple"),
        ("sentinel_password", b"hunter2", "a value of type bytes"),
        ("origins", "https://user:hunter2@h", "'https://user:***@h'"),
        ("prefix", "redis://:hunter2@h/0", "'redis://:***@h/0'"),
        ("channels", {"/events": "redis://h?password=hunter2"}, "{'/events': 'redis://h?***"),
        ("path", "redis%3A%2F%2F:hunter2%40h", "'redis:***"),
    ],
)
def test_what_may_be_a_secret_is_not_repeated(field, value, said):
    """Neither by the field that should not have held it, nor in a URL that is given for something else."""
    error = ConfigError(field, "is wrong", value)
    assert str(error) == f"{field}: is wrong (got {said})"
    assert "hunter2" not in repr(vars(error))


def test_a_password_is_not_in_what_is_left_of_a_long_value():
    """What tells that it is one may be beyond the end."""
    error = ConfigError("prefix", "is wrong", f"redis://:{'hunter2' * 50}@h")
    assert str(error) == "prefix: is wrong (got 'redis://:***@h')"


@pytest.mark.parametrize("field", ["data", "json", "events"])
def test_an_event_is_not_repeated(field):
    """Whoever logs the exception does not log what was to be published."""
    error = EventError(field, "is wrong", {"card": "4242"})
    assert str(error) == f"{field}: is wrong (got a value of type dict)"
    assert error.value == {"card": "4242"}


def test_long_value_is_cut():
    """A huge value does not make a huge message, but stays on the exception."""
    error = FieldError("channel", "no", "x" * 10_000)
    assert len(str(error)) < 150
    assert error.value == "x" * 10_000


@pytest.mark.parametrize("may", [True, False])
def test_publish_error_says_if_it_may_have_happened(may):
    """A publisher learns whether the event may be out."""
    error = PublishError("connection lost", may_have_happened=may)
    assert error.may_have_happened is may
    assert str(error) == "connection lost"
