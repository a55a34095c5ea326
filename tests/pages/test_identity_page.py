"""docs/IDENTITY.md: what it shows runs, and does what it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from servers.pages import programs

PAGE = Path(__file__).parents[2] / "docs" / "IDENTITY.md"

SETTINGS = """
SECRET_KEY = "4e7a1b of the tests"
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "database"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "urls"
SESSION_ENGINE = "django.contrib.sessions.backends.%s"
"""
URLS = """
from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path
from views import welcome

def enter(request):
    login(request, User.objects.get_or_create(username="ann")[0])
    return welcome(request)

def leave(request):
    logout(request)
    return HttpResponse()

urlpatterns = [path("login", enter), path("logout", leave)]
"""
DRIVER = """
import asyncio, time
from sse_edge.asgi import Request
from sse_edge.testing import RefusedError, client

async def refused(c, cookies):
    try:
        async with c.stream("/events/me", cookies=cookies):
            return False
    except RefusedError as error:
        return error.status == 401

async def ended(c, login, logout):
    assert await refused(c, {})
    cookies = await login()
    assert await refused(c, {name: value[:-1] for name, value in cookies.items()})
    async with c.stream("/events/me", cookies=cookies) as stream:
        await logout()
        assert await stream.ended(timeout=5) == "revoked"
    assert await refused(c, cookies)

async def in_app(app):
    async with client(app) as c:
        async def login():
            assert (await c.post("/login")).status == 200
            return dict(c.cookies)

        async def logout():
            assert (await c.post("/logout")).status == 200

        await ended(c, login, logout)
"""
DRIVEN = {
    "api.py": """
from api import app
asyncio.run(in_app(app))
""",
    "edge.py": """
from edge import app
from shop import shop

async def beside():
    browser = shop.test_client()

    async def login():
        browser.post("/login")
        return {"session": browser.get_cookie("session").value}

    async with client(app) as c:
        await ended(c, login, lambda: asyncio.to_thread(browser.post, "/logout"))

asyncio.run(beside())
""",
    "asgi.py": """
from asgi import app
from django.core.management import call_command
call_command("migrate", verbosity=0)
asyncio.run(in_app(app))

from django.contrib.auth.models import User

async def closed():
    async with client(app) as c:
        assert (await c.post("/logout")).status == 200
        assert (await c.post("/login")).status == 200
        async with c.stream("/events/me") as stream:
            await c.post("/login")
            user = await User.objects.aget()
            user.is_active = False
            await user.asave()
            assert await stream.ended(timeout=5) == "revoked"
        assert await refused(c, dict(c.cookies))

asyncio.run(closed())
""",
    "beside.py": """
import asgi, beside
from django.core.management import call_command
from sse_edge import Publisher
call_command("migrate", verbosity=0)

async def both():
    async with client(asgi.django) as pages, client(beside.app) as c:
        async def login():
            await pages.post("/login")
            return {"live": pages.cookies["live"]}

        async def logout():
            cookie = f"live={pages.cookies['live']}".encode()
            identity = beside.auth.identify(Request("GET", "/", ((b"cookie", cookie),)), time.time())
            assert identity.user == "1"
            await Publisher(beside.app.backend).revoke(identity.session)

        await ended(c, login, logout)

asyncio.run(both())
""",
    "tokens.py": """
from tokens import app, auth
assert auth.answers_later
""",
}
"""What is done with what the page shows; the file is named for it."""


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *((name, "db") for name in DRIVEN),
        *(pytest.param("asgi.py", other, marks=pytest.mark.heavy) for other in ("cache", "signed_cookies")),
    ],
)
def test_every_block_of_the_page_runs(name, engine, tmp_path, redis_url):
    """Who signs in by it is let in, and who signs out is revoked: streams end, and the cookie is refused."""
    files = {
        **programs(PAGE),
        "settings.py": SETTINGS % engine,
        "urls.py": URLS,
        "driver.py": DRIVER + DRIVEN[name],
    }
    for file, code in files.items():
        (tmp_path / file).write_text(code)
    path = os.pathsep.join([str(PAGE.parents[1]), str(tmp_path)])
    secret = "4e7a1b of the tests"
    env = {"PYTHONPATH": path, "SECRET": secret, "SECRET_KEY": secret, "BACKEND": redis_url}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "driver.py"],
        cwd=tmp_path,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ran.returncode == 0, ran.stderr


def test_every_block_is_driven():
    """No block is forgotten: what is imported by another is named here."""
    assert programs(PAGE).keys() == {*DRIVEN, "shop.py", "views.py"}
