"""Parts for tests of sessions in signed cookies: the frameworks that make them, and who they are read as."""

import string
import time

import pytest

from apps import issuers
from sse_edge.admission.sessions import django, flask, starlette
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
