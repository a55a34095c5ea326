"""Sessions in signed cookies, which the frameworks themselves have made: which are good."""

import json
import time
import zlib
from base64 import b64encode, urlsafe_b64encode
from secrets import token_urlsafe

import pytest
from itsdangerous import Signer, TimestampSigner, URLSafeTimedSerializer

from apps import issuers
from parts.issued import (
    BASE64,
    FORMATS,
    KINDS,
    NEW,
    OLD,
    SECRET,
    asking,
    each,
    identified,
    made,
    once,
)
from sse_edge import Identity, SignedCookie
from sse_edge.admission.authenticator import is_quick
from sse_edge.admission.revocations import session_life
from sse_edge.asgi import Request


@each
def test_what_the_framework_issues(kind):
    """A session that the framework itself made identifies its user, for as long as the framework takes it."""
    auth, issue, name, age = KINDS[kind]
    now = time.time()
    value = issue({"user_id": "u42", "sid": "s1", "basket": ["é", "😀", None, 1.5, {"a": "b" * 300}]}, SECRET)
    auth = auth(SECRET)
    identity = auth.identify(asking(value, name=name), now)
    assert identity == Identity("u42", (), "s1", identity.expires)
    assert identity.expires == pytest.approx(now + age, abs=2)
    assert auth.max_age == age
    assert session_life(auth) > age
    assert auth.identify(asking(value, name=name), now + age - 2).user == "u42"
    assert auth.identify(asking(value, name=name), now + age + 2) is None
    assert auth.identify(asking(value, name=name), now - 90) is None
    assert is_quick(auth)


@each
@pytest.mark.parametrize(
    ("issuer", "secrets", "valid"),
    [
        (OLD, [OLD, NEW], True),
        (NEW, [OLD, NEW], True),
        (NEW, NEW, True),
        (OLD, NEW, False),
        (OLD, [NEW], False),
    ],
)
def test_rotation(kind, issuer, secrets, valid):
    """All secrets of the list verify."""
    auth, issue, name, _ = KINDS[kind]
    value = issue({"user_id": "u"}, issuer)
    assert (auth(secrets).identify(asking(value, name=name), time.time()) is not None) is valid


@each
def test_signing_in_for_tests(kind):
    """The headers that sign a user in are read as theirs, with the patterns; each is a session of its own."""
    auth = KINDS[kind][0](SECRET, channels="may")
    found = [
        auth.identify(Request("GET", "/", tuple(auth.headers_for("ü:1", ["order:*"]))), time.time())
        for _ in range(2)
    ]
    assert [(each.user, each.channels) for each in found] == [("ü:1", ("order:*",))] * 2
    assert found[0].session != found[1].session


@each
def test_every_change_is_noticed(kind):
    """No character of a cookie can be another one, or be left out; one spelling alone is valid."""
    _, issue, name, _ = KINDS[kind]
    auth = KINDS[kind][0](SECRET)
    value = issue({"user_id": "u42", "x": 1}, SECRET)
    now = time.time()
    assert auth.identify(asking(value, name=name), now) is not None
    for at, old in enumerate(value):
        for new in BASE64 + ".:=~":
            if new != old:
                assert auth.identify(asking(value[:at] + new + value[at + 1 :], name=name), now) is None
        assert auth.identify(asking(value[:at] + value[at + 1 :], name=name), now) is None
        assert auth.identify(asking(value[:at], name=name), now) is None
    for spelt in (
        value + "=",
        f'"{value}"',
        value + ".",
        "." + value,
        value + "\xa0",
        value.replace(".", "%2E"),
    ):
        if spelt != value:
            assert auth.identify(asking(spelt, name=name), now) is None
    inner = auth._kept if kind == "django" else auth
    assert inner._known.cache_info().currsize == 1


@once
def test_signed_for_another_purpose(kind):
    """What the same secret signed with another salt, or for another framework, is no session."""
    said = {"user_id": "u"}
    others = [made(other, said) for other in FORMATS if FORMATS[other] is not FORMATS[kind]]
    others += [
        TimestampSigner(SECRET, b"password-reset").sign(b64encode(json.dumps(said).encode())).decode(),
        URLSafeTimedSerializer(SECRET, "cookie-session").dumps(said),  # not by HMAC's key derivation
        URLSafeTimedSerializer(SECRET, "itsdangerous").dumps(said),
        issuers.django(said, SECRET, salt="django.core.signing"),
        SignedCookie(SECRET).issue("u"),
        Signer(SECRET, salt=b"cookie-session", key_derivation="hmac").sign(b"eyJ1c2VyX2lkIjoidSJ9").decode(),
    ]
    for other in others:
        assert identified(kind, other) is None, other
    assert identified(kind, made(kind, said)).user == "u"


@once
@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        "...",
        ":",
        "::",
        ":::",
        "a.b.c",
        "a:b:c",
        "null",
        "\xff\xfe",
        "=",
        "%00",
        "x" * 5000,
        " ",
    ]
    + [f"{'x' * 20}{by}{'y' * 6}{by}{'z' * size}" for by in ".:" for size in (27, 43)],
)
def test_garbage(kind, value):
    """What nobody signed identifies nobody and raises nothing."""
    assert identified(kind, value) is None


def packed(data):
    return b"." + urlsafe_b64encode(zlib.compress(data)).rstrip(b"=")


@once
@pytest.mark.parametrize("said", [None, 1, "u", [], ["user_id"], [["user_id", "u"]], True, float("nan")])
def test_signed_but_no_session(kind, said):
    """A good signature over what is no session identifies nobody."""
    assert identified(kind, made(kind, said)) is None


@once
@pytest.mark.parametrize(
    "raw",
    [
        b"!!!",
        b"x",
        urlsafe_b64encode(b"\xff\xfe\xfd"),
        b64encode(b"{"),
        urlsafe_b64encode(b"[" * 2100),
        b"." + urlsafe_b64encode(b"not deflated"),
        packed(b'{"user_id": "u"}')[:-4],
        packed(json.dumps({"user_id": "u", "x": "y" * 2_000_000}).encode()),
        b".",
        b"..",
        "é".encode(),
    ],
)
def test_signed_but_unreadable(kind, raw):
    """A good signature over what cannot be read, or unpacks to far more than a session, raises nothing."""
    value = made(kind, None, raw=raw)
    assert len(value) < 4096
    assert identified(kind, value) is None


@pytest.mark.parametrize(
    "value", [{" d": "no date"}, {" u": 1}, {" u": "x"}, {" di": 1}, {" b": 1}, {" t": 1}]
)
def test_tags_of_nothing(value):
    """What has a tag of Flask's, and is not what it says, is no session."""
    said = json.dumps({"user_id": "u", "x": value}).encode()
    assert identified("flask", made("flask", None, raw=urlsafe_b64encode(said))) is None
    assert identified("starlette", made("starlette", None, raw=b64encode(said))).user == "u"


@once
def test_a_long_session_is_read_and_a_long_cookie_is_not(kind):
    """What a browser keeps is read, and what it would not is not even verified."""
    assert identified(kind, made(kind, {"user_id": "u", "x": "y" * 2000})).user == "u"
    assert identified(kind, made(kind, {"user_id": "u", "x": token_urlsafe(4000)})) is None


@once
@pytest.mark.parametrize("stamp", [b"", b"*", b"-1", b"A" * 12, b"\xe9"])
def test_a_signature_over_no_time(kind, stamp):
    """A session of no time is none."""
    form = FORMATS[kind]
    by = form.separator.encode()
    signed = form.write({"user_id": "u"}) + by + stamp
    value = signed + by + form.signers(SECRET.encode())[0].get_signature(signed)
    assert identified(kind, value.decode("latin-1")) is None
