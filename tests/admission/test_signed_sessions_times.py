"""Sessions in signed cookies: the newest of several, and for how long each is good."""

import itertools
import json
import time
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from markupsafe import Markup

from apps import issuers
from parts.issued import (
    DAY,
    KINDS,
    SECRET,
    asking,
    identified,
    made,
    once,
)
from sse_edge.cookies import FlaskSession, StarletteSession


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
