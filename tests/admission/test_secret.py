import secrets

import pytest

from sse_edge import ConfigError, SignedCookie
from sse_edge.admission.secret import checked, weakness

WEAK = [
    "s",
    "dev",
    "key",
    "secret",
    "changeme",
    "x" * 15,
    "x" * 16,
    "x" * 64,
    "ab" * 20,
    "secret" * 3,
    "deadbeef" * 4,
    "0123456789abcdef",
    "1234567890123456",
    "abcdefghijklmnopqrstuvwxyz",
    "django-insecure-#f8k)2m!p0c_q9x7w3z5v1n6b4",
    "a long random secret",
    "only for trying it out",
    "your-secret-key-here",
    "your-256-bit-secret",
    "a-string-secret-at-least-256-bits-long",
    "change-me-in-production",
    "CHANGE_ME_TO_A_COMPLEX_RANDOM_SECRET",
    "YOUR_OWN_RANDOM_GENERATED_SECRET_KEY",
    "__TODO:_GENERATE_YOUR_OWN_RANDOM_VALUE_HERE__",
    "thisISaSECRET_1234",
    "dev-secret-key-2026!",
    "Super Secret Password",
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "A0Zr98j/3yX R~XHH!jmN]LWX/,?RT",
    b'_5#y2L"F4Q8z\n\xec]/',
    "61oETzKXQAGaYdkL5gEmGeJJFuYh7EQnp2XdTP1o/Vo=",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
]


@pytest.mark.parametrize("secret", WEAK)
def test_weak_secrets(secret):
    """A secret that is short, regular or in everybody's list is refused unless said aloud, never shown."""
    for given in (secret, [secret], ["a secret of the tests", secret], [secret, "a secret of the tests"]):
        with pytest.raises(ConfigError) as caught:
            SignedCookie(given)
        assert (caught.value.field, caught.value.value) == ("secret", None)
        assert str(secret) not in str(caught.value) or str(secret) in ("s", "key", "secret")  # words of ours
        auth = SignedCookie(given, weak_secret=True)
        assert auth.issue("u42")


@pytest.mark.parametrize(
    ("secrets_", "message"),
    [
        ("hunter2", "secret: has fewer than 16 bytes"),
        (["hunter2"], "secret: has fewer than 16 bytes"),
        (["hunter2", "a secret of the tests"], "secret: number 1 of 2 (oldest first) has fewer than"),
        (["a secret of the tests", b"x" * 16], "secret: number 2 of 2 (oldest first) is a sequence"),
        (["a secret of the tests", " ", "b"], "secret: number 2 of 3 (oldest first) must be non-empty"),
        (["a secret of the tests", 5], "secret: number 2 of 2 (oldest first) must be non-empty text or"),
        ([""], "secret: must be non-empty text or bytes"),
    ],
    ids=repr,
)
def test_which_of_a_list(secrets_, message):
    """Of several secrets the one that is wrong is named by its place, and no word of it is said."""
    with pytest.raises(ConfigError) as caught:
        SignedCookie(secrets_)
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "secret",
    [
        "a secret of the tests",
        "correct horse battery staple",
        "0b2c5d0e8a7f4b1c",
        "Zm9vYmFyYmF6cXV4MTIzNA",
        b"\x00\x01\xff\xfe\x80\x7f\x10\x20\x30\x41\x52\x63\x74\x85\x96\xa7",
        "пароль, который никто не знает",
    ],
)
def test_good_secrets(secret):
    """Anything else of 16 bytes passes."""
    assert SignedCookie(secret).issue("u42")


def test_no_secret_by_chance():
    """What a generator makes is never taken for a weak one."""
    for _ in range(2000):
        for made in (
            secrets.token_bytes(16),
            secrets.token_hex(16).encode(),
            secrets.token_urlsafe(16).encode(),
        ):
            assert weakness(made) is None, made


def test_a_long_secret_costs_little():
    """No secret makes the check try every way to read it."""
    for secret in ("secretsecret" * 10_000 + "!q", "a" * 100_000 + "q", "changemechangeit" * 5000 + "zq"):
        weakness(secret.encode())


@pytest.mark.parametrize(
    "secret", [["hunter2", ""], ["hunter2", None], {"hunter2": 1}, 5, None, [], "", b" "]
)
def test_what_is_no_secret(secret):
    """What is no secret is none with weak_secret either, and is not shown."""
    for weak in (True, False):
        with pytest.raises(ConfigError) as caught:
            checked(secret, weak=weak)
        assert caught.value.value is None
        assert "hunter2" not in str(caught.value)
