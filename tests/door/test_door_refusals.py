"""What the door refuses, with each code, and how it takes what is too long to be looked at."""

import asyncio
import json
import logging
import time

import pytest

from parts.door import NOTHING, Recorder, at_cap, cookie, fails, holds, says_no
from sse_edge import RedisBackend
from sse_edge.asgi import LINGER

ORIGIN = "http://testserver"


def many_channels(request):
    return [f"c{number}" for number in range(65)]


def refusing(code, status, *, id=None, path="/events/me", method="GET", headers=(), **settings):
    return pytest.param(code, status, path, method, headers, settings, id=id or code)


EXPIRED = cookie(now=time.time() - 86400 - 5)
TAMPERED = {"cookie": cookie()["cookie"][:-3] + "AAA"}

REFUSED = [
    refusing("bad-request", 400, id="body", headers={**cookie(), "content-length": "5"}),
    refusing("bad-request", 400, id="channels", headers=cookie(), channels=many_channels),
    refusing("bad-request", 400, id="origins", headers=[("origin", ORIGIN), ("origin", ORIGIN)]),
    refusing("unauthenticated", 401, id="no cookie"),
    refusing("unauthenticated", 401, id="tampered", headers=TAMPERED),
    refusing("unauthenticated", 401, id="expired", headers=EXPIRED),
    refusing("origin", 403, headers={**cookie(), "origin": "https://evil.example"}),
    refusing("origin", 403, id="null", headers={**cookie(), "origin": "null"}),
    refusing("origin", 403, id="sec-fetch-site", headers={**cookie(), "sec-fetch-site": "cross-site"}),
    refusing("origin", 403, id="host", headers=cookie(), hosts=["app.example.com"]),
    refusing("forbidden", 403, path="/events/orders/7", headers=cookie("u42", ["order:8"])),
    refusing("forbidden", 403, id="no", path="/events/orders/7", headers=cookie(), authorize=says_no),
    refusing("not-found", 404, path="/events/nowhere", headers=cookie()),
    refusing("method", 405, method="POST", headers=cookie()),
    refusing("method", 405, id="DELETE", method="DELETE", headers=cookie()),
    refusing("user-limit", 429, headers=cookie(), **at_cap(per_user=1)),
    refusing("ip-limit", 429, headers=cookie(), **at_cap(per_ip=1)),
    refusing("connect-rate", 429, headers=cookie(), **at_cap(connects_per_ip="1/hour")),
    refusing("worker-full", 503, headers=cookie(), **at_cap(per_worker=1)),
    refusing("draining", 503, headers=cookie(), draining=True),
    refusing("backend-down", 503, headers=cookie(), backend="nowhere"),
    refusing("backend-down", 503, id="fails", path="/events/orders/7", headers=cookie(), authorize=fails),
]


@pytest.mark.parametrize("own_origin", [False, True], ids=["", "cors"])
@pytest.mark.parametrize(("code", "status", "path", "method", "headers", "settings"), REFUSED)
async def test_refusals(
    edge, asgi, caplog, terminated, code, status, path, method, headers, settings, own_origin
):
    """Each row of the table: its status, its code in JSON, its headers, counted once, nothing held."""
    settings = dict(settings)
    others, draining = settings.pop("others", 0), settings.pop("draining", False)
    if settings.get("backend") == "nowhere":
        settings["backend"] = RedisBackend("redis://127.0.0.1:1/0", timeout=0.2)
    middleware = edge(Recorder(), **settings)
    for _ in range(others):
        await asgi(middleware, "/events/me", headers=cookie()).start()
    if draining:
        await terminated(middleware)
    before = holds(middleware) if others or draining else NOTHING
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    given = {name for name, _ in pairs}
    own_origin = own_origin and given.isdisjoint({"origin", "sec-fetch-site"})
    if own_origin:
        pairs.append(("origin", ORIGIN))
    client = asgi(middleware, path, method=method, headers=pairs)
    body = json.loads(await client.whole())
    assert (client.status, body["error"]) == (status, code)
    assert set(body) == {"error", "detail"}
    assert body["detail"]
    assert client.header("content-type") == "application/json"
    assert client.header("cache-control") == "no-store, no-transform"
    assert client.header("x-content-type-options") == "nosniff"
    assert client.header("vary") == "Origin"
    assert client.header("www-authenticate") is None
    assert client.header("allow") == ("GET, HEAD, OPTIONS" if status == 405 else None)
    assert int(client.header("content-length")) == len(client.body())
    if status in (429, 503):
        assert int(client.header("retry-after")) >= 1
    else:
        assert client.header("retry-after") is None
    assert client.header("access-control-allow-origin") == (ORIGIN if own_origin else None)
    assert middleware.figures()["refusals"] == {code: 1}
    assert middleware.app.calls == []
    assert holds(middleware) == before
    if settings.get("authorize") is not fails:  # which is no fault of the client's
        assert [record for record in caplog.records if record.exc_info] == []


class Length:
    """Stands in for so many bytes of a header, and lets nobody look at them."""

    def __init__(self, length):
        self._length = length

    def __len__(self):
        return self._length


@pytest.mark.parametrize("name", [b"cookie", b"host", b"origin", b"x-forwarded-for", b"last-event-id"])
async def test_what_is_too_long_is_not_looked_at(edge, asgi, name):
    """Twenty megabytes of a header cost what a look at their length costs: nothing else is done with them."""
    middleware = edge(trusted_proxies=["127.0.0.1"])
    client = asgi(middleware, "/events/me", extra={"headers": [(name, Length(20_000_000))]})
    body = json.loads(await client.whole())
    assert (client.status, body["error"]) == (400, "bad-request")
    assert "20000000 bytes" in body["detail"]
    assert middleware.figures()["refusals"] == {"bad-request": 1}
    assert holds(middleware) == NOTHING


PAGE, FOREIGN = (b"origin", b"https://app.example.com"), (b"origin", b"https://evil.example.com")


@pytest.mark.parametrize(
    ("headers", "query", "allowed"),
    [
        ([(b"cookie", Length(20_000)), PAGE], b"", True),
        ([PAGE, (b"last-event-id", Length(9000))], b"", True),
        ([PAGE], Length(9000), True),
        ([PAGE, (b"host", Length(9000))], b"", True),
        ([(b"cookie", Length(20_000)), FOREIGN], b"", False),
        ([(b"cookie", Length(20_000)), PAGE, FOREIGN], b"", False),
        ([(b"cookie", Length(20_000))], b"", False),
        ([(b"origin", Length(9000))], b"", False),
        ([PAGE, (b"origin", Length(9000))], b"", False),
        ([PAGE, *[(b"x", b"")] * 600], b"", False),  # no page can send as many
    ],
)
async def test_a_page_reads_what_was_too_long(edge, asgi, headers, query, allowed):
    """A refusal by length has the headers that any other has, as far as what they go by is short."""
    middleware = edge(origins=["https://app.example.com"])
    client = asgi(middleware, "/events/me", extra={"headers": headers, "query_string": query})
    assert json.loads(await client.whole())["error"] == "bad-request"
    assert client.header("access-control-allow-origin") == (PAGE[1].decode() if allowed else None)
    assert client.header("vary") == "Origin"


@pytest.mark.parametrize(
    ("method", "headers", "version", "status", "closed"),
    [
        ("GET", {"content-length": "5"}, "1.1", 400, "close"),
        ("GET", {"transfer-encoding": "chunked"}, "1.1", 400, "close"),
        ("HEAD", {"content-length": "5"}, "1.1", 400, "close"),
        ("OPTIONS", {"content-length": "5"}, "1.0", 400, "close"),
        ("POST", {"content-length": "5"}, "1.1", 405, "close"),
        ("GET", {"content-length": "5"}, "2.0", 400, "close"),
        ("GET", {"content-length": "5"}, "0.9", 400, "close"),
        ("GET", {"content-length": "5", "cookie": Length(20_000)}, "1.1", 400, "close"),
        ("GET", {"content-length": "5"}, "2", 400, None),
        ("POST", {"content-length": "0"}, "1.1", 405, None),
        ("GET", {"content-length": "0"}, "1.1", 401, None),
    ],
)
async def test_a_body_is_not_read(edge, asgi, method, headers, version, status, closed):
    """A request with a body is refused by its head; over HTTP/1 its connection ends with the answer.

    What still comes is dropped until the client has had the time to take the answer.
    """
    pairs = [
        (name.encode(), value if isinstance(value, Length) else value.encode())
        for name, value in headers.items()
    ]

    async def receive():
        dropped.append(client.status)
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

    async def app(scope, _, send):
        await middleware(scope, receive, send)

    middleware, dropped = edge(), []
    client = asgi(app, "/events/me", method=method, extra={"headers": pairs, "http_version": version})
    await client.whole()
    assert (client.status, client.header("connection")) == (status, closed)
    assert dropped == ([status] * 3 if closed else [])


@pytest.mark.parametrize(
    "last", [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]
)
async def test_a_body_that_ends(edge, asgi, last):
    """Whoever has sent all of its body is not waited for, and neither is who leaves."""

    async def receive():
        return last

    async def app(scope, _, send):
        await middleware(scope, receive, send)

    middleware = edge()
    client = asgi(app, "/events/me", extra={"headers": [(b"content-length", b"5")]})
    async with asyncio.timeout(LINGER * 0.8):
        await client.whole()
    assert client.status == 400


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_body_that_nobody_announced(edge, asgi, spec_version):
    """HTTP/2 need not tell of a body beforehand: its first byte ends the stream; little more is asked for."""
    middleware = edge()
    body = asyncio.Event()
    asked = 0

    async def app(scope, receive, send):
        async def receiving():
            nonlocal asked
            asked += 1
            if asked == 1:
                return {"type": "http.request", "body": b"", "more_body": True}
            await body.wait()
            return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

        await middleware(scope, receiving, send)

    client = asgi(app, "/events/me", headers=cookie(), spec_version=spec_version)
    await client.wait_for(b"\nid: ")
    body.set()
    await client.whole()
    assert asked < 10
    assert middleware.figures()["endings"] == {"client-gone": 1}
    assert holds(middleware) == NOTHING


async def test_refusals_are_counted_by_code(edge, asgi):
    """Figures count each code by itself."""
    middleware = edge()
    for path, headers in [("/events/x", {}), ("/events/me", {}), ("/events/me", TAMPERED), ("/events/y", {})]:
        await asgi(middleware, path, headers=headers).whole()
    assert middleware.figures()["refusals"] == {"not-found": 2, "unauthenticated": 2}


async def test_a_proxy_that_asks_whether_the_process_is_there(edge, asgi, caplog):
    """Where never is a stream a proxy is told so, each second: uncounted, without a line, Redis or none."""
    caplog.set_level(logging.INFO)
    middleware = edge(backend=RedisBackend("redis://127.0.0.1:1/0", timeout=0.2))
    client = asgi(middleware, "/events/.")
    assert (json.loads(await client.whole())["error"], client.status) == ("not-found", 404)
    assert middleware.figures()["refusals"] == {}
    assert "refused:" not in caplog.text
    await asgi(
        middleware, "/events/.", headers={"x-forwarded-for": "192.0.2.1"}
    ).whole()  # somebody's behind it
    assert middleware.figures()["refusals"] == {"not-found": 1}
    assert "refused: not-found" in caplog.text
