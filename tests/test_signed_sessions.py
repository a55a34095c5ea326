"""Sessions in signed cookies, which the frameworks themselves have made."""

import itertools
import json
import re
import string
import subprocess
import sys
import time
import zlib
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from secrets import token_urlsafe
from types import SimpleNamespace
from uuid import UUID

import pytest
from django.conf import LazySettings
from itsdangerous import Signer, TimestampSigner, URLSafeTimedSerializer
from markupsafe import Markup
from starlette.config import Config
from starlette.datastructures import Secret

from apps import issuers
from sse_edge import AnyOf, ConfigError, Identity, SignedCookie
from sse_edge.admission.authenticator import is_quick
from sse_edge.admission.revocations import session_life
from sse_edge.admission.sessions import django, flask, starlette
from sse_edge.asgi import Request
from sse_edge.cookies import DjangoCookie, DjangoSession, FlaskSession, StarletteSession

SECRET = "5f1c77 of the tests"
OLD, NEW = "0a77d1 of the tests", "c3e915 of the tests"
DAY = 86_400


def of_django(secret, user="user_id", **settings):
    """As the others have it."""
    return DjangoSession(secret, user, **settings)


KINDS = {
    "starlette": (StarletteSession, issuers.starlette, "session", 14 * DAY),
    "flask": (FlaskSession, issuers.flask_session, "session", 31 * DAY),
    "quart": (FlaskSession, issuers.quart_session, "session", 31 * DAY),
    "django": (of_django, issuers.django, "sessionid", 14 * DAY),
}
FORMATS = {
    "starlette": starlette.FORMAT,
    "flask": flask.FORMAT,
    "quart": flask.FORMAT,
    "django": django.FORMAT,
}
BASE64 = string.ascii_letters + string.digits + "+/-_"
each = pytest.mark.parametrize("kind", KINDS)
once = pytest.mark.parametrize("kind", ["starlette", "flask", "django"])


def asking(*values, name="session"):
    """A request with these cookies."""
    return Request("GET", "/events", tuple((b"cookie", f"{name}={v}".encode("latin-1")) for v in values))


@each
def test_what_the_framework_issues(kind):
    """A session that the framework itself made identifies its user, for as long as the framework takes it."""
    auth, issue, name, age = KINDS[kind]
    now = time.time()
    value = issue({"user_id": "u42", "sid": "s1", "basket": ["é", "😀", None, 1.5, {"a": "b" * 300}]}, SECRET)
    auth = auth(SECRET)
    identity = auth.identify(asking(value, name=name), now)
    assert identity == Identity("u42", (), "s1", identity.expires)
    assert identity.expires == pytest.approx(now + age, abs=2)
    assert auth.max_age == age
    assert session_life(auth) > age
    assert auth.identify(asking(value, name=name), now + age - 2).user == "u42"
    assert auth.identify(asking(value, name=name), now + age + 2) is None
    assert auth.identify(asking(value, name=name), now - 90) is None
    assert is_quick(auth)


@each
@pytest.mark.parametrize(
    ("issuer", "secrets", "valid"),
    [
        (OLD, [OLD, NEW], True),
        (NEW, [OLD, NEW], True),
        (NEW, NEW, True),
        (OLD, NEW, False),
        (OLD, [NEW], False),
    ],
)
def test_rotation(kind, issuer, secrets, valid):
    """All secrets of the list verify."""
    auth, issue, name, _ = KINDS[kind]
    value = issue({"user_id": "u"}, issuer)
    assert (auth(secrets).identify(asking(value, name=name), time.time()) is not None) is valid


@each
def test_signing_in_for_tests(kind):
    """The headers that sign a user in are read as theirs, with the patterns; each is a session of its own."""
    auth = KINDS[kind][0](SECRET, channels="may")
    found = [
        auth.identify(Request("GET", "/", tuple(auth.headers_for("ü:1", ["order:*"]))), time.time())
        for _ in range(2)
    ]
    assert [(each.user, each.channels) for each in found] == [("ü:1", ("order:*",))] * 2
    assert found[0].session != found[1].session


def made(kind, said, *, now=None, secret=SECRET, raw=None):
    """A session in a cookie as the framework would have signed it then; ``raw`` is the content itself."""
    form = FORMATS[kind]
    signer = form.signers(secret.encode())[0]
    content = form.write(said) if raw is None else raw
    signed = content + form.separator.encode() + form.stamp(int(time.time() if now is None else now))
    return (signed + form.separator.encode() + signer.get_signature(signed)).decode("latin-1")


def identified(kind, *values, now=None, secret=SECRET, **settings):
    """Who such cookies are for."""
    auth, _, name, _ = KINDS[kind]
    return auth(secret, **settings).identify(asking(*values, name=name), time.time() if now is None else now)


@each
def test_every_change_is_noticed(kind):
    """No character of a cookie can be another one, or be left out; one spelling alone is valid."""
    _, issue, name, _ = KINDS[kind]
    auth = KINDS[kind][0](SECRET)
    value = issue({"user_id": "u42", "x": 1}, SECRET)
    now = time.time()
    assert auth.identify(asking(value, name=name), now) is not None
    for at, old in enumerate(value):
        for new in BASE64 + ".:=~":
            if new != old:
                assert auth.identify(asking(value[:at] + new + value[at + 1 :], name=name), now) is None
        assert auth.identify(asking(value[:at] + value[at + 1 :], name=name), now) is None
        assert auth.identify(asking(value[:at], name=name), now) is None
    for spelt in (
        value + "=",
        f'"{value}"',
        value + ".",
        "." + value,
        value + "\xa0",
        value.replace(".", "%2E"),
    ):
        if spelt != value:
            assert auth.identify(asking(spelt, name=name), now) is None
    inner = auth._kept if kind == "django" else auth
    assert inner._known.cache_info().currsize == 1


@once
def test_signed_for_another_purpose(kind):
    """What the same secret signed with another salt, or for another framework, is no session."""
    said = {"user_id": "u"}
    others = [made(other, said) for other in FORMATS if FORMATS[other] is not FORMATS[kind]]
    others += [
        TimestampSigner(SECRET, b"password-reset").sign(b64encode(json.dumps(said).encode())).decode(),
        URLSafeTimedSerializer(SECRET, "cookie-session").dumps(said),  # not by HMAC's key derivation
        URLSafeTimedSerializer(SECRET, "itsdangerous").dumps(said),
        issuers.django(said, SECRET, salt="django.core.signing"),
        SignedCookie(SECRET).issue("u"),
        Signer(SECRET, salt=b"cookie-session", key_derivation="hmac").sign(b"eyJ1c2VyX2lkIjoidSJ9").decode(),
    ]
    for other in others:
        assert identified(kind, other) is None, other
    assert identified(kind, made(kind, said)).user == "u"


@once
@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        "...",
        ":",
        "::",
        ":::",
        "a.b.c",
        "a:b:c",
        "null",
        "\xff\xfe",
        "=",
        "%00",
        "x" * 5000,
        " ",
    ]
    + [f"{'x' * 20}{by}{'y' * 6}{by}{'z' * size}" for by in ".:" for size in (27, 43)],
)
def test_garbage(kind, value):
    """What nobody signed identifies nobody and raises nothing."""
    assert identified(kind, value) is None


def packed(data):
    return b"." + urlsafe_b64encode(zlib.compress(data)).rstrip(b"=")


@once
@pytest.mark.parametrize("said", [None, 1, "u", [], ["user_id"], [["user_id", "u"]], True, float("nan")])
def test_signed_but_no_session(kind, said):
    """A good signature over what is no session identifies nobody."""
    assert identified(kind, made(kind, said)) is None


@once
@pytest.mark.parametrize(
    "raw",
    [
        b"!!!",
        b"x",
        urlsafe_b64encode(b"\xff\xfe\xfd"),
        b64encode(b"{"),
        urlsafe_b64encode(b"[" * 2100),
        b"." + urlsafe_b64encode(b"not deflated"),
        packed(b'{"user_id": "u"}')[:-4],
        packed(json.dumps({"user_id": "u", "x": "y" * 2_000_000}).encode()),
        b".",
        b"..",
        "é".encode(),
    ],
)
def test_signed_but_unreadable(kind, raw):
    """A good signature over what cannot be read, or unpacks to far more than a session, raises nothing."""
    value = made(kind, None, raw=raw)
    assert len(value) < 4096
    assert identified(kind, value) is None


@pytest.mark.parametrize(
    "value", [{" d": "no date"}, {" u": 1}, {" u": "x"}, {" di": 1}, {" b": 1}, {" t": 1}]
)
def test_tags_of_nothing(value):
    """What has a tag of Flask's, and is not what it says, is no session."""
    said = json.dumps({"user_id": "u", "x": value}).encode()
    assert identified("flask", made("flask", None, raw=urlsafe_b64encode(said))) is None
    assert identified("starlette", made("starlette", None, raw=b64encode(said))).user == "u"


@once
def test_a_long_session_is_read_and_a_long_cookie_is_not(kind):
    """What a browser keeps is read, and what it would not is not even verified."""
    assert identified(kind, made(kind, {"user_id": "u", "x": "y" * 2000})).user == "u"
    assert identified(kind, made(kind, {"user_id": "u", "x": token_urlsafe(4000)})) is None


@once
@pytest.mark.parametrize("stamp", [b"", b"*", b"-1", b"A" * 12, b"\xe9"])
def test_a_signature_over_no_time(kind, stamp):
    """A session of no time is none."""
    form = FORMATS[kind]
    by = form.separator.encode()
    signed = form.write({"user_id": "u"}) + by + stamp
    value = signed + by + form.signers(SECRET.encode())[0].get_signature(signed)
    assert identified(kind, value.decode("latin-1")) is None


# ---- who, and in which session


@once
@pytest.mark.parametrize(
    ("user", "identity"),
    [
        ("u42", "u42"),
        ("é 😀", "é 😀"),
        ("a:b", "a:b"),
        (0, "0"),
        (42, "42"),
        (-1, "-1"),
        (None, None),
        ("", None),
        (False, None),
        ("a\nb", None),
        ("x" * 257, None),
        ("\ud800", None),
    ],
)
def test_the_user(kind, user, identity):
    """Text and numbers name a user; nothing, empty text, False, and what no name could be, is nobody."""
    found = identified(kind, made(kind, {"user_id": user}))
    assert (found and found.user) == identity


@once
@pytest.mark.parametrize("user", [True, 1.5, [], ["u"], {"id": 1}])
def test_what_cannot_name_a_user(kind, user, caplog):
    """A session that names its user by what cannot is nobody's, and one line says so for all."""
    auth, _, name, _ = KINDS[kind]
    auth = auth(SECRET)
    for visits in range(3):
        value = made(kind, {"user_id": user, "visits": visits})
        assert auth.identify(asking(value, name=name), time.time()) is None
    (line,) = (record for record in caplog.records if record.name == "sse_edge")
    assert f"user must be text or a whole number, not {type(user).__name__}" in line.getMessage()
    assert (line.levelname, line.exc_info) == ("ERROR", None)


@once
@pytest.mark.parametrize(
    "read",
    [
        {"user": lambda said: said["user"]["id"]},
        {"user": lambda said: said["user"].id},
        {"session": lambda said: said["user"]["id"]},
        {"channels": lambda said: said["user"]["channels"]},
    ],
)
def test_functions_that_a_session_is_not_made_for(kind, read, caplog):
    """Whose session a function cannot read is nobody, and one line says where, and not what is in it."""
    value = made(kind, {"user": None, "user_id": "u"})
    assert identified(kind, value, **read) is None
    (line,) = (record for record in caplog.records if record.name == "sse_edge")
    assert re.search(r"(Type|Attribute)Error at \S+test_signed_sessions\.py:\d+", line.getMessage())
    assert line.exc_info is None


@pytest.mark.parametrize("function", [lambda: "u", lambda session, request: "u"])
def test_functions_that_take_something_else(function):
    """They would let nobody in: that is said at construction."""
    for what in ("user", "session", "channels"):
        with pytest.raises(ConfigError, match=rf"^{what}: must take \(session\)"):
            StarletteSession(SECRET, **{what: function})
    assert StarletteSession(SECRET, itemgetter("u")).headers_for is not None


@once
def test_visitors(kind):
    """A session in which nobody signed in is nobody's, however its user would be read."""
    value = made(kind, {"basket": [1]})
    assert identified(kind, value) is None
    assert identified(kind, value, user=lambda said: said["user"]["id"]) is None
    assert identified(kind, value, user=lambda said: said["basket"][7]) is None
    assert identified(kind, value, user=lambda said: said.get("user")) is None


@once
def test_functions_of_the_session(kind):
    """User, session and patterns may be read by functions."""
    value = made(kind, {"account": {"id": 7, "team": "a"}, "login": {"id": "l1"}})
    identity = identified(
        kind,
        value,
        user=lambda said: said["account"]["id"],
        session=lambda said: said["login"]["id"],
        channels=lambda said: [f"team:{said['account']['team']}"],
    )
    assert (identity.user, identity.session, identity.channels) == ("7", "l1", ("team:a",))


@once
@pytest.mark.parametrize(
    ("channels", "found"), [(["news", "order:*"], ("news", "order:*")), ([], ()), (None, ())]
)
def test_patterns_of_the_session(kind, channels, found):
    """What the session may read is read from it, where the authenticator is told which entry has it."""
    value = made(kind, {"user_id": "u", "may": channels})
    assert identified(kind, value).channels == ()
    assert identified(kind, value, channels="may").channels == found


@once
@pytest.mark.parametrize("channels", ["news", "*", 1, {"news": 1}, [1]])
def test_what_are_no_patterns(kind, channels, caplog):
    """A text is no list of patterns, a star in it would open everything: who has one is nobody."""
    assert identified(kind, made(kind, {"user_id": "u", "may": channels}), channels="may") is None
    assert "channels must be a list of patterns" in caplog.text
    assert "Traceback" not in caplog.text


@once
def test_the_name_of_a_session(kind):
    """A sid is the sign-in's name, through every change of the rest; two sign-ins of a user have two."""
    signed = [
        identified(kind, made(kind, {"user_id": "u", "sid": sid, "visits": visits}, now=at), now=at + 9)
        for sid, visits, at in (("a", 1, 1000), ("a", 2, 1001), ("b", 1, 1000))
    ]
    assert [identity.session for identity in signed] == ["a", "a", "b"]
    assert identified(kind, made(kind, {"user_id": "u", "login": 5}), session="login").session == "5"


@once
@pytest.mark.parametrize("sid", [None, "", "\n", False])
def test_sessions_without_a_name(kind, sid):
    """They have none: one that all of a user's have would be revoked with the next sign-in, too."""
    said = {"user_id": "u", "_auth_user_hash": "a", "_id": "b", "sid": sid}
    assert identified(kind, made(kind, said)).session is None
    assert identified(kind, made(kind, said), session="user_id").session == "u"  # where that is meant


@once
def test_the_name_of_a_session_in_views(kind):
    """Views know what the streams know a session by, of the framework's own object."""
    for said, settings, name in (
        ({"sid": "s1"}, {}, "s1"),
        ({"user_id": "u"}, {}, None),
        ({"login": {"id": 7}}, {"session": lambda said: said["login"]["id"]}, "7"),
        ({}, {"session": lambda said: said["login"]["id"]}, None),
    ):
        assert KINDS[kind][0](SECRET, **settings).session_name(said) == name


# ---- several cookies, remembering, and time


@once
def test_the_newest_counts(kind):
    """Of several valid cookies that signed last counts, wherever it stands, and junk hides nothing."""
    now = 1_800_000_000
    values = [
        made(kind, {"user_id": "older"}, now=now - 500),
        made(kind, {"user_id": "newest"}, now=now - 1),
        made(kind, {"user_id": "to come"}, now=now + 300),
        made(kind, {"user_id": "over"}, now=now - 40 * DAY),
        "junk",
    ]
    for order in itertools.permutations(values):
        assert identified(kind, *order, now=now).user == "newest"
    junk = [f"{n:03}{values[1][3:]}" for n in range(200)]
    assert identified(kind, *junk, values[1], *junk, now=now).user == "newest"
    out = made(kind, {"basket": 1}, now=now)
    assert identified(kind, *values, out, now=now) is None  # who has signed out since


@once
def test_verified_cookies_are_remembered_and_still_expire(kind):
    """That a cookie was verified is remembered, never that it was in time; forged ones push nothing out."""
    auth, _, name, _ = KINDS[kind]
    auth = auth(SECRET, max_age=100)
    value = made(kind, {"user_id": "u"}, now=1000)
    inner = auth._kept if kind == "django" else auth
    assert auth.identify(asking(value, name=name), 1050).user == "u"
    assert auth.identify(asking(value, name=name), 1100) is None
    assert auth.identify(asking(value, name=name), 900) is None
    for n in range(5000):
        assert auth.identify(asking(f"{value}{n}", name=name), 1001) is None
    assert inner._known.cache_info().currsize == 1
    assert auth.identify(asking(value, name=name), 1050).user == "u"


@once
@pytest.mark.parametrize("max_age", [100, 100.5, timedelta(seconds=100)])
def test_max_age(kind, max_age):
    """It is seconds, or what has them, since the session was signed last."""
    value = made(kind, {"user_id": "u"}, now=1000)
    assert identified(kind, value, now=1099, max_age=max_age).user == "u"
    assert identified(kind, value, now=1101, max_age=max_age) is None


def test_a_session_of_starlette_without_an_end():
    """With max_age None, as Starlette has it for browser sessions, a session ends with the browser."""
    auth = StarletteSession(SECRET, max_age=None)
    value = issuers.starlette({"user_id": "u"}, SECRET, max_age=None)
    identity = auth.identify(asking(value), time.time() + 10**8)
    assert (identity.user, identity.expires, auth.max_age) == ("u", None, None)


@pytest.mark.parametrize("issue", [issuers.flask_session, issuers.quart_session])
@pytest.mark.parametrize("permanent", [True, False])
def test_flasks_permanent_sessions_and_others(issue, permanent):
    """Both end after the app's lifetime, as Flask itself reads them."""
    lifetime = timedelta(hours=1)
    value = issue({"user_id": "u"}, SECRET, permanent=permanent, PERMANENT_SESSION_LIFETIME=lifetime)
    auth = FlaskSession(SECRET, max_age=lifetime)
    assert auth.identify(asking(value), time.time() + 3590).user == "u"
    assert auth.identify(asking(value), time.time() + 3610) is None


def iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@pytest.mark.parametrize(
    ("expiry", "end"),
    [
        (None, 14 * DAY),
        (0, 14 * DAY),
        (60, 60),
        (100 * DAY, 14 * DAY),
        (iso(1300), 300),
        (iso(1300).replace("+00:00", ""), 300),
        (iso(10**9), 14 * DAY),
        (60.5, 60.5),
        (iso(500), -500),
        ("never", None),
        ([], 14 * DAY),
        ({"a": 1}, None),
    ],
)
def test_djangos_own_expiry(expiry, end):
    """What set_expiry was told ends a session earlier, never later."""
    value = made("django", {"user_id": "u", "_session_expiry": expiry}, now=1000)
    for later in (0, 59, 61, 299, 301, 14 * DAY - 1, 14 * DAY + 1):
        valid = end is not None and later < end
        assert (identified("django", value, now=1000 + later) is not None) is valid


TAGGED = {
    "tuple": (1, "a"),
    "bytes": b"\x00\xff",
    "markup": Markup("<b>x</b>"),
    "uuid": UUID(int=7),
    "date": datetime(2026, 11, 28, 12, 0, tzinfo=UTC),
    "like a tag": {" t": [1, (2, b"3")]},
    "like another": {" di": {" u": "x"}},
    "nested": [{"a": (UUID(int=1), None)}],
}


@pytest.mark.parametrize("issue", [issuers.flask_session, issuers.quart_session])
def test_flasks_types(issue):
    """What Flask keeps beyond JSON comes back as it was."""
    seen = []
    auth = FlaskSession(SECRET, user=lambda said: seen.append(said) or said["uuid"])
    identity = auth.identify(asking(issue(TAGGED, SECRET)), time.time())
    assert identity.user == str(UUID(int=7))
    assert {name: seen[0][name] for name in TAGGED} == TAGGED


def test_how_an_older_quart_writes_dates():
    """As ISO 8601, until 0.19."""
    said = json.dumps({"user_id": "u", "at": {" d": "2026-11-28T12:00:00.000000+00:00"}}).encode()
    value = made("flask", None, raw=urlsafe_b64encode(said))
    assert identified("flask", value, user=lambda said: said["at"].isoformat()).user[:13] == "2026-11-28T12"


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


def test_django_without_django(monkeypatch):
    """By its settings alone where there are none, or no Django: that is said."""
    monkeypatch.setattr("django.conf.settings", LazySettings())
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    with pytest.raises(ConfigError, match="settings are not configured"):
        DjangoSession()
    monkeypatch.setitem(sys.modules, "django.conf", None)
    with pytest.raises(ConfigError, match="without one Django is asked, and"):
        DjangoSession()


PROJECTS = {
    "SESSION_ENGINE='django.contrib.sessions.backends.cache'": "not set up yet",
    "SESSION_ENGINE='nowhere'": "No module named 'nowhere'",
    "INSTALLED_APPS=[]": "django.contrib.auth is not in INSTALLED_APPS",
    "SESSION_ENGINE='django.contrib.sessions.backends.signed_cookies', "
    "SECRET_KEY='0a77d1 of the tests', SESSION_SERIALIZER='x.Pickle'": "SESSION_SERIALIZER: must be",
    "SESSION_ENGINE='django.contrib.sessions.backends.signed_cookies', "
    "SECRET_KEY=''": "SECRET_KEY setting must not be empty",
    "SESSION_ENGINE='django.contrib.sessions.backends.signed_cookies', "
    "SECRET_KEY='django-insecure-0a77d1'": "is one that Django made for development",
}


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_that_cannot_be_asked(project):
    """What is wrong with a Django project, or too early, is said at construction."""
    setup = "" if "not set up" in PROJECTS[project] else "django.setup(); "
    program = (
        f"import django; from django.conf import settings; settings.configure({project}); {setup}"
        "from sse_edge.cookies import DjangoSession; DjangoSession()"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ConfigError" in ran.stderr
    assert PROJECTS[project] in ran.stderr


CONNECTIONS = """
import asyncio, django
from django.conf import settings
settings.configure(
    SECRET_KEY="4e7a1b of the tests",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "database"}},
    INSTALLED_APPS=["django.contrib.sessions"],
)
django.setup()
from django.core.management import call_command
from django.db import connection
from django.db.backends.signals import connection_created
from sse_edge.cookies import DjangoSession

call_command("migrate", verbosity=0)
auth = DjangoSession(user="user_id")
scope = {"type": "http", "method": "GET", "path": "/", "headers": auth.headers_for("u1")}
made = []
connection_created.connect(lambda connection, **_: made.append(connection), weak=False)
assert asyncio.run(auth.identify_scope_async(scope)).user == "u1"
assert made and made[0] is not connection and made[0].connection is None
assert connection.connection is not None
"""


def test_no_connection_is_kept(tmp_path):
    """Whoever asked the database keeps its connection for CONN_MAX_AGE (0 s), as Django does itself."""
    ran = subprocess.run(
        [sys.executable, "-c", CONNECTIONS], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


INSIDE = (
    CONNECTIONS.partition('call_command("migrate"')[0]
    + """
from django.contrib.sessions.models import Session
from django.test import TestCase
from django.test.runner import DiscoverRunner
from sse_edge import SSEMiddleware
from sse_edge.testing import client

auth = DjangoSession(user="user_id")
app = SSEMiddleware(None, auth=auth, channels={"/events/me": "user:{user}"})

class Tests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.headers = {name.decode(): value.decode() for name, value in auth.headers_for("u1")}

    async def test_edge(self):
        async with client(app, headers=self.headers) as c:
            assert (await c.get("/events/me?poll=0")).status == 200
        assert await Session.objects.acount() == 1

    def test_view(self):
        scope = {"type": "http", "method": "GET", "path": "/", "headers": auth.headers_for("u2")}
        assert auth.identify_scope(scope).user == "u2"
        assert Session.objects.count() == 2

connection.settings_dict["TEST"]["NAME"] = "tests"  # in memory there is nothing to close
runner = DiscoverRunner(verbosity=0, interactive=False)
created = runner.setup_databases()
results = runner.run_suite(runner.test_loader.loadTestsFromTestCase(Tests))
assert results.testsRun == 2 and results.wasSuccessful()

connection.connect()
scope = {"type": "http", "method": "GET", "path": "/", "headers": auth.headers_for("u3")}
assert auth.identify_scope(scope).user == "u3"
assert connection.connection is not None
connection.close()
runner.teardown_databases(created)
"""
)


def test_others_connections_are_left_alone(tmp_path):
    """A test's transaction outlives that streams are asked for in it, and a view has the connection on."""
    ran = subprocess.run(
        [sys.executable, "-c", INSIDE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


# ---- Django's signed cookies

PLAIN = ["7", "ann@example.com", "a:b", 'a "quoted" \\ name', "a;b,c", "é", " x ", "null", "[1]"]


@pytest.mark.parametrize("text", PLAIN)
@pytest.mark.parametrize("salt", ["", "live"])
@pytest.mark.parametrize("legacy", [True, False])
def test_a_signed_cookie_of_django(text, salt, legacy):
    """A user that a view has put there is read, in both forms of the salt, whatever it is written with."""
    auth = DjangoCookie(SECRET, "live", salt=salt)
    value = issuers.django_cookie("live", text, SECRET, salt=salt, legacy=legacy)
    identity = auth.identify(asking(value, name="live"), time.time())
    assert identity.user == text
    assert identity.expires == pytest.approx(time.time() + 14 * DAY, abs=2)
    strict = DjangoCookie(SECRET, "live", salt=salt, legacy_salt=False)
    assert (strict.identify(asking(value, name="live"), time.time()) is None) is legacy
    for other in (
        DjangoCookie(SECRET, "live", salt="other"),
        DjangoCookie(SECRET, "other", salt=salt),
        DjangoCookie(NEW, "live", salt=salt),
    ):
        for name in ("live", "other"):
            assert other.identify(asking(value, name=name), time.time()) is None


def test_what_django_itself_signs():
    """So this very release of Django signs cookies, as a view sets them."""
    program = (
        "from django.conf import settings; settings.configure(SECRET_KEY={!r})\n"
        "from django.http import HttpResponse\n"
        "response = HttpResponse(); response.set_signed_cookie('live', 'ann@example.com', salt='x')\n"
        "print(response.cookies['live'].OutputString())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program.format(SECRET)], capture_output=True, text=True, check=True
    )
    value = issuers.value([ran.stdout], "live")
    auth = DjangoCookie(SECRET, "live", salt="x")
    assert auth.identify(asking(value, name="live"), time.time()).user == "ann@example.com"


def test_json_in_a_signed_cookie():
    """It may hold more than the user."""
    auth = DjangoCookie([OLD, NEW], "live", "id", channels="may")
    text = json.dumps({"id": 7, "sid": "s;1", "may": ["order:*", "news"]})
    value = issuers.django_cookie("live", text, OLD)
    identity = auth.identify(asking(value, name="live"), time.time())
    assert (identity.user, identity.session, identity.channels) == ("7", "s;1", ("order:*", "news"))
    request = Request("GET", "/", tuple(auth.headers_for("ü;,", ["a;b"])))
    identity = auth.identify(request, time.time())
    assert (identity.user, identity.channels) == ("ü;,", ("a;b",))


def test_every_change_of_a_signed_cookie_is_noticed():
    """Nothing of what is signed can be changed, and junk in quotes is nobody's."""
    value = issuers.django_cookie("live", "ann@example.com", SECRET)
    auth = DjangoCookie(SECRET, "live")
    now = time.time()
    assert value[0] == value[-1] == '"'
    for at in range(1, len(value) - 1):
        for new in BASE64 + ".:=~":
            if new != value[at]:
                spelt = value[:at] + new + value[at + 1 :]
                assert auth.identify(asking(spelt, name="live"), now) is None
        assert auth.identify(asking(value[:at] + value[at + 1 :], name="live"), now) is None
    for junk in (
        '"',
        '""',
        '"\\"',
        '"\\400"',
        "\\" * 4000,
        '"' + "\\" * 4000 + '"',
        '"é:1:' + "é" * 43 + '"',
    ):
        assert auth.identify(asking(junk, name="live"), now) is None
