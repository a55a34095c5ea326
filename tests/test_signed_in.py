"""Apps with logins of their own under uvicorn: their sessions are the streams'."""

import time

import pytest

from servers.sse import get
from sse_edge import SyncPublisher

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


@pytest.fixture
def site(serve_app, redis_url, tmp_path):
    """``site("db", **env)``: that app, its URL."""

    def start(name, **env):
        database = str(tmp_path / "database")
        env = {"BACKEND": redis_url, "DATABASE": database, "ENGINE": name, **env}
        return serve_app(APPS[name], env=env).url

    return start


@pytest.mark.parametrize("name", APPS)
async def test_revoked_within_a_second(site, connect, name, redis_url):
    """Who signed in by the framework is let in; logout ends the streams, and none of its cookies is valid."""
    url = site(name)
    visitor, other = Visitor(url), Visitor(url)
    assert (await get(url + "/events/me")).status == 401
    assert (await visitor.get("/login/ann")).status == 200
    assert (await other.get("/login/ann")).status == 200
    user = "1" if name in DJANGO else "ann"
    stream = await connect(url + "/events/me", headers=visitor.headers)
    others = await connect(url + "/events/me", headers=other.headers)
    first = dict(visitor.cookies)
    for _ in range(2):
        assert (await visitor.get("/visit")).status == 200
    later = await connect(url + "/events/me", headers=visitor.headers)
    with SyncPublisher(redis_url) as events:
        events.publish(f"user:{user}", "hello")
        for each in (stream, later, others):
            assert (await each.next()).data == "hello"
        stolen = dict(visitor.cookies)
        assert (await visitor.get("/logout")).status == 200
        began = time.monotonic()
        for each in (stream, later):
            assert await each.ended(5)
            assert (each.events[-1].event, each.events[-1].data) == ("edge-close", '{"reason": "revoked"}')
        assert time.monotonic() - began < 1
        for cookies in (visitor.cookies, stolen, first):
            visitor.cookies = cookies
            assert (await visitor.get("/events/me")).status == 401
        events.publish(f"user:{user}", "still here")
        assert (await others.next()).data == "still here"
    assert (await visitor.get("/login/ann")).status == 200
    assert (await connect(url + "/events/me", headers=visitor.headers)).status == 200
