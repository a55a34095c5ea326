"""What holds for everything that reads what a stranger sent; each raises AssertionError where it does not."""

import asyncio
import atexit
import functools
import ipaddress
import json
import re
from urllib.parse import unquote_plus

import jwt

from parts.hostile import lines, pieces
from servers.sse import Decoder, Received
from sse_edge.admission.address import TrustedProxies
from sse_edge.admission.claims import Claims
from sse_edge.admission.cookies import Anonymous, SignedCookie
from sse_edge.admission.gate import Admission, Gate
from sse_edge.admission.limits import Limits
from sse_edge.admission.origin import OriginPolicy
from sse_edge.admission.routes import Routes
from sse_edge.admission.sessions import django, flask, starlette
from sse_edge.admission.sessions.signed import SignedSessions
from sse_edge.asgi import Request
from sse_edge.backends.memory import MemoryBackend
from sse_edge.backends.redis.announcement import parse
from sse_edge.cookies import DjangoCookie, DjangoSession, FlaskSession, StarletteSession
from sse_edge.errors import EventError, FieldError
from sse_edge.event import MAX_EVENT_BYTES, NOWHERE, Event, EventId, Place
from sse_edge.identity import Identity
from sse_edge.outcome import Refusal
from sse_edge.posting import submission
from sse_edge.tokens import BearerJWT

ALL_AT_ONCE = (1 << 30,)


def read(wire, cuts=ALL_AT_ONCE, last_event_id=""):
    """What a browser makes of some bytes that come in pieces; nothing may be left unfinished."""
    decoder = Decoder(last_event_id)
    events = [event for piece in pieces(wire, cuts) for event in decoder.feed(piece)]
    assert not decoder.pending
    return decoder, events


# Events


def accepted(data, event=None, id=None, retry=None):
    """The event, or None: then it has something that cannot be sent."""
    try:
        return Event(data, event=event, id=id, retry=retry)
    except EventError:
        event, id = event or "", id or ""
        assert (
            any("\ud800" <= letter <= "\udfff" for letter in data + event + id)
            or re.search("[\r\n\0]", event + id)
            or event in ("error", "open")
            or event.startswith("edge-")
            or not 0 <= (retry or 0) < 2**31
            or len(f"{data}{event}{id}".encode()) + len(lines(data).split("\n")) * 7 + 40 > MAX_EVENT_BYTES
        )
        return None


def check_events(fields, cuts=ALL_AT_ONCE):
    """Of events with these fields, one after the other, each accepted one arrives as it was given."""
    events = [event for each in fields if (event := accepted(**each))]
    decoder, heard = read(b"".join(event.encode() for event in events), cuts)
    expected, id = [], ""
    for event in events:
        id = id if event.id is None else event.id
        expected.append(Received(event.event or "message", lines(event.data), id))
    assert heard == expected
    retries = [event.retry for event in events if event.retry is not None]
    assert decoder.retry == (retries[-1] if retries else None)
    assert decoder.comments == []


def check_message(payload):
    """A message from Redis is one event without an id and with no name of the edge's, or none."""
    try:
        announcement = parse(payload)
    except EventError:
        return
    body, user = announcement.body, announcement.except_user
    assert user is None or (user and not payload.startswith(b"{"))
    decoder, heard = read(b"id: 7-7.abcde\n" + body)
    [(name, _, id)] = heard
    assert name not in ("open", "error")
    assert not name.startswith("edge-")
    assert id == "7-7.abcde"
    assert decoder.commits == ["7-7.abcde"]
    assert decoder.comments == []
    if payload.startswith(b"{"):
        assert decoder.retry is None


def check_submission(body):
    """What is asked to be published is events for channels that were allowed, or it is refused."""
    taken = submission.read(body, ("news", "order:*"))
    if isinstance(taken, Refusal):
        assert (taken.code, taken.status) in (("bad-request", 400), ("forbidden", 403))
        assert json.loads(taken.body())["error"] == taken.code
        return
    for event in taken.events:
        assert event.channel == "news" or event.channel.startswith("order:")
        decoder, heard = read(b"id: 7-7.abcde\n" + event.body)
        [(name, _, id)] = heard
        assert name not in ("open", "error")
        assert not name.startswith("edge-")
        assert (id, decoder.retry) == ("7-7.abcde", None)


# Places


def check_place(text):
    """There is one way to write a place and an id; whatever else is sent is none."""
    for kind in (Place, EventId):
        try:
            read = kind.parse(text)
        except ValueError:
            continue
        assert str(read) == text


# Cookies

NOW = 1_700_000_000
SECRET = "properties are kept by this secret"
AUTH = SignedCookie(SECRET, max_age=600)
VALUE = AUTH.issue("u42", ["order:*"], session="s1", now=NOW)
WHO = Identity("u42", ("order:*",), "s1", NOW + 600)


def request(*headers, query=b"", peer=None):
    """A request with these headers."""
    given = tuple((name.encode(), value.encode("latin-1")) for name, value in headers)
    return Request("GET", "/events", given, query, peer=peer)


def check_cookie(header):
    """A Cookie header is nobody's, or has the one cookie that was issued, as it was issued."""
    pairs = [pair.partition("=") for pair in header.split(";")]
    values = [value.strip(" \t") for name, _, value in pairs if name.strip(" \t") == "session"]
    assert AUTH.identify(request(("cookie", header)), NOW) == (WHO if VALUE in values else None)


FOREIGN = {
    starlette.FORMAT: ("session", StarletteSession(SECRET, max_age=600)),
    flask.FORMAT: ("session", FlaskSession(SECRET, max_age=600)),
    django.FORMAT: ("sessionid", DjangoSession(SECRET, "user_id", max_age=600)),
}
SESSIONS = {
    form: SignedSessions(form, [SECRET.encode()], Claims("user_id", "sid", None), name, 600)
    for form, (name, _) in FOREIGN.items()
}
SIGNED = {form: each.sign({"user_id": "u42", "sid": "s1"}, NOW) for form, each in SESSIONS.items()}
PLAIN = DjangoCookie(SECRET, "live", max_age=600)
TOKENS = BearerJWT(SECRET, algorithms=["HS256"], weak_secret=True)


def check_session(header):
    """A Cookie header is nobody's, or has the session that the framework signed, as it was signed."""
    asked = request(("cookie", header))
    for form, (name, auth) in FOREIGN.items():
        found = auth.identify(asked, NOW)
        assert found is None or (found.user == "u42" and f"{name}={SIGNED[form]}" in header.replace(" ", ""))
    assert PLAIN.identify(asked, NOW) is None


def check_signed(content):
    """Whatever a framework has signed, or somebody with its secret, says who it is, or nobody."""
    for form, (name, auth) in FOREIGN.items():
        by = form.separator.encode()
        signed = content + by + form.stamp(NOW)
        value = signed + by + form.signers(SECRET.encode())[0].get_signature(signed)
        _check_claims(auth, ("cookie", f"{name}={value.decode('latin-1')}"))
    token = jwt.PyJWS().encode(content, SECRET)
    _check_claims(TOKENS, ("authorization", f"Bearer {token}"))


def check_token(header):
    """Nobody without the secret is anybody."""
    assert TOKENS.identify(request(("authorization", header)), NOW) is None


def _check_claims(auth, header):
    try:
        found = auth.identify(request(header), NOW)
    except (TypeError, FieldError):  # an application that names users by what cannot
        return
    assert found is None or (found.user and found.session != "" and found.expires > NOW)


# Addresses

PROXIES = TrustedProxies(["127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48", "unix"])


def key_of(address):
    """What limits count a client by, written down again."""
    address = ipaddress.ip_address(address)
    address = (address.version == 6 and address.ipv4_mapped) or address
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))


def check_client(values, client, peer):
    """Whatever X-Forwarded-For has, ``client`` is counted by the address that a trusted proxy adds for it."""
    headers = [("x-forwarded-for", value) for value in values]
    for added in ([("x-forwarded-for", client)], [("x-forwarded-for", ", ".join([*values[-1:], client]))]):
        assert PROXIES.client(request(*headers, *added, peer=peer)) == key_of(client)
    assert PROXIES.client(request(*headers, peer=client)) == key_of(client)
    forged = request(*headers, *[("x-forwarded-proto", value) for value in values], peer=peer)
    assert 0 < len(PROXIES.client(forged)) <= 64
    assert PROXIES.scheme(forged) in ("http", "https")


# Cursors

_GATE = Gate(
    auth=Anonymous(["news"]),
    routes=Routes("/events", {"/events": "news"}, anonymous=True),
    origin=OriginPolicy(),
    proxies=TrustedProxies(),
    limits=Limits(None, None, None, None),
    leases=MemoryBackend().leases(),
)


@functools.cache
def _runner():
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner


def check_cursor(headers, query=b""):
    """Last-Event-ID headers and a query string are a place as it was sent, or none, or NOWHERE."""
    asked = request(*[("last-event-id", value) for value in headers], query=query)
    answer = _runner().run(_GATE.admit(asked, NOW, streams=0, draining=False))
    assert isinstance(answer, Admission)
    given = [value for value in headers if value]
    cursor = answer.cursor
    if given:
        assert cursor == NOWHERE or str(cursor) in given
    elif cursor is not None and cursor != NOWHERE:
        assert str(cursor) in unquote_plus(query.decode("latin-1"))
