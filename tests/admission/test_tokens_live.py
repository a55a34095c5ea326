"""Bearer tokens with real servers: one of keys, and a browser's page of another origin."""

import http.server
import json
import threading
import time

import jwt
import pytest

from parts.bearers import (
    CURVE,
    OTHER,
    SECRET,
    key_set,
    token,
)
from servers.sse import get
from sse_edge import SyncPublisher


@pytest.fixture
def key_server():
    """A real one on loopback: ``says`` is its key set, ``asked`` the paths that were asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            body = json.dumps(server.says).encode()
            self.send_response(200 if server.says else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.says = [], key_set(a=CURVE)
    server.url = f"http://127.0.0.1:{server.server_port}/keys"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_real_key_server(serve_app, connect, key_server, redis_url):
    """Who brings a token by its key is let in; a stranger's makes nobody ask it again; revoked is revoked."""
    env = {"BACKEND": redis_url, "JWKS": key_server.url}
    url = serve_app("apps.bearer:edge", env=env).url + "/events/me"
    answer = await get(url)
    assert answer.status == 401
    assert answer.header("www-authenticate") is None
    assert key_server.asked == []
    mine = token(CURVE, "a", sid="s1")
    streams = [await connect(url, headers=mine) for _ in range(3)]
    assert [stream.status for stream in streams] == [200] * 3
    for n in range(20):
        assert (await get(url, headers=token(OTHER, f"b{n}"))).status == 401
    assert (await get(url, headers=token(OTHER, "a"))).status == 401
    assert key_server.asked == ["/keys"]
    with SyncPublisher(redis_url) as events:
        events.publish("user:ann", "hello")
        assert [(await stream.next()).data for stream in streams] == ["hello"] * 3
        events.revoke("s1")
        began = time.monotonic()
        for stream in streams:
            assert await stream.ended(5)
        assert time.monotonic() - began < 1
    assert (await get(url, headers=mine)).status == 401
    assert (await connect(url, headers=token(CURVE, "a", sid="s2"))).status == 200


async def test_a_key_server_that_is_away(serve_app, key_server):
    """Without any keys it cannot be said who asks: an answer that asks to come back, and no 401."""
    key_server.says = {}
    url = serve_app("apps.bearer:edge", env={"BACKEND": "memory://", "JWKS": key_server.url}).url
    answer = await get(url + "/events/me", headers={**token(CURVE, "a"), "Accept": "*/*"})
    assert (answer.status, answer.header("retry-after") is None) == (503, False)


FETCH = """
const [url, token, done] = arguments
fetch(url, {headers: {authorization: `Bearer ${token}`}}).then(
    async response => {
        const {value} = await response.body.getReader().read()
        done([response.status, new TextDecoder().decode(value).slice(0, 8)])
    },
    error => done([0, error.name]),
)
"""


def test_a_page_of_another_origin_sends_a_token(serve_app, page):
    """With allow_headers the browser lets fetch() send it, from an allowed origin; without it does not."""
    origin = serve_app("apps.edge:edge").url
    bearer = jwt.encode({"sub": "ann", "aud": "streams", "exp": time.time() + 600}, SECRET, "HS256")
    env = {"BACKEND": "memory://", "KEY": SECRET, "ORIGINS": origin}
    allows = serve_app("apps.bearer:edge", env={**env, "HEADERS": "Authorization"})
    refuses = serve_app("apps.bearer:edge", env=env)
    other = serve_app("apps.bearer:edge", env={**env, "ORIGINS": "", "HEADERS": "authorization"})
    page.get(origin)
    for server, expected in (
        (allows, [200, ": stream"]),
        (refuses, [0, "TypeError"]),
        (other, [0, "TypeError"]),
    ):
        assert page.execute_async_script(FETCH, f"{server.url}/events/me", bearer) == expected
