import time

import pytest

from apps import issuers
from sse_edge import Identity
from sse_edge.admission.authenticator import is_quick
from sse_edge.admission.revocations import session_life
from sse_edge.asgi import Request
from sse_edge.cookies import DjangoSession, FlaskSession, StarletteSession

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
each = pytest.mark.parametrize("kind", KINDS)


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
