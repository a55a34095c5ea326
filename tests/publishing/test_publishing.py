"""Publishing over HTTP: who may, what is taken, and what is said of everything else."""

import asyncio
import json

import pytest

from parts.posting import AUTH, COOKIE, EVERYTHING, HI, KIND, ORDERS, make, posting, recent
from sse_edge.event import MAX_EVENT_BYTES
from sse_edge.posting import posting as publishing
from sse_edge.posting.submission import MAX_BODY, MAX_EVENTS


@pytest.fixture
async def edge():
    async with make() as edge:
        yield edge


@pytest.fixture
def post(asgi):
    """See ``posting``."""
    return posting(asgi)


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
