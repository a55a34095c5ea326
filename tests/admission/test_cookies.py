import hashlib
import itertools
import json
import re
import string
import time
import zlib

import pytest
from itsdangerous import Signer, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import base64_encode

from servers.sse import get
from sse_edge.admission.cookies import Anonymous, SignedCookie
from sse_edge.asgi import Request
from sse_edge.errors import ConfigError, FieldError
from sse_edge.identity import Identity

NOW = 1_700_000_000.0
END = int(NOW) + 600
SECRET = "a secret of the tests"
OLD, NEW = "an older secret of the tests", "a newer secret of the tests"
KINDS = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def asking(*values, name="session"):
    """A request with these cookies."""
    return Request("GET", "/events", tuple((b"cookie", f"{name}={v}".encode("latin-1")) for v in values))


def signed(payload, *, now=NOW, raw=False):
    """A cookie with a good signature over any payload, made by itsdangerous alone."""
    signer = TimestampSigner(SECRET, "sse_edge.session:session", **KINDS)
    signer.get_timestamp = lambda: int(now)
    return signer.sign(payload if raw else base64_encode(json.dumps(payload).encode())).decode()


def test_there_and_back():
    """Who a cookie was issued to is who it identifies, until it expires."""
    auth = SignedCookie(SECRET, max_age=600)
    value = auth.issue("u42", ["order:*", "news"], session="s1", now=NOW)
    assert auth.identify(asking(value), NOW) == Identity("u42", ("order:*", "news"), "s1", NOW + 600)


@pytest.mark.parametrize("user", ["u", "é 😀", "a;b,c=d\"e'", "x" * 256, " "])
def test_any_readable_user(user):
    """A user name of any readable text fits into a cookie, whose value stays plain ASCII."""
    auth = SignedCookie(SECRET)
    value = auth.issue(user, now=NOW)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", value)
    assert auth.identify(asking(value), NOW).user == user


def test_every_session_has_its_own_name():
    """Sessions are told apart by 128 random bits."""
    auth = SignedCookie(SECRET)
    sessions = {auth.identify(asking(auth.issue("u", now=NOW)), NOW).session for _ in range(50)}
    assert len(sessions) == 50
    assert min(map(len, sessions)) >= 22


def test_issue_takes_the_time_of_day():
    """Without a time a cookie is valid from now."""
    auth = SignedCookie(SECRET, max_age=60)
    identity = auth.identify(asking(auth.issue("u")), time.time())
    assert identity.expires == pytest.approx(time.time() + 60, abs=5)


@pytest.mark.parametrize(
    ("later", "valid"),
    [(0, True), (599, True), (600, False), (10**9, False), (-60, True), (-61, False), (-(10**9), False)],
)
def test_age(later, valid):
    """A cookie is good for max_age seconds, and from at most a minute before it was issued."""
    auth = SignedCookie(SECRET, max_age=600)
    value = auth.issue("u", now=NOW)
    assert (auth.identify(asking(value), NOW + later) is not None) is valid


@pytest.mark.parametrize(
    ("signed_for", "read_for", "ends"),
    [(600, 600, 600), (600, 6000, 600), (600, 60, 60), (600, 0.5, 0.5), (90.5, 90.5, 90.5), (1, 1e9, 1)],
)
def test_the_end_is_signed(signed_for, read_for, ends):
    """A longer max_age later brings no session back, and a shorter one ends those that there are."""
    value = SignedCookie(SECRET, max_age=signed_for).issue("u", now=NOW)
    auth = SignedCookie(SECRET, max_age=read_for)
    assert auth.identify(asking(value), NOW + ends - 0.1).expires == NOW + ends
    for later in (ends, ends + 1, 3600, 86_400):
        assert auth.identify(asking(value), NOW + later) is None


@pytest.mark.parametrize(
    ("issuer", "verifier", "valid"),
    [
        ([OLD], [OLD, NEW], True),
        ([OLD, NEW], [OLD, NEW], True),
        ([OLD, NEW], [NEW], True),
        ([OLD, NEW], [OLD], False),
        ([OLD], [NEW], False),
        (NEW, NEW.encode(), True),
    ],
)
def test_rotation(issuer, verifier, valid):
    """All secrets of the list verify, and the newest, the last, signs."""
    value = SignedCookie(issuer).issue("u", now=NOW)
    assert (SignedCookie(verifier).identify(asking(value), NOW) is not None) is valid


def test_every_change_is_noticed():
    """No bit of a cookie can be changed, and no character be left out."""
    auth = SignedCookie(SECRET)
    value = auth.issue("u42", ["a"], now=NOW)
    for at, old in enumerate(value):
        for new in BASE64 + ".~":
            if new == old:
                continue
            assert auth.identify(asking(value[:at] + new + value[at + 1 :]), NOW) is None
        assert auth.identify(asking(value[:at] + value[at + 1 :]), NOW) is None
        assert auth.identify(asking(value[:at]), NOW) is None


def test_other_purpose_of_the_same_secret():
    """What another part of an application signed with the same secret is no session."""
    for salt in ("password-reset", "sse_edge.session", "sse_edge.session:", "sse_edge.session:other"):
        value = URLSafeTimedSerializer(SECRET, salt, signer_kwargs=KINDS).dumps(["u", "s", [], 2**40])
        assert SignedCookie(SECRET).identify(asking(value), time.time()) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        ".a.b.c",
        "\xff\xfe",
        "é.é.é",
        "=",
        "%00",
        "x" * 5000,
        "." * 4096,
        " ",
    ],
)
def test_garbage(value):
    """What is no cookie of ours identifies nobody and raises nothing."""
    assert SignedCookie(SECRET).identify(asking(value), NOW) is None


def test_no_cookie():
    """A request without the cookie is nobody's, whatever other cookies it has."""
    auth = SignedCookie(SECRET)
    assert auth.identify(Request("GET", "/events"), NOW) is None
    assert auth.identify(asking(auth.issue("u", now=NOW), name="other"), NOW) is None


@pytest.mark.parametrize(
    "payload",
    [
        None,
        1,
        "u",
        [],
        {},
        {"user": "u"},
        ["u"],
        ["u", "s"],
        ["u", "s", []],  # what has no end
        ["u", "s", [], END, 1],
        ["u", "s", [], None],
        ["u", "s", [], str(END)],
        ["u", "s", [], END + 0.5],
        ["u", "s", [], int(NOW)],
        ["u", "s", [], -END],
        ["u", "s", [], True],
        ["u", "s", [], False],
        [None, "s", [], END],
        ["", "s", [], END],
        ["u", None, [], END],
        ["u", "", [], END],
        ["u\n", "s", [], END],
        ["\ud800", "s", [], END],
        ["x" * 257, "s", [], END],
        ["u", "s", "news", END],
        ["u", "s", [1], END],
        ["u", "s", [["news"]], END],
        ["u", "s", [""], END],
        ["u", "s", {"news": 1}, END],
    ],
)
def test_signed_but_odd(payload):
    """A good signature over a payload of another shape identifies nobody."""
    auth = SignedCookie(SECRET)
    assert auth.identify(asking(signed(payload)), NOW) is None


def test_signed_payload_of_the_right_shape():
    """The helper that makes odd payloads makes good ones too, so the table above means something."""
    auth = SignedCookie(SECRET)
    assert auth.identify(asking(signed(["u", "s", ["news"], END])), NOW).user == "u"


GOOD = json.dumps(["u", "s", ["news"], END]).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"!!!",
        base64_encode(b"\xff"),
        b".AAAA",
        base64_encode(b"{"),
        pytest.param(base64_encode(GOOD + b"x"), id="more behind it"),
        pytest.param(base64_encode(GOOD + GOOD), id="twice"),
        pytest.param(base64_encode(b"[" * 2900), id="deeper than Python goes"),
    ],
)
def test_signed_but_unreadable(payload):
    """A good signature over no JSON at all raises nothing."""
    auth = SignedCookie(SECRET)
    assert auth.identify(asking(signed(payload, raw=True)), NOW) is None


def test_long_cookie_is_not_unpacked():
    """A cookie above 4096 bytes is not even verified, and a short one of big content still is."""
    auth = SignedCookie(SECRET)
    packed = b"." + base64_encode(zlib.compress(json.dumps(["u", "s", ["news"] * 500, END]).encode()))
    assert len(auth.identify(asking(signed(packed, raw=True)), NOW).channels) == 500
    patterns = [f"{n:x}" * 8 for n in range(10**5, 10**5 + 200)]
    long = signed(["u", "s", patterns, END])
    assert len(long) > 4096
    assert auth.identify(asking(long), NOW) is None


SPELLINGS = [
    *(
        lambda value, more=more: value + more
        for more in ["=", "==", "*", "~", "\xa0", "\x85", ".", "A", '"', "%00"]
    ),
    *(lambda value, more=more: more + value for more in ["=", "\xa0", ".", "A", '"', "%"]),
    *(lambda value, quote=quote: f"{quote}{value}{quote}" for quote in ['"', '""', "'"]),
    *(lambda value, by=by: value[:-1] + BASE64[BASE64.index(value[-1]) ^ by] for by in (1, 2, 3)),
    lambda value: value[:-10] + "*" + value[-10:],
    lambda value: value[:-10] + "\xa0" + value[-10:],
    lambda value: value[:-10] + " " + value[-10:],
    lambda value: value[:10] + "*" + value[10:],
    lambda value: value.replace(".", "%2E"),
    lambda value: value.replace(".", "..", 1),
    lambda value: value.rpartition(".")[0],
    lambda value: value.replace("_", "/").replace("-", "+") + "/",
    str.upper,
]


def test_one_spelling():
    """Nothing but the very text that was issued is valid, and nothing else is remembered."""
    auth = SignedCookie(SECRET)
    for n in range(50):
        value = auth.issue(f"u{n}", now=NOW)
        for spelt in SPELLINGS:
            assert auth.identify(asking(spelt(value)), NOW) is None, spelt(value)
        assert auth.identify(asking(f"\t {value} "), NOW).user == f"u{n}"  # spaces belong to the header
    assert auth._known.cache_info().currsize == 50


def junk(count):
    """So many cookies that look as good as one can without the secret, each another."""
    value = SignedCookie(NEW).issue("junk", now=NOW)
    return [f"{n:03}{value[3:]}" for n in range(count)]


@pytest.mark.parametrize(
    ("before", "after"), [(1, 0), (3, 0), (4, 0), (100, 0), (200, 0), (0, 200), (100, 100)]
)
@pytest.mark.parametrize("headers", ["one", "each its own"])
def test_junk_hides_nothing(before, after, headers):
    """A good cookie is found among any number of the same name that a sibling domain set."""
    auth = SignedCookie(SECRET)
    values = [*junk(before), auth.issue("u", now=NOW), *junk(after)]
    if headers == "one":
        values = ["; session=".join(values)]
    assert auth.identify(asking(*values), NOW).user == "u"


def test_the_newest_counts():
    """Of several valid cookies the one that was issued last counts, wherever it stands."""
    auth = SignedCookie(SECRET, max_age=600)
    values = [
        auth.issue("older", now=NOW - 500),
        auth.issue("newest", now=NOW - 1),
        auth.issue("to come", now=NOW + 300),
        auth.issue("over", now=NOW - 700),
        "junk",
    ]
    for order in itertools.permutations(values):
        assert auth.identify(asking(*order), NOW).user == "newest"
    one, other = (auth.issue(user, session="s", now=NOW) for user in ("u1", "u2"))
    assert auth.identify(asking(one, other), NOW) == auth.identify(asking(other, one), NOW)


def test_the_name_is_signed():
    """A cookie that was issued under one name is none under another."""
    values = {name: SignedCookie(SECRET, name).issue("u", now=NOW) for name in ("a", "b", "__Host-a", "A")}
    for name in values:
        auth = SignedCookie(SECRET, name)
        for other, value in values.items():
            assert (auth.identify(asking(value, name=name), NOW) is not None) is (name == other)


def test_cookie_of_another_name():
    """The name is the cookie's to choose."""
    auth = SignedCookie(SECRET, "__Host-sse")
    assert auth.identify(asking(auth.issue("u", now=NOW), name="__Host-sse"), NOW).user == "u"


@pytest.mark.parametrize(
    ("settings", "attributes"),
    [
        ({}, "Max-Age=86400; Path=/; HttpOnly; Secure; SameSite=Lax"),
        ({"max_age": 90.5}, "Max-Age=91; Path=/; HttpOnly; Secure; SameSite=Lax"),
        ({"secure": False, "path": "/a"}, "Max-Age=86400; Path=/a; HttpOnly; SameSite=Lax"),
        (
            {"domain": "example.com", "samesite": "None"},
            "Max-Age=86400; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=None",
        ),
    ],
)
def test_set_and_clear_cookie(settings, attributes):
    """The Set-Cookie header has the value and every attribute, and clearing repeats their scope."""
    auth = SignedCookie(SECRET, **settings)
    pair, _, rest = auth.set_cookie("u", ["news"], session="s", now=NOW).partition("; ")
    assert pair == "session=" + auth.issue("u", ["news"], session="s", now=NOW)
    assert rest == attributes
    scope = attributes.partition("; ")[2]
    assert auth.clear_cookie() == f"session=; Max-Age=0; {scope}"


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("user", {"user": ""}),
        ("user", {"user": None}),
        ("user", {"user": 42}),
        ("user", {"user": "a\nb"}),
        ("user", {"user": "a\0"}),
        ("user", {"user": "x" * 257}),
        ("user", {"user": "\ud800"}),
        ("session", {"user": "u", "session": ""}),
        ("session", {"user": "u", "session": 1}),
        ("channels", {"user": "u", "channels": "news"}),
        ("channels", {"user": "u", "channels": None}),
        ("channels", {"user": "u", "channels": [""]}),
        ("channels", {"user": "u", "channels": [1]}),
        ("channels", {"user": "u", "channels": ["a\rb"]}),
        ("channels", {"user": "u", "channels": [f"order:{n * 7919}" for n in range(1000)]}),
    ],
)
def test_issue_refuses(field, arguments):
    """What must not or cannot be in a cookie raises where it is issued, by name."""
    with pytest.raises(FieldError) as caught:
        SignedCookie(SECRET).issue(**arguments)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("secret", {"secret": ""}),
        ("secret", {"secret": b""}),
        ("secret", {"secret": "  "}),
        ("secret", {"secret": []}),
        ("secret", {"secret": [SECRET, ""]}),
        ("secret", {"secret": [SECRET, None]}),
        ("secret", {"secret": "too short"}),
        ("secret", {"secret": [SECRET, "too short"]}),
        ("secret", {"secret": ["too short", SECRET]}),
        ("weak_secret", {"weak_secret": "yes"}),
        ("secret", {"secret": None}),
        ("secret", {"secret": 42}),
        ("name", {"name": ""}),
        ("name", {"name": "a b"}),
        ("name", {"name": "a=b"}),
        ("name", {"name": "a;b"}),
        ("name", {"name": "é"}),
        ("name", {"name": "a\n"}),
        ("name", {"name": None}),
        ("max_age", {"max_age": 0}),
        ("max_age", {"max_age": -1}),
        ("max_age", {"max_age": None}),
        ("max_age", {"max_age": True}),
        ("max_age", {"max_age": "60"}),
        ("max_age", {"max_age": float("inf")}),
        ("max_age", {"max_age": float("nan")}),
        ("path", {"path": ""}),
        ("path", {"path": "a"}),
        ("path", {"path": "/a;b"}),
        ("path", {"path": "/a\r\n"}),
        ("domain", {"domain": ""}),
        ("domain", {"domain": "a;b"}),
        ("domain", {"domain": "https://a"}),
        ("samesite", {"samesite": "lax"}),
        ("samesite", {"samesite": None}),
        ("secure", {"samesite": "None", "secure": False}),
        ("secure", {"name": "__Host-a", "secure": False}),
        ("secure", {"name": "__Secure-a", "secure": False}),
        ("name", {"name": "__Host-a", "path": "/a"}),
        ("name", {"name": "__host-a", "domain": "a"}),
    ],
)
def test_bad_settings(field, settings):
    """A setting that no browser or no attacker would mind being wrong is refused by name."""
    with pytest.raises(ConfigError) as caught:
        SignedCookie(**{"secret": SECRET, **settings})
    assert caught.value.field == field


def test_anonymous():
    """Anonymous lets everybody in as nobody, with the patterns it was given."""
    auth = Anonymous(["news", "public:*"])
    assert auth.identify(Request("GET", "/events"), NOW) == Identity(None, ("news", "public:*"))
    assert Anonymous().identify(Request("GET", "/events"), NOW) == Identity(None)


def test_which_have_users():
    """The routes can ask whether there will be a user."""
    assert Anonymous.anonymous
    assert not SignedCookie.anonymous


@pytest.mark.parametrize("channels", ["news", None, [""], [1], ["a\n"]])
def test_bad_anonymous(channels):
    """Patterns that are none are refused."""
    with pytest.raises(ConfigError, match="channels"):
        Anonymous(channels)


def test_a_verified_cookie_still_expires():
    """That a cookie was verified is remembered, never that it was in time."""
    auth = SignedCookie(SECRET, max_age=100)
    value = auth.issue("u42", now=1000)
    assert auth.identify(asking(value), 1050).user == "u42"
    assert auth.identify(asking(value), 1100) is None
    assert auth.identify(asking(value), 900) is None
    assert auth.identify(asking(value), 1050).user == "u42"


def test_garbage_pushes_no_verified_cookie_out():
    """Thousands of forged cookies cost each their check and nothing that was known."""
    auth = SignedCookie(SECRET, max_age=100)
    value = auth.issue("u42", now=1000)
    auth.identify(asking(value), 1001)
    for n in range(5000):
        assert auth.identify(asking(f"{value}{n}"), 1001) is None
    assert auth._known.cache_info().currsize == 1


@pytest.mark.parametrize("stamp", [b"", b"*", b"A" * 12, b"A" * 400])
def test_a_signature_over_no_time_is_none(stamp):
    """A good signature does not make a session of what has no moment of issue."""
    auth = SignedCookie(SECRET, max_age=100)
    payload = base64_encode(json.dumps(["u42", "s", [], END]).encode())
    value = Signer(SECRET, "sse_edge.session:session", **KINDS).sign(payload + b"." + stamp).decode()
    assert auth.identify(asking(value), NOW) is None


# ---- A real process


async def test_what_a_server_takes_for_a_cookie(serve_app, connect):
    """uvicorn with the middleware: no other spelling, name or order changes who a cookie belongs to."""
    url = serve_app("apps.edge:edge").url + "/events/me"
    auth, value = SignedCookie(SECRET), SignedCookie(SECRET).issue("u42")
    for spelt in SPELLINGS:
        answer = await get(url, headers={"Cookie": f"session={spelt(value)}"})
        assert answer.status == 401, spelt(value)
    other = SignedCookie(SECRET, "other").issue("u42")
    assert (await get(url, headers={"Cookie": f"session={other}; other={other}"})).status == 401
    over = SignedCookie(SECRET, max_age=60).issue("u42", now=time.time() - 61)
    assert (await get(url, headers={"Cookie": f"session={over}"})).status == 401  # what it issues lives a day
    older = auth.issue("somebody", now=time.time() - 5)
    for values in (
        [*junk(60), older, value],
        [value, *junk(60), older],
        [older, value],
        [older, *junk(60), value],
    ):
        stream = await connect(url, headers={"Cookie": "; ".join(f"session={each}" for each in values)})
        assert stream.status == 200
        await get(url.replace("/events/me", "/publish/user:u42"), method="POST", body=b"mine")
        assert (await stream.next()).data == "mine"
