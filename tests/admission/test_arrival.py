"""How a request has arrived, which the doctor is told, and nobody else."""

import json
import os
import time

import pytest

from sse_edge import Anonymous, Identity, SignedCookie, SSEMiddleware
from sse_edge.admission.address import TrustedProxies
from sse_edge.admission.arrival import DOCTOR, NAME, header, is_told
from sse_edge.asgi import Request

AUTH = SignedCookie("a secret of the tests", secure=False)
CHANNELS = {"/events/me": "user:{user}", "/events/news": "news"}
TRUSTED = ["192.0.2.1"]


@pytest.mark.parametrize(
    ("user", "channels", "told"),
    [
        ("sse-edge-doctor-1", [DOCTOR], True),
        ("u42", ["news", DOCTOR], True),
        ("sse-edge-doctor-1", [], False),
        ("sse-edge-doctor", ["user:sse-edge-doctor"], False),
        ("u42", ["*"], False),
        ("u42", ["sse-edge-*"], False),
    ],
)
def test_who_is_told(user, channels, told):
    """Whoever has the doctor's pattern signed, as only the secret's owner can; no name, and no star."""
    assert is_told(Identity(user, tuple(channels))) is told


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("192.0.2.7", [], [], "192.0.2.7"),
        ("192.0.2.1", ["198.51.100.9"], [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.9"], TRUSTED, "198.51.100.9"),
        ("192.0.2.1", ["198.51.100.9", "203.0.113.5"], TRUSTED, "203.0.113.5"),
        (None, [], [], "unix"),
    ],
)
def test_what_is_told(peer, forwarded, trusted, address):
    """The address that is counted, who passed the request on, and what that said."""
    headers = tuple((b"x-forwarded-for", value.encode()) for value in forwarded)
    request = Request("GET", "/events/me", headers, peer=peer)
    name, value = header(request, TrustedProxies(trusted), http="1.0", pid=7, present=2, now=1.5)
    told = json.loads(value)
    assert name == NAME
    assert (told["address"], told["peer"]) == (address, peer or "unix")
    assert told["forwarded"] == ", ".join(forwarded)
    assert (told["http"], told["pid"], told["present"], told["now"]) == ("1.0", 7, 2, 1.5)


def test_what_is_repeated_has_an_end():
    """However long a header is, and whatever is in it, the answer's is short and of printable ASCII."""
    request = Request("GET", "/", ((b"x-forwarded-for", bytes(range(128, 256)) * 100),), peer="192.0.2.1")
    _, value = header(request, TrustedProxies([]), http="1.1", pid=1, present=0, now=0.0)
    assert len(value) < 4096
    assert value.isascii()
    assert value.decode().isprintable()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
async def test_the_doctor_is_told(method, accept, asgi):
    """With streams, polls and HEAD, how many streams of its own the worker has, and what time it is."""
    async with SSEMiddleware(auth=AUTH, channels=CHANNELS, poll_wait=0) as edge:
        cookie = AUTH.headers_for("sse-edge-doctor-1", [DOCTOR])
        client = asgi(edge, "/events/me", method=method, headers=[*cookie, (b"accept", accept.encode())])
        await client.start()
        told = json.loads(client.header(NAME))
        assert told["pid"] == os.getpid()
        assert abs(told["now"] - time.time()) < 60
        assert told["present"] == 0
        if (method, accept) == ("GET", "text/event-stream"):
            other = asgi(edge, "/events/me", method="HEAD", headers=cookie)
            await other.start()
            assert json.loads(other.header(NAME))["present"] == 1


@pytest.mark.parametrize("channels", [[], ["*"], ["user:*"]])
async def test_nobody_else_is_told(channels, asgi):
    """Whatever they may read, and whatever they are called."""
    async with SSEMiddleware(auth=AUTH, channels=CHANNELS) as edge:
        for user in ("u42", "sse-edge-doctor-1", DOCTOR):
            client = asgi(edge, "/events/me", method="HEAD", headers=AUTH.headers_for(user, channels))
            await client.start()
            assert client.status == 200
            assert client.header(NAME) is None


async def test_nobody_in_particular_is_told(asgi):
    """Nor is who needs no cookie."""
    async with SSEMiddleware(auth=Anonymous(["news"]), channels={"/events/news": "news"}) as edge:
        client = asgi(edge, "/events/news", method="HEAD", headers=[(b"host", b"localhost")])
        await client.start()
        assert client.status == 200
        assert client.header(NAME) is None
