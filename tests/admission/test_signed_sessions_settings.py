"""Sessions in signed cookies: names, secrets and settings."""

import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from starlette.config import Config
from starlette.datastructures import Secret

from apps import issuers
from parts.issued import KINDS, OLD, SECRET, asking, each, identified, once
from sse_edge import AnyOf, ConfigError
from sse_edge.admission.authenticator import is_quick
from sse_edge.asgi import Request
from sse_edge.cookies import DjangoSession, FlaskSession, StarletteSession


@each
def test_names_of_ones_own(kind):
    """The cookie's name is the application's to choose."""
    auth, issue, _, _ = KINDS[kind]
    settings = {
        "starlette": {"session_cookie": "mine"},
        "flask": {"SESSION_COOKIE_NAME": "mine"},
        "quart": {"SESSION_COOKIE_NAME": "mine"},
        "django": {},
    }[kind]
    value = issue({"user_id": "u"}, SECRET, **settings)
    assert auth(SECRET, name="mine").identify(asking(value, name="mine"), time.time()).user == "u"
    assert auth(SECRET, name="mine").identify(asking(value, name="session"), time.time()) is None


@pytest.mark.parametrize("secret", [SECRET, SECRET.encode(), "ünicode of the tests"])
def test_secrets_as_the_framework_takes_them(secret):
    """Text and bytes, as Flask and Django take both."""
    for kind in ("flask", "quart", "django"):
        auth, issue, name, _ = KINDS[kind]
        assert (
            auth(secret).identify(asking(issue({"user_id": "u"}, secret), name=name), time.time()).user == "u"
        )
    if isinstance(secret, str):
        value = issuers.starlette({"user_id": "u"}, secret)
        assert StarletteSession(secret).identify(asking(value), time.time()).user == "u"


def test_flask_login():
    """Its user is under another key."""
    value = issuers.flask_session({"_user_id": "7", "_fresh": True, "_id": "f" * 128}, SECRET)
    assert FlaskSession(SECRET, "_user_id").identify(asking(value), time.time()).user == "7"


def test_beside_one_another():
    """Two frameworks' cookies of the same name and secret are told apart."""
    auth = AnyOf(StarletteSession(SECRET), FlaskSession(SECRET), DjangoSession(SECRET, "user_id"))
    assert is_quick(auth)
    for kind in ("starlette", "flask", "quart", "django"):
        value = KINDS[kind][1]({"user_id": kind}, SECRET)
        assert auth.identify(asking(value, name=KINDS[kind][2]), time.time()).user == kind


async def later(said):
    return said["user_id"]


@once
@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("secret", {"secret": ""}),
        ("secret", {"secret": []}),
        ("secret", {"secret": "changeme"}),
        ("secret", {"secret": "django-insecure-x8@y7#z6$w5%"}),
        ("secret", {"secret": [SECRET, "short"]}),
        ("secret", {"secret": 42}),
        ("weak_secret", {"weak_secret": 1}),
        ("user", {"user": ""}),
        ("user", {"user": None}),
        ("user", {"user": 1}),
        ("user", {"user": later}),
        ("session", {"session": ""}),
        ("session", {"session": 1}),
        ("channels", {"channels": ["news"]}),
        ("name", {"name": "a b"}),
        ("name", {"name": "é"}),
        ("max_age", {"max_age": 0}),
        ("max_age", {"max_age": -1}),
        ("max_age", {"max_age": "60"}),
        ("max_age", {"max_age": True}),
        ("max_age", {"max_age": float("inf")}),
        ("max_age", {"max_age": timedelta(0)}),
    ],
)
def test_bad_settings(kind, field, settings):
    """A setting that cannot work is refused at construction, by name, and a secret is never shown."""
    auth = KINDS[kind][0]
    with pytest.raises(ConfigError) as caught:
        auth(**{"secret": SECRET, **settings})
    assert caught.value.field == field
    assert SECRET not in str(caught.value)


def test_a_secret_that_starlette_would_take_for_another():
    """Bytes become the text of bytes there, and so they are refused here."""
    for secret in (SECRET.encode(), [SECRET, SECRET.encode()]):
        with pytest.raises(ConfigError, match="must be text"):
            StarletteSession(secret)


def test_a_secret_of_starlettes_own():
    """What its Config reads is taken as its SessionMiddleware takes it, one or several, and never shown."""
    config = Config(environ={"KEY": SECRET, "WEAK": "changeme"})
    key = config("KEY", cast=Secret)
    value = issuers.starlette({"user_id": "u"}, key)
    for secret in (key, [OLD, key]):
        assert StarletteSession(secret).identify(asking(value), time.time()).user == "u"
    with pytest.raises(ConfigError, match="has fewer than 16 bytes"):
        StarletteSession(config("WEAK", cast=Secret))
    with pytest.raises(ConfigError, match="must be non-empty text"):
        StarletteSession(SimpleNamespace(secret=SECRET))  # of which Starlette would take the repr


def test_weak_secrets_may_be_let_pass():
    """An application whose secret is one says so."""
    for kind in KINDS:
        value = KINDS[kind][1]({"user_id": "u"}, "changeme")
        assert identified(kind, value, secret="changeme", weak_secret=True).user == "u"


@once
def test_nobody_can_be_signed_in_where_functions_read(kind):
    """Where a function says who it is nothing can be made that it would be read from."""
    with pytest.raises(ConfigError, match="user"):
        KINDS[kind][0](SECRET, user=lambda said: said["u"]).headers_for("u")
    with pytest.raises(ConfigError, match="channels: a function reads them"):
        KINDS[kind][0](SECRET, channels=lambda said: said["c"]).headers_for("u", ["news"])
    assert KINDS[kind][0](SECRET, channels=lambda said: said["c"]).headers_for("u")


@once
def test_nobody_can_be_signed_in_with_channels_that_are_not_read(kind):
    """Whoever tests with channels is told what the sessions lack for it."""
    with pytest.raises(ConfigError, match='channels="channels".* or sign in without channels'):
        KINDS[kind][0](SECRET).headers_for("u", ["news"])
    headers = KINDS[kind][0](SECRET, channels="channels").headers_for("u", ["news"])
    found = KINDS[kind][0](SECRET, channels="channels").identify(
        Request("GET", "/", tuple(headers)), time.time()
    )
    assert found.channels == ("news",)
