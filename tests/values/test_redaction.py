"""What is repeated of what was given: enough to know it again, and nothing secret."""

import time

import pytest

from sse_edge.redaction import LONGEST, is_secret, redacted, without_credentials

SHOWN = [
    ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
    ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ("https://*.example.com", "https://*.example.com"),
    ("memory://name", "memory://name"),
    ("redis://:s3cret@h:1/0", "redis://:***@h:1/0"),
    ("rediss://user:s3cret@h/1", "rediss://user:***@h/1"),
    ("rediss://user:p%40s3cret@h/1?x=1", "rediss://user:***@h/1?***"),
    ("redis://s3cret@h", "redis://***@h"),  # the colon was forgotten
    ("redis://h?password=s3cret&db=1", "redis://h?***"),
    ("redis://h?pass%77ord=s3cret", "redis://h?***"),
    ("redis+sentinel://:s3cret@h:1/s?sentinel_password=s3cret", "redis+sentinel://:***@h:1/s?***"),
    ("unix://user:s3cret@/run/redis.sock?db=0", "unix://user:***@/run/redis.sock?***"),
    ("https://example.com/events/me?token=s3cret", "https://example.com/events/me?***"),
    # Not written as in a URL: what is part of the password is a guess.
    ("redis://:s3/s3cret@h/0", "redis://***"),
    ("redis://:s3?s3cret@h/0", "redis://***"),
    ("redis://:s3#s3cret@h/0", "redis://***"),
    ("redis://:s3@s3cret@h/0", "redis://:***@h/0"),
    ("redis://:a s3cret@h/0", "redis://:***@h/0"),
    ("redis://h?password=a@s3cret", "redis://***"),
    ("redis://h?password=a s3cret", "redis://h?***"),
    # No URL, but meant as one.
    ("redis:/:s3cret@h", "redis:/:***@h"),
    ("//user:s3cret@h/0", "//user:***@h/0"),
    ("user:s3cret@h:6379", "user:***@h:6379"),
    ("redis:user:s3cret@h", "redis:***@h"),
    ("redis%3A%2F%2F:s3cret%40h", "redis:***"),
    ("redis%3a//:s3cret@h", "redis%3a//:***@h"),
    ("redis%253A%252F%252F:s3cret", "redis:***"),
    # In a text.
    ("['redis://:s3cret@h', 'x']", "['redis://:***@h', 'x']"),
    ("['redis://:s3cret@h', 'redis://:s3cret@i']", "['redis://***"),
    ("unexpected extra argument (redis://:s3cret@h)", "unexpected extra argument (redis://:***@h)"),
    ("--secret=s3cret", "--secret=***"),
    ("host=h password = s3cret dbname=x", "host=h password = ***"),
    ('{"password": "s3cret"}', '{"password": ***'),
    ("(weak_secret=True lets it pass)", "(weak_secret=True lets it pass)"),
    ("secret: each must be non-empty text", "secret: each must be non-empty text"),
    ("is it http://a/b there? yes", "is it http://a/b there? yes"),
    (
        "redis://h: ERR in script: 8a32, on @user_script:1.",
        "redis://h: ERR in script: 8a32, on @user_script:1.",
    ),
    ("/events/me", "/events/me"),
    ("2001:db8::1", "2001:db8::1"),
]


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_redacted(text, shown):
    """The scheme, the host and the path stay; a password is gone, however it was written."""
    assert redacted(text) == shown
    assert "s3cret" not in shown


@pytest.mark.parametrize("shown", [shown for _, shown in SHOWN])
def test_what_is_redacted_stays(shown):
    """A message that is made of redacted parts may be redacted as a whole."""
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "begin", ["redis://:", "redis://user:", "redis://h?password=", "user:", "//u:", "redis%3A%2F%2F:"]
)
def test_a_secret_that_has_no_end(begin):
    """What is too long to be looked at as a whole is not repeated from where a secret may begin."""
    shown = redacted(begin + "s3cret" * 1000)
    assert "s3cret" not in shown
    assert shown.endswith("...")


@pytest.mark.parametrize("text", ["a:'", "a.", "://", "a:/", "?a", "%3a", "a@", "password=", "'a:", "=a:x"])
def test_what_is_long_takes_no_time(text):
    """A client may choose what is repeated, and how long it is."""
    for given in (text * 100_000, text * (LONGEST // len(text)), text * 333 + "@"):
        began = time.thread_time()
        redacted(given)
        assert time.thread_time() - began < 0.1


@pytest.mark.parametrize(
    ("field", "secret"),
    [
        ("auth", True),
        ("secret", True),
        ("credentials", True),
        ("sentinel_password", True),
        ("app.token", True),
        ("--cookie", True),
        ("passwd", True),
        ("pwd", True),
        ("PASS", True),
        ("DB_PASSWORD_2", True),
        ("api_key", True),
        ("apikey", True),
        ("X-API-Key", True),
        ("privateKey", True),
        ("session", True),
        ("sessionid", True),
        ("connect.sid", False),
        ("jwt", True),
        ("csrftoken", True),
        ("Set-Cookie", True),
        ("max_tokens", False),
        ("sessions", False),
        ("compass", False),
        ("author", False),
        ("auth.max_age", False),
        ("dedupe_key", False),
        ("ssl_keyfile", False),
        ("name", False),
        ("path", False),
    ],
)
def test_fields_that_hold_secrets(field, secret):
    """By how they end."""
    assert is_secret(field) is secret


@pytest.mark.parametrize(
    "name", ["password", "passwd", "pwd", "api_key", "X-API-Key", "sessionid", "jwt", "private-key", "pass"]
)
def test_what_is_called_a_secret_in_a_text(name):
    """The same names as those of fields."""
    assert is_secret(name)
    assert redacted(f"{name}=s3cret") == f"{name}=***"
    assert redacted(f"{{'{name}': 's3cret'}}") == f"{{'{name}': ***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://u:hunter2@h failed", "redis://u:***@h failed"),
        ("a redis://:hunter2@h:1/0 and b", "a redis://***@h:1/0 and b"),
        ("https://hunter2@h/x?y=z@w", "https://***@h/x?y=z@w"),
        ("postgresql+psycopg://u:p@hunter2@h", "postgresql+psycopg://u:***@h"),
        ("1redis://u:hunter2@h", "1redis://u:***@h"),
        ("a://u:hunter2@h,b://u:hunter2@h", "a://u:***@h,b://u:***@h"),
        ('{"url":"https://h","email":"a@b"}', '{"url":"https://h","email":"a@b"}'),
        ("https://h/@user and me@example.com", "https://h/@user and me@example.com"),
        ("password=x ?a=b " + "x" * 2000, "password=x ?a=b " + "x" * 2000),
    ],
)
def test_credentials_of_urls(text, shown):
    """Alone of a text that is somebody else's, and all else of it stays."""
    assert without_credentials(text) == shown
    assert without_credentials(shown) == shown


@pytest.mark.parametrize("text", ["a", "a://", "a://a:", "a:", ":", "://", "a://x:y"])
def test_a_long_text_takes_no_time_either(text):
    """An application may log what a client sent."""
    for given in ("a://" + text * 100_000, text * 100_000, text * 100_000 + " @"):
        began = time.thread_time()
        without_credentials(given)
        assert time.thread_time() - began < 0.5
