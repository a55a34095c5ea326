"""Sessions in signed cookies and Django itself: its projects, its connections, its own signed cookies."""

import json
import subprocess
import sys
import time

import pytest
from django.conf import LazySettings

from apps import issuers
from parts.issued import BASE64, DAY, NEW, OLD, SECRET, asking
from sse_edge import ConfigError
from sse_edge.asgi import Request
from sse_edge.cookies import DjangoCookie, DjangoSession


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
