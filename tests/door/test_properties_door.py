"""Whatever a client asks and a publisher says, a stream has what it should have and not a line more.

The whole middleware in this process, without a server in front that would refuse half of it.
"""

import asyncio
import json
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from litestar import Litestar
from litestar import asgi as litestar_asgi
from litestar.types import Receive, Scope, Send

from parts.hostile import CHANNEL, HEADER, JSON, LINE, RETRY, TEXT, latin, lines, looking_at
from servers.asgi import ASGIClient
from servers.sse import Decoder, Received
from sse_edge import Event, Limits, MemoryBackend, Publisher, SignedCookie, SSEMiddleware
from sse_edge.errors import EventError
from sse_edge.event import EventId, Place
from sse_edge.outcome import REFUSALS

AUTH = SignedCookie("a secret of the tests")
CHANNELS = {"/events/me": ["user:{user}", "news"], "/events/orders/{order_id}": "order:{order_id}"}
OWNED = {"order:7", "order:é", "order:a b", "order:%41"}
OTHERS = [
    "user:eve",
    "user:U42",
    "order:8",
    "order:e\u0301",
    "order:É",
    "order:A",
    "order:77",
    "order:7 ",
    "secret",
]
COOKIE = ("cookie", f"session={AUTH.issue('u42', ['order:9*'])}")
KEPT = 4
"""Events of a channel that history has."""


async def _owns(identity, channel):
    return channel in OWNED


class Visit(NamedTuple):
    """What came of a request: ``channels`` are its stream's, ``end`` is the id of the last event on it."""

    status: int
    headers: list
    body: bytes
    channels: frozenset
    end: str


class Door:
    """An edge and its publisher, with a loop of their own that runs for as long as somebody asks."""

    def __init__(self, runner, **settings):
        self.run = runner.run
        self.backend = MemoryBackend(history=KEPT, history_ttl=3600)
        self.publisher = Publisher(self.backend)
        settings = {"auth": AUTH, "channels": CHANNELS, "authorize": _owns, **settings}
        self.edge = SSEMiddleware(backend=self.backend, **settings)
        self.told = 0
        self.run(self.edge.start())

    def close(self):
        self.run(self.edge.stop())

    def visit(self, path="/events/me", *, say=lambda: None, app=None, **options):
        """Ask, let ``say`` publish to the open stream, and hear it up to an end of its own.

        ``app``: one that the edge is mounted in.
        """
        return self.run(self._visit(path, say, options, app))

    async def _visit(self, path, say, options, app=None):
        client = ASGIClient(app or self.edge, path, **options)
        async with client:
            await client.start()
            channels, end = frozenset(), ""
            if client.status == 200 and client.scope["method"] == "GET" and not client.complete:
                (stream,) = self.edge._worker.hub.streams
                channels = frozenset(stream.channels)
                said = say()
                if said is not None:
                    await said
                self.told += 1
                end = await self.publisher.publish(stream.channels[0], f"end {self.told}")
                await client.wait_for(b"data: end %d\n\n" % self.told)
                client.disconnect()
            await client.ended()
        return Visit(client.status, client.headers, client.body(), channels, end)


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def door(runner):
    """An edge that everybody may ask as often as they like, behind a proxy that it trusts."""
    door = Door(runner, limits=Limits(None, None, None, None), trusted_proxies=["127.0.0.1"])
    yield door
    door.close()


@pytest.fixture(scope="module")
def full(runner):
    """An edge that refuses everybody for the rest of the day."""
    door = Door(runner, limits=Limits(connects_per_ip="1/day"), refusals="stream")
    assert door.visit(headers=[COOKIE]).status == 200
    yield door
    door.close()


def heard(visit):
    """The events of a visit, its last one left out."""
    decoder = Decoder()
    *events, last = decoder.feed(visit.body)
    assert last.data.startswith("end ")
    assert last.id == visit.end
    assert not decoder.pending
    return decoder, events


# Paths

TRICKS = """
/ // /. /.. /./ /../ \\ %5c %2f %2F %252f %2e %2e%2e %2e%2e%2f %252e%252e ..;/ ;/ ; ;x=1 . .. ... %c0%af
%c0%ae %e0%80%af %00 %0a %0d %09 %20 + %7f %80 %ff %fe%ff %ef%bb%bf %e2%80%a8 %e2%80%8b %c2%a0 %u002f %u0037
%% %4 %zz % ~ # ? & = * %2a ** ?x=/ me Me %6d%65 %256d%65 orders ORDERS order%73 events /events/ /events/me
/events/orders/ 7 8 9 %37 %2537 %38 77 07 +7 7.0 7%00 %EF%BC%97 %D9%A7 %C2%B2 %C3%A9 %c3%a9 e%CC%81 %C3%89
%e9 a%20b a+b %41 %2541 A a user eve u42 user:eve user%3Aeve news secret : %3A {user} {order_id} %7Buser%7D
{0} {user.__class__} {user!r} %s order:7 order:8 , 7,8 [7] [] ' "
"""
BELOW = ["/events/orders/", "/events/", "/events/me", "/events/orders/7", "/", "/EVENTS/", "//events/"]
PATHS = st.tuples(
    st.sampled_from(BELOW),
    st.lists(st.sampled_from(TRICKS.split()) | st.binary(max_size=3).map(quote), max_size=4).map("".join),
).map("".join)


def stands_for(path):
    """The channels that a path names, and whether u42 may hear them, written down again."""
    match path.split("/"):
        case ["", "events", "me"]:
            return {"user:u42", "news"}, True
        case ["", "events", "orders", order] if order:
            return {f"order:{order}"}, f"order:{order}" in OWNED or order.startswith("9")
    return set(), False


def check_path(door, raw, root="", app=None):
    """That a path leads to the channels that its letters say, once decoded, and who may hear those."""

    async def tell_the_others():
        for channel in {*OTHERS, *OWNED} - named:
            await door.publisher.publish(channel, "canary")

    path = unquote(raw)  # what servers do
    named, may = stands_for(root + path if root == "/events" else path)
    visit = door.visit(path, say=tell_the_others, app=app, root_path=root, headers=[COOKIE])
    assert b"canary" not in visit.body
    if visit.status == 200:
        assert (visit.channels, may) == (named, True)
    else:
        assert visit.status in (400, 403, 404)
        assert not may or re.search(r"[^a-z0-9é/]", path)


@pytest.mark.parametrize("below", BELOW)
def test_no_trick_of_a_path_reaches_another_channel(door, below):
    """Each of a hundred spellings, at each place, names the channel that it spells and no other."""
    for trick in ["", *TRICKS.split()]:
        check_path(door, below + trick)


@looking_at(200)
@given(raw=PATHS, root=st.sampled_from(["", "/app", "/events"]))
def test_no_spelling_of_a_path_reaches_another_channel(door, raw, root):
    """Nor does any run of them, below any mount point; one like the edge's own path is a part of it."""
    check_path(door, raw, root)


@looking_at(200)
@given(raw=PATHS)
def test_no_spelling_reaches_another_channel_through_litestar(door, raw):
    """Nor where Litestar has made the path plain, taken its beginning off, and put a slash behind it."""

    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        await door.edge(scope, receive, send)

    check_path(door, raw, app=Litestar([litestar_asgi("/events", is_mount=True, copy_scope=False)(mounted)]))


# Requests

NAMES = st.sampled_from(
    """
    last-event-id cookie origin host accept sec-fetch-site sec-fetch-mode x-forwarded-for x-forwarded-proto
    forwarded authorization user-agent referer content-length transfer-encoding upgrade x-original-url range
    """.split()  # noqa: SIM905
)
VALUES = (
    st.sampled_from(
        ["1-1.abcde", "http://testserver", "https://evil.net", "text/event-stream", "same-origin"]
    )
    | st.sampled_from(
        [COOKIE[1], "a\r\nid: 9-9.abcde", "\n\ndata: injected\n\n", "navigate", "\0", "x" * 5000, ";" * 500]
    )
    | HEADER
)
REQUESTS = {
    "headers": st.lists(st.tuples(NAMES, VALUES), max_size=4),
    "query": st.sampled_from(
        ["", "last_event_id=1-1.a%0Aid:%209", "lastEventId=%0d%0a%0d%0adata:x", "&" * 200]
    )
    | st.binary(max_size=20),
    "path": st.sampled_from(
        ["/events/me", "/events/orders/7", "/events/orders/a\r\n\r\nid: 9", "/events/x\ndata: y"]
    )
    | HEADER.map("/events/orders/".__add__),
    "method": st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "get", "GET\r\nid: 9"]),
    "scheme": st.sampled_from(["http", "https"]),
}
LINE_OF_A_STREAM = re.compile(
    rb"|: stream open|retry: [0-9]+|id: [0-9]+-[0-9]+\.[a-z]{5}"
    rb'|event: edge-(position|reset|refused)|data: (\{(".*)?\}|end [0-9]+)'
)
CODES = {refusal.code for refusal in REFUSALS}


def check_answer(visit):
    """What holds for every answer, whatever was asked."""
    for name, value in visit.headers:
        assert re.fullmatch(rb"[a-z-]+", name)
        assert re.fullmatch(rb"[\x20-\x7e]*", value)
    if dict(visit.headers).get(b"content-type") == b"text/event-stream; charset=utf-8":
        for line in re.split(rb"\r\n|\r|\n", visit.body):
            assert LINE_OF_A_STREAM.fullmatch(line), line
    elif visit.status >= 400 and visit.body:
        said = json.loads(visit.body)
        assert said.keys() == {"error", "detail"}
        assert said["error"] in CODES
    else:
        assert visit.body == b""


@looking_at(200)
@given(request=st.fixed_dictionaries(REQUESTS), signed_in=st.booleans())
def test_no_request_puts_a_line_into_a_stream(door, request, signed_in):
    """Path, query, headers and cookies may be anything: a stream has the lines of the edge and its events."""
    if signed_in:
        request["headers"].append(COOKIE)
    visit = door.visit(**request)
    check_answer(visit)
    if visit.channels:
        _, events = heard(visit)
        assert {event.event for event in events} <= {"edge-reset"}
        assert {json.loads(event.data)["channel"] for event in events} <= visit.channels


@looking_at(150)
@given(request=st.fixed_dictionaries(REQUESTS))
def test_no_request_puts_a_line_into_a_refusal(full, request):
    """The same where a refusal is said as a stream."""
    visit = full.visit(**request)
    check_answer(visit)
    assert not visit.channels
    if visit.status == 200 and visit.body:
        (event,) = Decoder().feed(visit.body)
        assert (event.event, json.loads(event.data)["error"], event.id) == (
            "edge-refused",
            "connect-rate",
            "",
        )


# What is published

FIELDS = {"event": st.none() | LINE, "id": st.none() | st.none() | LINE, "retry": RETRY}
CONTENT = st.tuples(st.just("data"), TEXT) | st.tuples(st.just("json"), JSON | TEXT)


@looking_at(200)
@given(
    channel=st.sampled_from(["news", "user:u42"]) | CHANNEL,
    content=CONTENT,
    fields=st.fixed_dictionaries(FIELDS),
    whole=st.booleans(),
)
@example(
    "news",
    ("data", "a\r\nid: 9\n\nevent: edge-close\rdata: x"),
    {"event": None, "id": None, "retry": 5},
    True,
)
def test_no_publisher_adds_a_line(door, channel, content, fields, whole):
    """Whatever is published is one event with the id that it was given, or it is refused and nothing is."""
    told = []

    async def publish():
        kind, value = content
        try:
            if whole:
                id = await door.publisher.publish(channel, Event(**{kind: value}, **fields))
            else:
                id = await door.publisher.publish(channel, **{kind: value}, event=fields["event"])
        except EventError:
            return
        text = (
            lines(value) if kind == "data" else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        )
        told.append(Received(fields["event"] or "message", text, id))

    visit = door.visit(say=publish, headers=[COOKIE])
    decoder, events = heard(visit)
    assert events == (told if channel in visit.channels else [])
    assert decoder.comments == ["stream open"]
    assert decoder.commits == [*decoder.commits[:1], *(event.id for event in events), visit.end]


# Cursors


class Past(Door):
    """A door that remembers what was published: ``published`` are places and data by channel."""

    def __init__(self, runner):
        super().__init__(runner, limits=Limits(None, None, None, None))
        self.birth = self.run(self.publisher._backend.cursor()).id
        self.published = {"news": [], "user:u42": []}

    def tell(self, channel):
        """Publish something new."""
        data = f"{channel} {len(self.published[channel])}"
        self.note(channel, self.run(self.publisher.publish(channel, data)), data)

    def note(self, channel, id, data):
        """Remember what was published otherwise."""
        self.published[channel].append((Place.parse(id), data))


@pytest.fixture(scope="module")
def past(runner):
    door = Past(runner)
    yield door
    door.close()


def _mangled(place):
    """A place that was given out, and others that look like it."""
    id, tag = place.id, place.tag
    return [
        *[str(place)] * 6,
        f"{id.ms}-{id.n + 1}.{tag}",
        f"{id.ms}-{max(0, id.n - 1)}.{tag}",
        f"{id.ms}-0.{tag}",
        f"{id.ms + 1}-0.{tag}",
        f"{id.ms - 1}-{id.n}.{tag}",
        f"{id.ms + 10**10}-1.{tag}",
        f"0-0.{tag}",
        f"{'9' * 15}-{'9' * 15}.{tag}",
        f"{id.ms}-{id.n}.{tag[::-1]}x",
        f"{id.ms}-{id.n}.{tag.upper()}",
        f"{id.ms}-{id.n}.{tag} ",
        f" {place}",
        f"0{place}",
        f"{place}\n",
        f"{place}\r\nid: 9",
        f"{place}, {place}",
        f"{id.ms}-{id.n}",
        f"{id.ms}",
        f"-{place}",
        f"{id.ms}-{id.n}.",
        f"{str(place)[:-1]}",
        f"{place}\0",
        f"{place}" + "a" * 300,
        "",
    ]


OURS = re.compile(r"(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})\.[a-z0-9]{1,64}")
KINDS = len(_mangled(Place(EventId(5, 1), "abcde")))
CURSORS = (
    st.tuples(st.integers(0, 12), st.integers(0, KINDS - 1))
    | st.integers(0, 12).map(lambda back: (back, 0))
    | LINE
)


@looking_at(250)
@given(
    cursors=st.lists(CURSORS, min_size=1, max_size=2),
    way=st.sampled_from(["header", "header", "last_event_id", "lastEventId", "lastEventID"]),
)
@example([(KEPT, 0)], "header")
@example([(2 * KEPT + 3, 0)], "header")
@example(["*"], "last_event_id")
def test_every_cursor_is_a_resume_or_a_reset(past, cursors, way):
    """Whatever is sent as Last-Event-ID, what came after it is heard, or it is said that something is not."""
    for channel in ("news", "user:u42", "user:u42"):
        past.tell(channel)
    known = sorted(place for told in past.published.values() for place, _ in told)
    sent = [
        cursor if isinstance(cursor, str) else _mangled(known[-1 - cursor[0] % len(known)])[cursor[1]]
        for cursor in cursors
    ]
    if way == "header":
        sent = [latin(text) for text in sent]
        visit = past.visit(headers=[COOKIE, *(("last-event-id", text) for text in sent)])
    else:
        sent = [text.encode("utf-8", "replace").decode() for text in sent]
        visit = past.visit(headers=[COOKIE], query="&".join(f"{way}={quote(text)}" for text in sent))
    assert visit.status == 200
    given = set(filter(None, sent))
    ours = sorted(Place.parse(text) for text in given if OURS.fullmatch(text))
    newest = str(ours[-1]) if ours and len({place.tag for place in ours}) == 1 else "several"
    text = newest if way != "header" and len(ours) == len(given) > 1 else "several"
    check_resumed(past, text if len(given) > 1 else given.pop() if given else "", known[-1], visit)
    if visit.end:
        past.note("user:u42", visit.end, f"end {past.told}")


def check_resumed(past, text, newest, visit):
    """That a visit with the cursor ``text`` heard what came after it, or that something is missing."""
    _, events = heard(visit)
    resets = {json.loads(event.data)["channel"] for event in events if event.event == "edge-reset"}
    replayed = [(event.id, event.data) for event in events if event.event == "message"]
    assert len(replayed) + len(resets) == len(events)
    ours = re.fullmatch(rf"(0|[1-9][0-9]{{0,14}})-(0|[1-9][0-9]{{0,14}})\.{newest.tag}", text)
    if not text:
        assert events == []
    elif not ours:
        assert (resets, replayed) == (visit.channels, [])
    else:
        after = EventId(int(ours[1]), int(ours[2]))
        expected = []
        for channel, told in past.published.items():
            missed = [(place, data) for place, data in told if place.id > after]
            if channel in resets:
                assert len(missed) > KEPT or after > newest.id or after < past.birth
            else:
                expected += missed
        assert replayed == [(str(place), data) for place, data in sorted(expected)]


# Addresses

FORWARDED = st.lists(
    st.tuples(st.sampled_from(["x-forwarded-for", "forwarded", "x-real-ip"]), VALUES), max_size=3
)


@pytest.fixture(scope="module")
def held(runner):
    """An edge that holds one stream for each address, and holds one for 192.0.2.1 behind its proxy."""
    door = Door(runner, limits=Limits(None, 1, None, None), trusted_proxies=["10.0.0.0/8"], refusals="status")
    client = ASGIClient(door.edge, "/events/me", headers=[COOKIE], client=("192.0.2.1", 5))
    door.run(client.start())
    assert client.status == 200
    yield door
    client.disconnect()
    door.run(client.ended())
    door.close()


@looking_at(150)
@given(headers=FORWARDED, direct=st.booleans())
@example([("x-forwarded-for", "x" * 5000), ("x-forwarded-for", "x" * 5000)], False)
def test_no_header_is_a_way_around_the_cap(held, headers, direct):
    """A client that has its stream gets no second one, whatever it says of itself, directly or by a proxy."""
    peer = "192.0.2.1"
    if not direct:
        headers = [*headers, ("x-forwarded-for", "192.0.2.1")]
        peer = "10.0.0.1"
    visit = held.visit(headers=[COOKIE, *headers], client=(peer, 5))
    refused = (visit.status, json.loads(visit.body)["error"])
    assert refused == (429, "ip-limit") or (refused == (400, "bad-request") and len(str(headers)) > 8192)
