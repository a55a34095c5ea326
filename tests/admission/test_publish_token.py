"""Tokens to publish with: issued, verified, and never taken for something else."""

import hashlib
import json
import string
import time

import pytest
from itsdangerous import TimestampSigner
from itsdangerous.encoding import base64_encode

from sse_edge import ConfigError, Identity, PublishToken, SignedCookie
from sse_edge.admission.publish_token import checked, granted
from sse_edge.asgi import Request
from sse_edge.errors import FieldError

NOW = 1_700_000_000.0
SECRET = "a secret of the tests"
OLD, NEW = "an older secret of the tests", "a newer secret of the tests"
BASE64 = string.ascii_letters + string.digits + "-_"


def signed(payload, salt="sse_edge.publish"):
    """A token with a good signature over any payload, made by itsdangerous alone."""
    signer = TimestampSigner(SECRET, salt, key_derivation="hmac", digest_method=hashlib.sha256)
    signer.get_timestamp = lambda: int(NOW)
    return signer.sign(base64_encode(json.dumps(payload).encode())).decode()


def test_there_and_back():
    """A token says whose it is and which channels it is good for."""
    tokens = PublishToken(SECRET)
    value = tokens.issue(["order:*", "news"], name="billing", now=NOW)
    assert tokens.verify(value, NOW) == Identity("billing", ("order:*", "news"))
    assert tokens.verify(tokens.issue(["*"], now=NOW), NOW) == Identity(None, ("*",))
    assert tokens.verify(tokens.issue(["*"]), time.time()).channels == ("*",)


@pytest.mark.parametrize(
    ("most", "life", "later", "valid"),
    [
        (None, None, 1e9, True),
        (None, None, -60, True),
        (None, None, -61, False),
        (None, 60, 59, True),
        (None, 60, 60, False),
        (60, None, 59, True),
        (60, None, 60, False),
        (60, 600, 60, False),
        (600, 60, 60, False),
        (0.5, None, 0.4, True),
        (0.5, None, 0.5, False),
    ],
)
def test_age(most, life, later, valid):
    """A token is valid for its own time, and no longer than max_age says; without either for good."""
    tokens = PublishToken(SECRET, max_age=most)
    value = tokens.issue(["*"], max_age=life, now=NOW)
    assert (tokens.verify(value, NOW + later) is not None) is valid


def test_its_end_is_signed():
    """A longer max_age later brings no token back, and a shorter one ends those that there are."""
    value = PublishToken(SECRET, max_age=600).issue(["*"], now=NOW)
    assert PublishToken(SECRET).verify(value, NOW + 600) is None
    assert PublishToken(SECRET, max_age=60).verify(value, NOW + 60) is None
    assert PublishToken(SECRET).verify(value, NOW + 60).expires == NOW + 600


@pytest.mark.parametrize(
    ("issuer", "verifier", "valid"),
    [
        ([OLD], [OLD, NEW], True),
        ([OLD, NEW], [OLD, NEW], True),
        ([OLD, NEW], [NEW], True),
        ([OLD, NEW], [OLD], False),
        ([OLD], [NEW], False),
    ],
)
def test_rotation(issuer, verifier, valid):
    """All secrets of the list verify, the last signs, and what is taken out of it takes its tokens along."""
    value = PublishToken(issuer).issue(["*"], now=NOW)
    assert (PublishToken(verifier).verify(value, NOW) is not None) is valid


def test_no_token_is_a_session_and_no_session_a_token():
    """What the same secret signed for one is not valid as the other, whatever the cookie is called."""
    tokens = PublishToken(SECRET)
    for name in ("session", "publish", "sse_edge.publish"):
        cookies = SignedCookie(SECRET, name)
        assert tokens.verify(cookies.issue("u42", ["*"]), time.time()) is None
        value = f"{name}={tokens.issue(['*'], name='u42')}"
        assert cookies.identify(Request("GET", "/", ((b"cookie", value.encode()),)), time.time()) is None
    session = signed(["u42", ["*"], None], salt="sse_edge.session:session")
    assert tokens.verify(session, NOW) is None


def test_every_change_is_noticed():
    """No bit of a token can be changed, and no character be left out: it has one spelling."""
    tokens = PublishToken(SECRET)
    value = tokens.issue(["a"], now=NOW)
    for at, old in enumerate(value):
        for new in set(BASE64 + ".~ =") - {old}:
            assert tokens.verify(value[:at] + new + value[at + 1 :], NOW) is None
        assert tokens.verify(value[:at] + value[at + 1 :], NOW) is None


@pytest.mark.parametrize("value", ["", ".", "..", "a.b.c", "é.é.é", "x" * 5000, "\ud800", "." * 4096])
def test_garbage(value):
    """What is no token of ours is good for nothing and raises nothing."""
    assert PublishToken(SECRET).verify(value, NOW) is None


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        ["billing-and-more"],
        [None, ["*"], None, 1],
        [None, [], None],
        [None, "every channel", None],
        [None, [1], None],
        [None, [""], None],
        [1, ["*"], None, ""],
        [1, ["order:*"], None],
        ["", ["order:*"], None],
        [None, ["order:*"], "never"],
        [None, ["order:*"], 2e9],
        [None, ["order:*"], True],
        [None, ["order:*"], int(NOW)],
    ],
)
def test_signed_but_odd(payload):
    """A good signature over a payload of another shape is good for nothing."""
    assert PublishToken(SECRET).verify(signed(payload), NOW) is None
    assert PublishToken(SECRET).verify(signed([None, ["order:*"], None]), NOW) is not None


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("channels", {"channels": []}),
        ("channels", {"channels": "order:*"}),
        ("channels", {"channels": [""]}),
        ("channels", {"channels": ["a\n"]}),
        ("channels", {"channels": ["a\\b"]}),
        ("channels", {"channels": [f"{n}:{'x' * 200}\U0001f600" for n in range(60)]}),
        ("name", {"channels": ["*"], "name": ""}),
        ("name", {"channels": ["*"], "name": 5}),
        ("max_age", {"channels": ["*"], "max_age": 0}),
        ("max_age", {"channels": ["*"], "max_age": float("inf")}),
    ],
)
def test_what_cannot_be_issued(field, options):
    """It is refused by name."""
    if len(options["channels"]) == 60:
        options["channels"] = [hashlib.sha512(each.encode()).hexdigest() for each in options["channels"]]
    with pytest.raises(FieldError) as caught:
        PublishToken(SECRET).issue(**options)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("secret", {"secret": "hunter2"}),
        ("secret", {"secret": []}),
        ("secret", {"secret": None}),
        ("weak_secret", {"secret": SECRET, "weak_secret": "yes"}),
        ("max_age", {"secret": SECRET, "max_age": -1}),
        ("max_age", {"secret": SECRET, "max_age": True}),
        ("max_age", {"secret": SECRET, "max_age": "60"}),
    ],
)
def test_refused_settings(field, options):
    """The same rules for secrets as for cookies, and a life that is none is refused by name."""
    with pytest.raises(ConfigError) as caught:
        PublishToken(**options)
    assert caught.value.field == field
    assert PublishToken("hunter2", weak_secret=True)


class Verifies:
    """What a test wants of ``verify``, and of ``blocking``."""

    def __init__(self, verify, blocking=False):
        self.verify = verify
        self.blocking = blocking


async def later(token, now):
    return ["order:*"]


@pytest.mark.parametrize(
    "auth",
    [
        None,
        PublishToken,
        "a text",
        SignedCookie(SECRET),
        Verifies(None),
        Verifies(lambda token: ["*"]),
        Verifies(lambda token, now, more: ["*"]),
        Verifies(lambda token, now: ["*"], blocking="yes"),
        Verifies(later, blocking=True),
    ],
)
def test_what_can_verify_nothing(auth):
    """It is refused where it is given, and never repeated."""
    with pytest.raises(ConfigError, match=r"^publish_auth") as caught:
        checked(auth)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "auth",
    [
        Verifies(lambda token, now: ["order:*"]),
        Verifies(later),
        Verifies(lambda *_: ("order:*",), blocking=True),
    ],
)
async def test_verifiers_of_ones_own(auth):
    """They answer at once, async, or in a thread."""
    assert granted(await checked(auth)("x", NOW), NOW) == Identity(None, ("order:*",))


@pytest.mark.parametrize(
    ("answer", "channels"),
    [
        (None, None),
        ([], ()),
        (["a", "b"], ("a", "b")),
        (Identity("x", ["a"]), ("a",)),
        (Identity("x", ["a"], expires=NOW + 1), ("a",)),
        (Identity("x", ["a"], expires=NOW), None),
    ],
)
def test_answers(answer, channels):
    """Patterns, an Identity that has not ended, or None."""
    found = granted(answer, NOW)
    assert (None if found is None else found.channels) == channels


@pytest.mark.parametrize("answer", ["order:*", True, 1, b"*", [1], {"order:*": True}, object()])
def test_what_is_no_answer(answer):
    """A text is no list of patterns: a star in it would open everything; nor is True."""
    with pytest.raises(TypeError, match="verify must return"):
        granted(answer, NOW)
