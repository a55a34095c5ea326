"""Publishing over HTTP: who may, what is taken, and what is said of everything else."""

import asyncio
import json
import logging

import pytest

from sse_edge import (
    ConfigError,
    Identity,
    Limits,
    MemoryBackend,
    Publisher,
    PublishError,
    PublishToken,
    SignedCookie,
    SSEMiddleware,
    publishing,
)
from sse_edge.admission import publish_gate
from sse_edge.event import MAX_EVENT_BYTES
from sse_edge.submission import MAX_BODY, MAX_EVENTS

SECRET = "a secret of the tests"
AUTH, TOKENS = SignedCookie(SECRET), PublishToken(SECRET)
EVERYTHING = TOKENS.issue(["*"], name="tests")
ORDERS = TOKENS.issue(["order:*", "news"], name="billing")
KIND = ("content-type", "application/json")
COOKIE = {"cookie": f"session={AUTH.issue('u42', ['*'])}"}
HI = {"channel": "news", "data": "hi"}


async def inner(scope, receive, send):
    """The app below answers everything that the edge does not."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"inner"})


def make(**options):
    """An edge that publishes, and does not listen yet."""
    settings = {
        "backend": MemoryBackend(),
        "auth": AUTH,
        "channels": {"/events/orders/{id}": "order:{id}", "/events/news": "news"},
        "publish_path": "/publish",
        "publish_auth": TOKENS,
    }
    return SSEMiddleware(inner, **(settings | options))


@pytest.fixture
async def edge():
    async with make() as edge:
        yield edge


@pytest.fixture
def post(asgi):
    """``await post(edge, body, …)``: the client, once its answer is whole, which is its ``json``."""

    async def ask(edge, body=HI, *, token=EVERYTHING, headers=(KIND,), path="/publish", **options):
        if not isinstance(body, bytes) and not (isinstance(body, list) and body and _is_piece(body[0])):
            body = json.dumps(body).encode()
        given = [*headers, *([("authorization", f"Bearer {token}")] if token else [])]
        client = asgi(edge, path, headers=given, body=body, **{"method": "POST"} | options)
        await client.whole()
        client.json = json.loads(client.body() or b"null")
        return client

    return ask


def _is_piece(value):
    return isinstance(value, bytes) or value is None


async def recent(edge, channel, count=10):
    """(name, data) of what was published."""
    events = await Publisher(edge.backend).recent(channel, count)
    return [(event.event, event.data) for event in events]


# ---- What is published


async def test_one(post, edge, asgi):
    """One event is published, a stream hears it, and its id is the answer, which nobody may keep."""
    stream = asgi(edge, "/events/orders/7", headers=COOKIE)
    await stream.wait_for(b"\nid: ")
    answer = await post(edge, {"channel": "order:7", "event": "status", "data": "<b>é</b>\nshipped"})
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.header("cache-control") == "no-store, no-transform"
    assert answer.header("access-control-allow-origin") is None
    heard = await stream.wait_for(b"data: shipped\n\n")
    expected = f"id: {answer.json['id']}\nevent: status\ndata: <b>é</b>\ndata: shipped\n\n"
    assert heard.endswith(expected.encode())
    assert list(answer.json) == ["id"]


@pytest.mark.parametrize(
    ("given", "data"),
    [
        ({"json": {"a": [1, 2.5, None, True, "é"]}}, '{"a":[1,2.5,null,true,"é"]}'),
        ({"json": None}, "null"),
        ({"json": 12345678901234567890123}, "12345678901234567890123"),
        ({"json": [10**4299, -(10**4299)]}, f"[{10**4299},-{10**4299}]"),
        ({"data": "a", "except_user": None, "finish": True}, "a"),
        ({"data": ""}, ""),
        ({"data": "\U0001f600\u2028"}, "\U0001f600\u2028"),
        ({"data": "a", "event": None, "dedupe_key": None, "finish": False}, "a"),
    ],
)
async def test_data_and_json(post, edge, given, data):
    """Text as it is, and anything else as compact JSON; null is as good as absent."""
    assert (await post(edge, {"channel": "news", **given})).status == 200
    assert await recent(edge, "news") == [("message", data)]


async def test_a_list(post, edge):
    """Several events are published in their order, and the answer has their ids in the same."""
    events = [{"channel": f"order:{n % 2}", "data": str(n)} for n in range(6)]
    answer = await post(edge, events)
    assert [len(answer.json), len(set(answer.json["ids"]))] == [1, 6]
    assert await recent(edge, "order:0") == [("message", "0"), ("message", "2"), ("message", "4")]
    assert answer.json["ids"] == sorted(answer.json["ids"])
    assert (await post(edge, [])).json == {"ids": []}
    assert list((await post(edge, [HI])).json) == ["ids"]


async def test_everybody_but_one(post, edge, asgi):
    """Who is named does not hear it, and others do."""
    streams = [
        asgi(edge, "/events/news", headers={"cookie": f"session={AUTH.issue(user, ['*'])}"})
        for user in ("u1", "u2")
    ]
    for stream in streams:
        await stream.wait_for(b"\nid: ")
    assert (await post(edge, [{**HI, "except_user": "u1"}, {**HI, "data": "all"}])).status == 200
    heard = [await stream.wait_for(b"data: all\n\n") for stream in streams]
    assert [b"data: hi\n" in each for each in heard] == [False, True]


async def test_once_for_a_dedupe_key(post, edge):
    """Repeated with the same key it is published once, and the answer is the same."""
    event = {**HI, "dedupe_key": "k1"}
    first, again = await post(edge, event), await post(edge, [event, {**HI, "data": "x"}])
    assert first.json["id"] == again.json["ids"][0]
    assert await recent(edge, "news") == [("message", "hi"), ("message", "x")]


async def test_finish(post, edge):
    """The last event of a channel; another one is a conflict, of which is said what is out."""
    assert (await post(edge, {**HI, "finish": True})).status == 200
    answer = await post(edge, HI)
    assert (answer.status, answer.json) == (
        409,
        {
            "error": "finished",
            "detail": "channel 'news' has had its last event",
            "may_have_happened": False,
            "published": [],
        },
    )
    answer = await post(edge, [{"channel": "order:1", "data": "x"}, HI])
    assert (answer.status, len(answer.json["published"])) == (409, 1)


@pytest.mark.parametrize(
    "pieces",
    [[b'{"chan', b'nel": "news",', b"", b'"data": "hi"}'], [b'{"channel": "news", "data": "hi"}', b""]],
)
async def test_a_body_in_pieces(post, edge, pieces):
    """However it comes."""
    assert (await post(edge, pieces)).status == 200
    assert await recent(edge, "news") == [("message", "hi")]


async def test_a_thousand_at_once(post, edge):
    """Requests at the same time are each answered with an id of their own."""
    answers = await asyncio.gather(*(post(edge, {"channel": "news", "data": str(n)}) for n in range(1000)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["id"] for answer in answers}) == 1000
    assert edge.figures()["publishes"] == {"published": 1000}


async def test_while_draining(post, edge):
    """Who publishes is served to the last: it is the streams that move."""
    await edge.drain(0)
    assert (await post(edge)).status == 200


async def test_below_a_mount_point(post, edge):
    """Where the app is mounted, its path is below that."""
    assert (await post(edge, root_path="/site")).status == 200


@pytest.mark.parametrize("path", ["/publish/", "/publish/x", "/publishx", "/Publish", "/x/publish"])
async def test_other_paths_are_the_apps(asgi, edge, path):
    """The path is answered, and nothing beside or below it."""
    client = asgi(edge, path, method="POST")
    await client.whole()
    assert client.status == 299


async def test_off_by_default(asgi):
    """Without a path the app has it, whatever auth was given."""
    async with make(publish_path=None) as edge:
        client = asgi(edge, "/publish", method="POST")
        await client.whole()
    assert client.status == 299


# ---- What is refused


BAD = [
    (b"", "body", "body: is empty (got '0 bytes')"),
    (b"{", "body", "body: is not JSON: "),
    (b"\xff", "body", "body: is not UTF-8 (got 'byte 0')"),
    (b'"\xff"', "body", "body: is not UTF-8 (got 'byte 1')"),
    ('{"channel": "news", "data": "x"}'.encode("utf-16"), "body", "body: is not UTF-8"),
    (b"\xef\xbb\xbf{}", "body", "body: is not JSON: "),
    (b"{} {}", "body", "body: is not JSON: Extra data"),
    (b"1", "body", "body: must be an object or a list of objects (got 'a value of type number')"),
    (b"null", "body", "body: must be an object or a list of objects (got 'a value of type null')"),
    (b'{"channel": "news", "json": NaN}', "body", "body: is not JSON: it has no NaN"),
    (b'{"channel": "news", "json": [-Infinity]}', "body", "body: is not JSON: it has no -Infinity"),
    (b'{"channel": "news", "json": 1e400}', "json", "json: cannot be written as JSON"),
    (b'{"channel": "a", "channel": "news", "data": ""}', "body", "body: has a name twice in one object"),
    (
        b'{"channel": "news", "json": {"k": 1, "k": 1}}',
        "body",
        "body: has a name twice in one object (got 'k')",
    ),
    (b'{"channel": "news", "json": %s}' % (b"[" * 100_000), "body", "body: is nested too deeply"),
    (
        b'{"channel": "news", "json": %s}' % (b"9" * 4301),
        "body",
        "body: has a whole number of more than 4300 digits (got ",
    ),
    (b'{"channel": "news", "data": "\\ud800"}', "data", "data: has a lone surrogate"),
    (b'{"channel": "news", "json": "\\ud800"}', "json", "json: has a lone surrogate"),
    (b'{"channel": "news", "json": {"\\udfff": 1}}', "json", "json: has a lone surrogate"),
    ({"channel": "news", "json": "x" * MAX_EVENT_BYTES}, "json", "json: the event is larger than 262144"),
    (
        {**HI, "finish": True, "except_user": "u1"},
        "except_user",
        "except_user: everybody hears a channel's last",
    ),
    ({"data": "x"}, "channel", "channel: must be a non-empty string (got '')"),
    ({"channel": 5, "data": "x"}, "channel", "channel: must be a non-empty string (got 5)"),
    ({"channel": "x" * 257, "data": "x"}, "channel", "channel: has at most 256 characters"),
    (
        {"channel": "\x01control", "data": "x"},
        "channel",
        "channel: has at most 256 characters and no control",
    ),
    ({"channel": "news"}, "data", "data: give either data or json, and only one of them"),
    ({**HI, "json": 1}, "data", "data: give either data or json, and only one of them"),
    ({"channel": "news", "data": None}, "data", "data: must be text; pass json=… for anything else"),
    ({"channel": "news", "data": 5}, "data", "data: must be text"),
    (
        {"channel": "news", "data": "x" * MAX_EVENT_BYTES},
        "data",
        "data: the event is larger than 262144 bytes",
    ),
    ({**HI, "event": "a\nb"}, "event", "event: must not contain CR, LF or NUL"),
    ({**HI, "event": 5}, "event", "event: must be text (got 5)"),
    ({**HI, "event": "error"}, "event", "event: error and open are EventSource's own events"),
    ({**HI, "event": "edge-close"}, "event", "event: edge-… are the edge's own events"),
    ({**HI, "dedupe_key": ""}, "dedupe_key", "dedupe_key: must be text of 1 to 256"),
    ({**HI, "dedupe_key": 5}, "dedupe_key", "dedupe_key: must be text of 1 to 256"),
    ({**HI, "except_user": ""}, "except_user", "except_user: must be text of 1 to 1,024 characters"),
    ({**HI, "finish": 1}, "finish", "finish: must be true or false (got 1)"),
    ({**HI, "finish": None}, "finish", "finish: must be true or false (got None)"),
    ({**HI, "chanel": "x"}, "body", "body: has a field that is none of channel, event, data"),
    ({**HI, "id": "5-1"}, "body", "body: has a field that is none of channel, event, data"),
]


@pytest.mark.parametrize(("body", "field", "detail"), BAD)
async def test_a_bad_request(post, edge, body, field, detail):
    """What cannot be published is refused by field and value, as everywhere; of data its type is said."""
    answer = await post(edge, body)
    assert (answer.status, answer.json["error"], answer.json["field"]) == (400, "bad-request", field)
    assert answer.json["detail"].startswith(detail)
    assert len(answer.body()) < 1000
    assert "index" not in answer.json


@pytest.mark.parametrize(("body", "field", "detail"), [each for each in BAD if isinstance(each[0], dict)])
async def test_a_list_is_all_checked_before_anything_is_published(post, edge, body, field, detail):
    """Nothing is out, and the answer says which one it is."""
    answer = await post(edge, [HI, HI, body, {}])
    assert (answer.status, answer.json["field"], answer.json["index"]) == (400, field, 2)
    assert answer.json["detail"].startswith(detail)
    assert await recent(edge, "news") == []


async def test_a_list_of_lists(post, edge):
    """An event is an object."""
    answer = await post(edge, [[HI]])
    assert answer.json["detail"].endswith("(got 'a value of type list')")


@pytest.mark.parametrize(
    ("body", "index"),
    [
        ({"channel": "user:7", "data": "x"}, None),
        ([HI, {"channel": "user:7", "data": "x"}], 1),
        ({"channel": "xorder:7", "data": "x"}, None),
        ({"channel": "news:more", "data": "x"}, None),
    ],
)
async def test_a_channel_that_the_token_is_not_good_for(post, edge, body, index):
    """Nothing of a list is out then."""
    answer = await post(edge, body, token=ORDERS)
    assert (answer.status, answer.json["error"], answer.json["field"]) == (403, "forbidden", "channel")
    assert answer.json.get("index") == index
    assert await recent(edge, "news") == []
    assert (await post(edge, {"channel": "order:7", "data": "x"}, token=ORDERS)).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"])
async def test_other_methods(asgi, edge, method):
    """Only POST is answered; no preflight says yes."""
    headers = {"origin": "http://testserver", "access-control-request-method": "POST"}
    client = asgi(edge, "/publish", method=method, headers=headers)
    await client.whole()
    assert (client.status, client.header("allow")) == (405, "POST")
    assert not [name for name, _ in client.headers if name.startswith(b"access-control")]


@pytest.mark.parametrize(
    "header",
    [
        ("origin", "http://testserver"),
        ("origin", "null"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-site", "cross-site"),
    ],
)
async def test_browsers(post, edge, header):
    """A page publishes nothing, be it of this site: a token has no place in a browser."""
    answer = await post(edge, headers=[KIND, header])
    assert (answer.status, answer.json["error"]) == (403, "origin")


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ([], 401, "unauthenticated"),
        ([("authorization", "")], 401, "unauthenticated"),
        ([("authorization", "Bearer")], 401, "unauthenticated"),
        ([("authorization", "Bearer ")], 401, "unauthenticated"),
        ([("authorization", f"Basic {EVERYTHING}")], 401, "unauthenticated"),
        ([("authorization", EVERYTHING)], 401, "unauthenticated"),
        ([("authorization", f"Bearer {EVERYTHING}x")], 401, "unauthenticated"),
        ([("authorization", f"Bearer {EVERYTHING} {EVERYTHING}")], 401, "unauthenticated"),
        ([("authorization", f"Bearer {AUTH.issue('u42', ['*'])}")], 401, "unauthenticated"),
        ([("authorization", "Bearer \xff\xfe")], 401, "unauthenticated"),
        ([("cookie", f"session={EVERYTHING}")], 401, "unauthenticated"),
        ([("x-token", EVERYTHING)], 401, "unauthenticated"),
        ([("authorization", f"Bearer {EVERYTHING}")] * 2, 400, "bad-request"),
        ([("authorization", f"Bearer {'x' * 9000}")], 400, "bad-request"),
        ([("authorization", f"bearer {EVERYTHING}")], 200, None),
        ([("authorization", f" BEARER  {EVERYTHING} ")], 200, None),
    ],
)
async def test_tokens(post, edge, headers, status, error):
    """One header says the token, and nothing else does: no query, no cookie, no body."""
    answer = await post(edge, token=None, headers=[KIND, *headers], query=f"access_token={EVERYTHING}")
    assert (answer.status, answer.json.get("error")) == (status, error)
    assert answer.header("www-authenticate") == ("Bearer" if status == 401 else None)
    assert EVERYTHING not in answer.body().decode()


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ([("content-type", "application/json")], True),
        ([("content-type", "Application/JSON; charset=UTF-8")], True),
        ([("content-type", 'application/json;charset="utf-8"')], True),
        ([("content-type", "application/json; charset=utf-8; profile=x")], True),
        ([], False),
        ([("content-type", "")], False),
        ([("content-type", "text/plain")], False),
        ([("content-type", "application/x-www-form-urlencoded")], False),
        ([("content-type", "application/json-patch+json")], False),
        ([("content-type", "application/json; charset=utf-16")], False),
        ([("content-type", "application/json; charset=latin-1")], False),
        ([("content-type", "application/json"), ("content-type", "text/plain")], False),
        ([("content-type", "application/json"), ("content-encoding", "gzip")], False),
    ],
)
async def test_content_types(post, edge, headers, taken):
    """JSON in UTF-8, as it is: what a form or a link can send is none."""
    answer = await post(edge, headers=headers)
    assert answer.status == (200 if taken else 415)
    assert taken or answer.json["error"] == "media-type"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ([b"[", b" " * MAX_BODY, None], [KIND]),
        ([b" " * (MAX_BODY + 1), None], [KIND]),
        ([None], [KIND, ("content-length", str(MAX_BODY + 1))]),
        ([None], [KIND, ("content-length", "9" * 30)]),
        ([*[b"x" * 1000] * 1100], [KIND]),
    ],
    ids=["pieces", "one piece", "announced", "announced absurdly", "many"],
)
async def test_too_large(post, edge, monkeypatch, body, headers):
    """More is refused as soon as it is known, and no more of it is read."""
    monkeypatch.setattr("sse_edge.asgi.LINGER", 0.01)
    answer = await post(edge, body, headers=headers)
    assert (answer.status, answer.json["error"]) == (413, "too-large")
    assert await recent(edge, "news") == []


async def test_too_many(post, edge):
    """A list has a length that goes out in one step."""
    answer = await post(edge, [HI] * (MAX_EVENTS + 1))
    assert (answer.status, answer.json["field"]) == (400, "body")
    assert answer.json["detail"] == "body: has more than 500 events (got '501 events')"


async def test_as_large_as_may_be(post, edge):
    """All that is allowed at once is taken."""
    events = [HI] * MAX_EVENTS
    body = json.dumps(events).encode()
    assert len((await post(edge, body + b" " * (MAX_BODY - len(body)))).json["ids"]) == MAX_EVENTS


async def test_a_body_that_does_not_come(post, edge, monkeypatch):
    """It is waited for, and not for ever; the connection is closed, for what comes later is no request."""
    monkeypatch.setattr(publishing, "BODY_TIME", 0.05)
    monkeypatch.setattr("sse_edge.asgi.LINGER", 0.01)
    answer = await post(edge, [b"[", None], headers=[KIND, ("transfer-encoding", "chunked")])
    assert (answer.status, answer.json["error"], answer.header("connection")) == (408, "too-slow", "close")


async def test_a_client_that_leaves_in_mid_body(asgi, edge):
    """Nothing of it is published, and nobody is answered."""
    headers = [KIND, ("authorization", f"Bearer {EVERYTHING}")]
    client = asgi(edge, "/publish", method="POST", headers=headers, body=[json.dumps(HI).encode(), None])
    client.open()
    await asyncio.sleep(0)
    client.disconnect()
    await client.ended()
    assert client.status is None
    assert await recent(edge, "news") == []
    assert edge.figures()["publishes"] == {"client-gone": 1}


# ---- Rates


async def test_a_rate_for_each_token(post):
    """A token that is used too often waits, and no other does; the answer says how long."""
    async with make(limits=Limits(publishes="3/minute")) as edge:
        assert [(await post(edge)).status for _ in range(4)] == [200, 200, 200, 429]
        answer = await post(edge)
        assert answer.json["error"] == "connect-rate"
        assert 1 <= int(answer.header("retry-after")) <= 61
        assert (await post(edge, token=ORDERS)).status == 200
    async with make(limits=Limits(publishes=None)) as edge:
        assert {(await post(edge)).status for _ in range(20)} == {200}


async def test_guessing_costs(post):
    """After some wrong tokens none from that address is looked at, but one that was good before."""
    looked_at = []

    class Counts:
        def verify(self, token, now):
            looked_at.append(token)
            return TOKENS.verify(token, now)

    settings = {"limits": Limits(connects_per_ip="5/minute"), "trusted_proxies": ["127.0.0.1/32"]}
    async with make(publish_auth=Counts(), **settings) as edge:
        here, there = [KIND, ("x-forwarded-for", "192.0.2.1")], [KIND, ("x-forwarded-for", "192.0.2.2")]
        assert (await post(edge, headers=here)).status == 200
        guesses = [(await post(edge, token=f"guess-{n}", headers=here)).status for n in range(8)]
        assert guesses == [401] * 5 + [429] * 3
        assert looked_at[1:] == [f"guess-{n}" for n in range(6)]
        assert (await post(edge, token=ORDERS, headers=here)).status == 429
        assert (await post(edge, headers=here)).status == 200
        assert (await post(edge, token=ORDERS, headers=there)).status == 200


async def test_how_much_is_known_of_who_guesses(post, monkeypatch):
    """A bounded number of addresses, so that nobody fills a worker's memory with more of them."""
    monkeypatch.setattr(publish_gate, "_REMEMBERED", 3)
    settings = {"limits": Limits(connects_per_ip="1/minute"), "trusted_proxies": ["127.0.0.1/32"]}
    async with make(**settings) as edge:
        for n in range(10):
            headers = [KIND, ("x-forwarded-for", f"192.0.2.{n}")]
            assert [(await post(edge, token="x", headers=headers)).status for _ in range(2)] == [401, 429]
        gate = edge._publishing._gate
        assert list(gate._shut) == [f"192.0.2.{n}" for n in (7, 8, 9)]
        for n in range(5):
            await post(edge, token=TOKENS.issue([f"{n}:*"]))
        assert len(gate._good) == 3


async def test_who_guesses_is_a_client_like_any(post, asgi):
    """A wrong token counts as an attempt to connect, so that trying both gains nothing."""
    async with make(limits=Limits(connects_per_ip="2/minute")) as edge:
        assert [(await post(edge, token="x")).status for _ in range(2)] == [401, 401]
        stream = asgi(edge, "/events/news", headers=COOKIE)
        await stream.whole()
        assert stream.status == 429


# ---- Failures


class Fails:
    """A verifier that cannot say."""

    def verify(self, token, now):
        raise OSError("no database")


class SaysAnything:
    """A verifier whose author thought that a text would do."""

    def verify(self, token, now):
        return "order:*"


@pytest.mark.parametrize("auth", [Fails(), SaysAnything()])
async def test_a_verifier_that_fails(post, caplog, auth):
    """Nobody is let in, and the log says why."""
    async with make(publish_auth=auth) as edge:
        answer = await post(edge)
    assert (answer.status, answer.json["error"]) == (503, "backend-down")
    assert "publish_auth failed to verify a token" in caplog.text
    assert EVERYTHING not in caplog.text


class OwnTokens:
    """A token per tenant, kept by the application."""

    async def verify(self, token, now):
        known = {
            "t1": ["order:*"],
            "t2": Identity("shop", ["news"]),
            "t3": Identity("old", ["*"], expires=now - 1),
        }
        return known.get(token)


@pytest.mark.parametrize(
    ("token", "channel", "status"),
    [
        ("t1", "order:7", 200),
        ("t1", "news", 403),
        ("t2", "news", 200),
        ("t3", "news", 401),
        ("t4", "news", 401),
    ],
)
async def test_tokens_of_ones_own(post, token, channel, status):
    """Any object that says which channels a token is good for."""
    async with make(publish_auth=OwnTokens()) as edge:
        assert (await post(edge, {"channel": channel, "data": "x"}, token=token)).status == status


async def test_without_history(post):
    """What history is needed for is refused by its field; all else goes out, without an id."""
    async with make(backend=MemoryBackend(history=0)) as edge:
        assert (await post(edge)).json == {"id": ""}
        answer = await post(edge, {**HI, "dedupe_key": "k"})
        assert (answer.status, answer.json["field"]) == (400, "dedupe_key")
        answer = await post(edge, [HI, {**HI, "finish": True}])
        assert (answer.status, answer.json["field"]) == (400, "channel")


async def test_a_publish_that_is_not_confirmed(post, edge, monkeypatch, caplog):
    """The answer says what is out, and whether more may be; why is for the log."""
    error = PublishError("Redis: no answer", may_have_happened=True, published=["5-1.a"])

    async def publish(events):
        raise error

    monkeypatch.setattr(edge.backend, "publish", publish)
    with caplog.at_level(logging.INFO, "sse_edge.access"):
        answer = await post(edge, [HI, HI], token=ORDERS)
    assert (answer.status, answer.header("retry-after")) == (503, "5")
    assert answer.json == {
        "error": "backend-down",
        "detail": "the event source did not confirm it",
        "may_have_happened": True,
        "published": ["5-1.a"],
    }
    assert "backend-down (the event source did not confirm it: Redis: no answer), user=billing" in caplog.text


async def test_what_is_said_of_refusals(post, edge, caplog):
    """Each is counted, and logged with whose token it was, without token or events."""
    with caplog.at_level(logging.DEBUG, "sse_edge.access"):
        await post(edge, token=f"{EVERYTHING}x")
        await post(edge, {**HI, "dedupe_key": "mine\n"}, token=ORDERS)
        await post(edge, {"channel": "user:7", "data": "mine"}, token=ORDERS)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == (
        '"POST /publish" refused: unauthenticated (this token is not valid, or no longer), '
        "user=- address=127.0.0.1"
    )
    assert lines[1].startswith('"POST /publish" refused: bad-request (dedupe_key: must be text of 1 to 256')
    assert lines[2].endswith("user=billing address=127.0.0.1")
    assert "mine" not in caplog.text
    assert edge.figures()["publishes"] == {"unauthenticated": 1, "bad-request": 1, "forbidden": 1}
    assert edge.figures()["refusals"] == {}


async def test_metrics(post, asgi):
    """Requests to publish are a metric of their own, by what came of them."""
    async with make(status_path="/status") as edge:
        assert [(await post(edge, body)).status for body in (HI, HI, {})] == [200, 200, 400]
        metrics = asgi(edge, "/status/metrics")
        lines = (await metrics.whole()).decode().splitlines()
    assert 'sse_edge_publishes_total{outcome="published"} 2.0' in lines
    assert 'sse_edge_publishes_total{outcome="bad-request"} 1.0' in lines
    refusals = [line for line in lines if line.startswith("sse_edge_refusals_total")]
    assert refusals
    assert all(line.endswith(" 0.0") for line in refusals)


# ---- Settings


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("publish_auth", {"publish_auth": None}),
        ("publish_auth", {"publish_auth": AUTH}),
        ("publish_auth", {"publish_path": None, "publish_auth": AUTH}),
        ("publish_path", {"publish_path": "publish"}),
        ("publish_path", {"publish_path": "/publish/"}),
        ("publish_path", {"publish_path": "/"}),
        ("publish_path", {"publish_path": 5}),
        ("publish_path", {"publish_path": "/events"}),
        ("publish_path", {"publish_path": "/events/publish"}),
        ("path", {"path": "/publish/events", "channels": {"/publish/events/me": "user:{user}"}}),
        ("publish_path", {"status_path": "/status", "publish_path": "/status/publish"}),
        ("status_path", {"status_path": "/publish/status"}),
        ("status_path", {"status_path": "/events/status"}),
        ("publish_path", {"status_path": "/publish"}),
    ],
)
def test_refused_settings(field, settings):
    """What cannot work is refused at construction: no auth, and paths of which only one would be answered."""
    with pytest.raises(ConfigError) as caught:
        make(**settings)
    assert caught.value.field == field


def test_paths_that_only_look_alike():
    """Side by side they may be."""
    make(publish_path="/eventspublish", status_path="/events-status")
