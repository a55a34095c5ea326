"""Bytes, as a fuzzer makes them, for each oracle."""

import re
import time

from parts.hostile import PIECES

from . import oracles

FIRST = 0.5
"""Seconds of this processor that any input may take."""

EACH_BYTE = 20e-6
"""Seconds that every byte of it may take in addition: several times what it does, far below its square."""


def encoder(data):
    """Text, name, id and retry, then those of the next event, with 0xFF between them; the first byte cuts."""
    cuts, *fields = data[:1], *data[1:].split(b"\xff")
    texts = [field.decode("utf-8", "surrogateescape") for field in fields]
    events = []
    for at in range(0, len(texts), 4):
        text, event, id, retry = [*texts[at : at + 4], None, None, None][:4]
        number = int(retry) if retry and re.fullmatch("-?[0-9]{1,30}", retry, re.ASCII) else None
        events.append({"data": text, "event": event, "id": id, "retry": number})
    oracles.check_events(events, [max(1, *cuts)] if cuts else oracles.ALL_AT_ONCE)


def cookie(data):
    """The value of a cookie, and a whole Cookie header."""
    text = data.decode("latin-1")
    oracles.check_cookie(f"session={text}")
    oracles.check_cookie(text)


def session(data):
    """A cookie of a framework's, a whole Cookie header, an Authorization, and what somebody has signed."""
    text = data.decode("latin-1")
    for name in ("session", "sessionid", "live"):
        oracles.check_session(f"{name}={text}")
    oracles.check_session(text)
    oracles.check_token(text)
    oracles.check_token(f"Bearer {text}")
    oracles.check_signed(data)


def forwarded(data):
    """A header on each line."""
    values = data.decode("latin-1").split("\n")
    for peer in ("127.0.0.1", None):
        oracles.check_client(values, "192.0.2.1", peer)
    oracles.check_client(values, "2001:db8:0:1:2::3", "10.0.0.1")


def envelope(data):
    """What was heard on a channel of Redis."""
    oracles.check_message(data)


def body(data):
    """What somebody with a token asks to have published."""
    oracles.check_submission(data)


def id(data):
    """What should be an id."""
    oracles.check_place(data.decode("latin-1"))
    oracles.check_place(data.decode("utf-8", "replace"))


def query(data):
    """A query string; the same as a Last-Event-ID; and a header on each line."""
    text = data.decode("latin-1")
    oracles.check_cursor([], data)
    oracles.check_cursor([text], data)
    oracles.check_cursor(text.split("\n"))


TARGETS = {each.__name__: each for each in (encoder, cookie, session, forwarded, envelope, body, id, query)}

_TEXTS = [piece.encode() for piece in PIECES]
_PLACES = [
    "5-1.abcde",
    "1700000000000-12.k3k3k",
    f"{'9' * 15}-0.{'z' * 64}",
    "0-0.a",
    "05-1.abcde",
    "5-1",
    "5-1.ABCDE",
]
SEEDS = {
    "encoder": [b"\x03a\r\nb\xffname\xff5-1.abcde\xff1000\xffsecond", *[b"\x01%b" % text for text in _TEXTS]],
    "cookie": [oracles.VALUE.encode(), f"a=b; session={oracles.VALUE}; session=x".encode(), b"..", b"=;;=,"],
    "session": [
        *[value.encode() for value in oracles.SIGNED.values()],
        b"eyJ1c2VyX2lkIjoidTQyIiwic2lkIjp7IiBkIjoieCJ9fQ",
        b".eJyrViotTi2Kz0xRslIqNTFSqgUAOWAGBQ",
        b'{"sub": "u42", "exp": 1700000600, "sid": 1}',
        b'"\\054\\"a:1:b"',
        b"a.b.c, Bearer a.b.c",
    ],
    "forwarded": [
        b"192.0.2.1, 10.0.0.1",
        b'unknown, "[2001:db8::1]:443", 1.2.3.4:80',
        b"for=1.2.3.4;proto=https\n::ffff:127.0.0.1, fe80::1%eth0",
        b"10.0.0.1," * 40,
        b"2001:db8:ffff::1%z,::1,[::1],[::1]:1,0x7f.1,1.2.3.4:99999",
    ],
    "envelope": [
        b"seal 5-1 4-2\nevent: e\nretry: 5\ndata: a\ndata: b\n\n",
        b"seal - -\ndata: a\n\n",
        b"seal 5-1 -\ndata: a\rid: 9\n\n",
        b'{"event": "e", "data": "a\\nid: 9"}',
        b'{"event_type": "e", "data": {"a": [1, null, true, 1e400, "\\ud800"]}}',
        b'{"data": "\xc3\xa9", "id": "9", "retry": 1}',
        '{"data": "\u2028"}'.encode("utf-16-le"),
    ],
    "body": [
        b'{"channel": "news", "event": "e", "data": "a\\rid: 9", "dedupe_key": "k", "finish": true}',
        b'[{"channel": "order:7", "json": {"a": [1, null, true, 1e400, "\\ud800"]}}]',
        b'[{"channel": "news", "json": [1e5, -0.0, {}]}, {"channel": "user:7", "data": ""}]',
        b'{"channel": "news", "channel": "news", "data": NaN}',
        '{"channel": "news", "data": "\u2028\U0001f600"}'.encode(),
    ],
    "id": [place.encode() for place in _PLACES],
    "query": [
        *[place.encode() for place in _PLACES],
        b"last_event_id=5-1.abcde",
        b"lastEventId=5%2D1.abcde&last_event_id=5-1.abcde",
        b"last_event_id=5-1.abcde%0Aid:%209&x=%FF&&=&a;b",
        b"a=1&" * 101,
    ],
}
"""What each begins with."""

SHAPES = [b"%b" % piece for piece in _TEXTS if piece]
SHAPES += [
    b"data: a\n",
    b"1.2.3.4,",
    b"[::1],",
    b"a=b;",
    b"session=a.b.c;",
    b"&a",
    b"%0a",
    b"[",
    b'{"data":',
    b"\xff",
    b"a\xff",
]
"""What an input is made long of, to see that time grows with length and no faster."""


def play(name, data):
    """One input, which may take as long as its length allows.  Raises AssertionError."""
    began = time.thread_time()
    TARGETS[name](data)
    spent = time.thread_time() - began
    assert spent < FIRST + EACH_BYTE * len(data), f"{len(data)} bytes took {spent:.2f} s"
