"""Bearer tokens by the keys of a server: when it is asked, and when it says nothing useful."""

import asyncio
import socket
import threading
from contextlib import suppress
from http.client import HTTPException

import pytest

from parts.bearers import (
    CURVE,
    NOW,
    OTHER,
    RSA,
    asking,
    key_set,
    token,
)
from sse_edge import AnyOf, MemoryBackend, SignedCookie, SSEMiddleware
from sse_edge.admission.authenticator import blocks, is_quick
from sse_edge.admission.bearer.keys import (
    COOLDOWN,
    FRESH,
    MOST_BYTES,
    STALE,
    KeyServer,
    NoKeysError,
    fetched,
)
from sse_edge.testing import client
from sse_edge.tokens import BearerJWT


class Source:
    """What a key server would say, and how often it was asked."""

    def __init__(self, **keys):
        self.says = key_set(**keys)
        self.asked = 0

    def __call__(self):
        self.asked += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


async def answered(server):
    """Wait until what a server is asked is answered."""
    async with asyncio.timeout(10):
        while server._asking is not None:
            await asyncio.sleep(0.002)


async def test_keys_are_asked_for_when_they_are_needed():
    """At first, when they are old, and when one is missing; but not for every stranger's token."""
    source = Source(a=CURVE)
    server = KeyServer("https://id.example/keys", ["ES256"], source)
    assert await server.keys("RS256", "a", NOW) == []
    assert source.asked == 0
    for _ in range(3):
        assert [key.id for key in await server.keys("ES256", "a", NOW)] == ["a"]
    assert source.asked == 1
    for n in range(100):
        assert await server.keys("ES256", f"unknown{n}", NOW + n / 100) == []
    assert source.asked == 1
    source.says = key_set(a=CURVE, b=OTHER)
    assert await server.keys("ES256", "b", NOW + COOLDOWN - 1) == []
    assert [key.id for key in await server.keys("ES256", "b", NOW + COOLDOWN)] == ["b"]
    assert source.asked == 2
    source.says = key_set(b=OTHER)
    assert await server.keys("ES256", "a", NOW + COOLDOWN + FRESH - 1) != []
    assert source.asked == 2
    assert await server.keys("ES256", "a", NOW + COOLDOWN + FRESH) != []  # and asks
    await answered(server)
    assert await server.keys("ES256", "a", NOW + COOLDOWN + FRESH) == []
    assert source.asked == 3


async def test_keys_that_are_old_before_anybody_comes():
    """Where nobody came for long the first to come waits: a key may have been taken back meanwhile."""
    source = Source(a=CURVE)
    server = KeyServer("https://id.example/keys", ["ES256"], source)
    await server.keys("ES256", "a", NOW)
    source.says = key_set(b=OTHER)
    assert await server.keys("ES256", "a", NOW + 2 * FRESH) == []


@pytest.mark.parametrize(
    "says",
    [
        ConnectionError("away"),
        ValueError("no JSON"),
        RecursionError("too deep"),
        {},
        {"keys": []},
        {"keys": {}},
        {"keys": [{**key_set(x=CURVE)["keys"][0], "alg": ["ES256"]}]},
        [],
        key_set(x=RSA),
    ],
    ids=range(9),
)
async def test_a_key_server_that_says_nothing_useful(says, caplog):
    """Its last keys are used for an hour, and asking it again waits; that is in the log."""
    source = Source(a=CURVE)
    server = KeyServer("https://id.example/keys", ["ES256"], source)
    await server.keys("ES256", "a", NOW)
    source.says = says
    assert await server.keys("ES256", "a", NOW + FRESH) != []
    assert await server.keys("ES256", "a", NOW + FRESH + COOLDOWN - 1) != []
    await answered(server)
    assert source.asked == 2
    assert [line[:20] for line in caplog.messages if "jwks" in line] == ["jwks_url tells no ke"]
    assert await server.keys("ES256", "a", NOW + STALE - 1) != []
    await answered(server)
    with pytest.raises(NoKeysError, match="has told none"):
        await server.keys("ES256", "a", NOW + STALE)
    source.says = key_set(a=CURVE)
    assert await server.keys("ES256", "a", NOW + STALE + COOLDOWN) != []


async def test_a_clock_that_goes_back():
    """Keys are asked for again, and not never; a request that overtakes another is no clock."""
    source = Source(a=CURVE)
    server = KeyServer("https://id.example/keys", ["ES256"], source)
    await server.keys("ES256", "a", NOW)
    assert await server.keys("ES256", "a", NOW - 0.01) != []
    assert source.asked == 1
    source.says = key_set(b=OTHER)
    assert [key.id for key in await server.keys("ES256", "b", NOW - 86_400)] == ["b"]


class Slow(Source):
    """A key server that answers when it may."""

    def __init__(self, **keys):
        super().__init__(**keys)
        self.may = threading.Event()
        self.may.set()

    def __call__(self):
        said = super().__call__()
        assert self.may.wait(30)
        return said


async def test_a_slow_key_server_keeps_out_nobody_whose_key_is_known(monkeypatch):
    """While it is asked for a forged token's key all others have their answers, and that one waits."""
    slow = Slow(a=CURVE)
    auth = BearerJWT(jwks_url="https://id.example/keys", algorithms=["ES256"], audience="streams")
    monkeypatch.setattr(auth._server, "_fetch", slow)
    cookie = SignedCookie("a secret of the tests")
    mine = {name.decode(): value.decode() for name, value in cookie.headers_for("ann")}
    edge = SSEMiddleware(
        backend=MemoryBackend(), auth=AnyOf(auth, cookie), channels={"/events/me": "user:{user}"}
    )
    path = "/events/me?poll=0"
    async with client(edge) as c:
        assert (await c.get(path, headers=token(CURVE, "a"))).status == 200
        monkeypatch.setattr(auth._server, "_asked", float("-inf"))
        slow.may.clear()
        forged = asyncio.create_task(c.get(path, headers=token(OTHER, "b")))
        while slow.asked < 2:
            await asyncio.sleep(0.002)
        assert (await c.get(path, headers=token(CURVE, "a"))).status == 200
        assert (await c.get(path, headers=mine)).status == 200
        answer = await c.get(path)
        assert (answer.status, answer.json()["detail"]) == (401, "no valid session cookie or token")
        assert not forged.done()
        slow.may.set()
        assert (await forged).status == 401
    assert slow.asked == 2


async def test_a_key_server_that_never_answers(monkeypatch, caplog):
    """Who needs it waits for some seconds, and it is asked by a few threads at most; that is a line."""
    monkeypatch.setattr("sse_edge.admission.bearer.keys.PATIENCE", 0.05)
    slow = Slow(a=CURVE)
    slow.may.clear()
    auth = BearerJWT(jwks_url="https://id.example/keys", algorithms=["ES256"], audience="streams")
    monkeypatch.setattr(auth._server, "_fetch", slow)
    edge = SSEMiddleware(backend=MemoryBackend(), auth=auth, channels={"/events/me": "user:{user}"})
    async with client(edge) as c:
        for _ in range(6):
            assert (await c.get("/events/me?poll=0", headers=token(CURVE, "a"))).status == 503
            monkeypatch.setattr(auth._server, "_asked", float("-inf"))
    assert slow.asked == 3
    assert not any(record.exc_info for record in caplog.records)
    told = (
        "auth failed to identify a request for /events/me: NoKeysError: the server of the keys has told none"
    )
    assert told in caplog.messages
    slow.may.set()
    await answered(auth._server)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 200_000, RecursionError),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b" " * (MOST_BYTES + 1), ValueError),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"\xff", ValueError),
        (b"HTTP/1.0 200 OK\r\n\r\n", ValueError),
        (b"HTTP/1.0 302 Found\r\nLocation: {url}\r\n\r\n{}", OSError),
        (b"HTTP/1.0 503 Away\r\n\r\n{}", OSError),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{", ValueError),
        (b"nothing of HTTP\r\n\r\n", HTTPException),
        (b"", OSError),
    ],
    ids=range(9),
)
def test_what_is_no_key_set(says, error):
    """What a server sends that is none raises, before it takes memory; and nobody is sent elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"

        def serve():
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(says.replace(b"{url}", url.encode()))

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(error):
            fetched(url)
        thread.join()


def test_a_key_set_that_trickles(monkeypatch):
    """There is a time for all of it."""
    monkeypatch.setattr("sse_edge.admission.bearer.keys.PATIENCE", 0.3)
    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                while not left.wait(0.02):
                    connection.sendall(b" ")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(TimeoutError, match=r"not all of it within 0\.3 s"):
            fetched(f"http://127.0.0.1:{server.getsockname()[1]}/")
        left.set()
        thread.join()


async def test_keys_by_a_url_are_awaited():
    """So is identify, by itself and among several, and it blocks nobody."""
    auth = BearerJWT(jwks_url="https://id.example/keys", algorithms=["RS256"])
    assert not blocks(auth)
    for one in (auth, AnyOf(SignedCookie("a secret of the tests"), auth)):
        assert not is_quick(one)
        assert await one.identify(asking(), NOW) is None
