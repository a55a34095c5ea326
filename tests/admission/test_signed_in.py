"""Apps with logins of their own under uvicorn: their sessions are the streams'."""

import asyncio
import json
import time

import pytest

from servers.processes import Processes
from servers.sse import get
from sse_edge import SyncPublisher
from sse_edge.asgi import Request
from sse_edge.cookies import DjangoSession

APPS = {
    "starlette": "apps.signed_in:starlette",
    "flask": "apps.signed_in:flask_app",
    "quart": "apps.signed_in:quart_app",
    "db": "apps.signed_in_django:app",
    "cached_db": "apps.signed_in_django:app",
    "cache": "apps.signed_in_django:app",
    "signed_cookies": "apps.signed_in_django:app",
}
DJANGO = [name for name, app in APPS.items() if "django" in app]
SECRET, NEWER = "4e7a1b of the tests", "c3e915 of the tests"


class Visitor:
    """Keeps the cookies that an app sets, as a browser does."""

    def __init__(self, url):
        self.url = url
        self.cookies = {}

    @property
    def headers(self):
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    async def get(self, path):
        answer = await get(self.url + path, headers=self.headers)
        for name, header in answer.headers:
            if name == "set-cookie":
                key, _, value = header.partition(";")[0].partition("=")
                self.cookies[key] = value
        return answer

    async def login(self, user):
        """Sign in; the user as the streams' channels name it."""
        answer = await self.get(f"/login/{user}")
        assert answer.status == 200
        return json.loads(answer.body)["user"]

    async def may_listen(self):
        """The status of a stream."""
        return await may_listen(self.url, self.headers)


async def may_listen(url, headers=()):
    return (await get(url + "/events/me", method="HEAD", headers=headers)).status


@pytest.fixture(scope="module")
def site(redis_server, tmp_path_factory):
    """``site("db", **env)``: that app, its URL; the same for all tests that ask for the same."""
    processes = Processes()
    started, databases = {}, {}

    def start(name, **env):
        asked = (name, *sorted(env.items()))
        if asked not in started:
            database = databases.setdefault(name, tmp_path_factory.mktemp(name) / "database")
            env = {"BACKEND": redis_server.start().url, "DATABASE": str(database), "ENGINE": name, **env}
            started[asked] = processes.serve_app(APPS[name], env=env).url
        return started[asked]

    try:
        yield start
    finally:
        processes.close()


@pytest.mark.parametrize("name", APPS)
async def test_revoked_within_a_second(site, connect, name, redis_server):
    """Who signed in by the framework is let in; logout ends the streams, and none of its cookies is valid."""
    url = site(name)
    visitor, other = Visitor(url), Visitor(url)
    assert await visitor.may_listen() == 401
    user = await visitor.login("ann")
    await other.login("ann")
    stream = await connect(url + "/events/me", headers=visitor.headers)
    others = await connect(url + "/events/me", headers=other.headers)
    first = dict(visitor.cookies)
    for _ in range(2):
        assert (await visitor.get("/visit")).status == 200
    later = await connect(url + "/events/me", headers=visitor.headers)
    with SyncPublisher(redis_server.url) as events:
        events.publish(f"user:{user}", "hello")
        for each in (stream, later, others):
            assert (await each.next()).data == "hello"
        last = dict(visitor.cookies)
        assert (await visitor.get("/logout")).status == 200
        began = time.monotonic()
        for each in (stream, later):
            assert await each.ended(5)
            assert (each.events[-1].event, each.events[-1].data) == ("edge-close", '{"reason": "revoked"}')
        assert time.monotonic() - began < 1
        for cookies in (visitor.cookies, last, first):
            visitor.cookies = cookies
            assert await visitor.may_listen() == 401
        events.publish(f"user:{user}", "still here")
        assert (await others.next()).data == "still here"
    await visitor.login("ann")
    assert await visitor.may_listen() == 200


@pytest.mark.parametrize("name", ["db", "signed_cookies"])
async def test_as_long_as_django_lets_them_in(site, name):
    """A changed password and a deactivated user end their sessions for streams as they do for pages."""
    here, there, banned = (Visitor(site(name)) for _ in range(3))
    for visitor, user in ((here, "bea"), (there, "bea"), (banned, "ben")):
        await visitor.login(user)
        assert await visitor.may_listen() == 200
    await here.get("/password")
    await banned.get("/ban")
    for visitor in (here, there, banned):
        assert await visitor.may_listen() == 401
        assert json.loads((await visitor.get("/visit")).body)["known"] is False
    await here.login("bea")
    assert await here.may_listen() == 200


async def test_a_session_of_django_that_expires(site, connect):
    """What set_expiry was told ends a stream, and the session."""

    async def expires(name):
        visitor = Visitor(site(name))
        await visitor.login("cid")
        await visitor.get("/expire/2")
        stream = await connect(visitor.url + "/events/me", headers=visitor.headers)
        assert stream.status == 200
        await stream.ended(10)
        assert json.loads(stream.events[-1].data)["reason"] == "session-expired"
        assert await visitor.may_listen() == 401

    for name in DJANGO:  # the servers, one after the other
        site(name)
    await asyncio.gather(*map(expires, DJANGO))


@pytest.mark.parametrize("name", ["db", "signed_cookies"])
async def test_a_rotated_secret_of_django(site, name):
    """Sessions from before are let in while SECRET_KEY_FALLBACKS has the old one, and no longer."""
    visitor = Visitor(site(name))
    await visitor.login("dan")
    assert await may_listen(site(name, SECRET=NEWER, OLD=SECRET), visitor.headers) == 200
    assert await may_listen(site(name, SECRET=NEWER), visitor.headers) == 401


async def test_what_is_no_session_of_django(site):
    """Junk is nobody's and breaks nothing, and a good cookie is found beside some of it."""
    visitor = Visitor(site("db"))
    await visitor.login("eve")
    key = visitor.cookies["sessionid"]
    for junk in (
        "",
        "x",
        "x" * 8,
        "x" * 40,
        "x" * 4000,
        "'; DROP",
        f'"{key}"',
        key[:-1],
        key + "x",
        "\xe9" * 9,
    ):
        assert await may_listen(visitor.url, {"Cookie": f"sessionid={junk}"}) == 401, junk
    for cookies in (f"sessionid=junkjunk; sessionid={key}", f"sessionid={key}; sessionid=junkjunk"):
        assert await may_listen(visitor.url, {"Cookie": cookies}) == 200
    many = "; ".join(f"sessionid={each}" for each in (key, *(f"junkjunk{n}" for n in range(500))))
    assert await may_listen(visitor.url, {"Cookie": many}) == 401  # not all are looked up


@pytest.mark.parametrize("name", DJANGO)
async def test_signed_in_by_headers(site, name):
    """Tests sign a user in through the engine, and views learn the same as the streams."""
    url = site(name)
    user, cookie = json.loads((await get(url + "/headers/fay")).body)
    assert await may_listen(url, {"Cookie": cookie}) == 200
    who = json.loads((await get(url + "/who", headers={"Cookie": cookie})).body)
    assert who["user"] == user
    assert len(who["session"]) >= 22
    assert json.loads((await get(url + "/who")).body) == {"user": None, "session": None}


@pytest.mark.parametrize("name", DJANGO)
async def test_a_transaction_is_kept(site, name):
    """A view that asks who it is in the midst of a transaction has all of it committed."""
    visitor = Visitor(site(name))
    user = await visitor.login("hal")
    during = await visitor.get("/order/thing")
    assert json.loads(during.body) == {"user": str(user), "written": 1}
    assert json.loads((await visitor.get("/orders/thing")).body) == {"written": 1}


async def test_an_edge_beside_django(site):
    """Who has the secret reads sessions in signed cookies without Django."""
    visitor = Visitor(site("signed_cookies"))
    user = await visitor.login("gil")
    request = Request("GET", "/", ((b"cookie", visitor.headers["Cookie"].encode()),))
    assert DjangoSession(SECRET).identify(request, time.time()).user == str(user)
