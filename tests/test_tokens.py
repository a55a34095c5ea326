"""Bearer tokens: JSON Web Tokens of PyJWT's own making, key servers on loopback, and a browser."""

import asyncio
import base64
import http.server
import json
import socket
import string
import sys
import threading
import time
from contextlib import suppress
from http.client import HTTPException

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from servers.sse import get
from sse_edge import AnyOf, ConfigError, Identity, MemoryBackend, SignedCookie, SSEMiddleware, SyncPublisher
from sse_edge.admission.authenticator import blocks, is_quick
from sse_edge.admission.bearer.keys import (
    COOLDOWN,
    FRESH,
    MOST_BYTES,
    STALE,
    KeyServer,
    NoKeysError,
    fetched,
    of_set,
)
from sse_edge.admission.revocations import session_life
from sse_edge.asgi import Request
from sse_edge.backends.base import LONGEST_LIFE
from sse_edge.testing import client
from sse_edge.tokens import BearerJWT

NOW = 1_800_000_000
SECRET = "9c1f0e7d5b3a8642" * 4
RSA = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
CLAIMS = {"sub": "u42", "aud": "streams", "iss": "https://id.example", "exp": NOW + 600, "sid": "s1"}
SETTINGS = {"audience": "streams", "issuer": "https://id.example"}


def pem(key):
    """The public key of a pair, as it is given."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_set(**keys):
    """A key set with the public keys of these pairs, each by its name."""
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    listed = []
    for name, key in keys.items():
        kind = next((kind for cls, kind in kinds.items() if isinstance(key, cls)), OKPAlgorithm)
        listed.append({**kind.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"})
    return {"keys": listed}


PAIRS = {
    "HS256": (SECRET, SECRET),
    "HS512": (SECRET, SECRET),
    "RS256": (RSA, pem(RSA)),
    "PS384": (RSA, pem(RSA)),
    "ES256": (CURVE, pem(CURVE)),
    "EdDSA": (EDWARDS, pem(EDWARDS)),
}
HMAC = BearerJWT(SECRET, algorithms=["HS256"], **SETTINGS)


def signed(claims=None, key=SECRET, algorithm="HS256", **headers):
    """A token with a good signature over any claims, or any payload at all."""
    payload = (
        claims if isinstance(claims, bytes) else json.dumps(CLAIMS if claims is None else claims).encode()
    )
    return jwt.PyJWS().encode(payload, key, algorithm, headers or None)


def asking(*tokens, scheme="Bearer "):
    """A request with these tokens."""
    return Request("GET", "/", tuple((b"authorization", f"{scheme}{token}".encode()) for token in tokens))


@pytest.mark.parametrize("algorithm", PAIRS)
def test_there_and_back(algorithm):
    """A token of each kind identifies whom it was issued for, until it expires."""
    key, public = PAIRS[algorithm]
    auth = BearerJWT(public, algorithms=[algorithm], **SETTINGS)
    token = jwt.encode(CLAIMS, key, algorithm)
    for _ in range(2):  # verified, and remembered
        assert auth.identify(asking(token), NOW) == Identity("u42", (), "s1", NOW + 600)
        assert auth.identify(asking(token), NOW + 599.9) is not None
        assert auth.identify(asking(token), NOW + 600) is None


def changed(**claims):
    """The claims with some others; None takes one out."""
    return {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        (changed(), "u42"),
        (changed(sub="7:é 😀"), "7:é 😀"),
        (changed(aud=["other", "streams"]), "u42"),
        (changed(exp=NOW + 0.5), "u42"),
        (changed(nbf=NOW + 60, iat=NOW - 5), "u42"),
        (changed(nbf=NOW + 61), None),
        (changed(iat=NOW + 61), None),
        (changed(nbf="now"), None),
        (changed(iat=True), None),
        (changed(exp=None), None),
        (changed(exp=NOW), None),
        (changed(exp=str(NOW + 600)), None),
        (changed(exp=True), None),
        (changed(exp=[NOW + 600]), None),
        (changed(exp=float("inf")), None),
        (changed(exp=float("nan")), None),
        (changed(exp=10**308), "u42"),
        (changed(exp=10**309), None),
        (changed(exp=10**4000), None),
        (changed(nbf=10**309), None),
        (changed(iat=-(10**309)), None),
        (changed(aud=None), None),
        (changed(aud="stream"), None),
        (changed(aud=["other"]), None),
        (changed(aud={"streams": 1}), None),
        (changed(iss=None), None),
        (changed(iss="https://id.example/"), None),
        (changed(iss=["https://id.example"]), None),
        (changed(sub=None), None),
        (changed(sub=""), None),
        (changed(sub=42), None),
        (changed(sub=True), None),
        (changed(sub="a\nb"), None),
        (changed(sub="x" * 257), None),
        ([CLAIMS], None),
        (b"", None),
        (b"null", None),
        (b"\xff", None),
        (b"[" * 3000, None),
    ],
)
def test_what_it_says(claims, user):
    """Of tokens with a good signature only those count that say whom, for here, by whom, and for how long."""
    identity = HMAC.identify(asking(signed(claims)), NOW)
    assert (identity and identity.user) == user


def unsigned(header, claims=CLAIMS):
    parts = [json.dumps(part).encode() for part in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


PUBLIC = BearerJWT([pem(RSA), pem(CURVE)], algorithms=["RS256", "ES256"], **SETTINGS)
OTHER = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("auth", "token"),
    [
        (HMAC, unsigned({"alg": "none"}) + "."),
        (HMAC, unsigned({"alg": "none"}) + "." + signed().rpartition(".")[2]),
        (PUBLIC, unsigned({"alg": "None"}) + ".x"),
        (HMAC, signed(key="other" * 20)),
        (HMAC, signed(algorithm="HS512")),
        (HMAC, jwt.encode(CLAIMS, RSA, "RS256")),
        (HMAC, unsigned({"alg": "HS256", "typ": "JWT"}) + "." + signed().rpartition(".")[2]),
        (HMAC, unsigned({"alg": ["HS256"]}) + ".x"),
        (HMAC, unsigned({}) + ".x"),
        (HMAC, signed(crit=["exp"])),
        (HMAC, signed(crit=["b64"], b64=False)),
        (PUBLIC, jwt.encode(CLAIMS, OTHER, "ES256")),
        (PUBLIC, jwt.encode(CLAIMS, RSA, "RS512")),
        (PUBLIC, jwt.encode(CLAIMS, OTHER, "ES256", {"jwk": key_set(x=OTHER)["keys"][0]})),
        (PUBLIC, jwt.encode(CLAIMS, OTHER, "ES256", {"jku": "http://127.0.0.1:9/", "kid": "x"})),
        (HMAC, ""),
        (HMAC, "."),
        (HMAC, ".."),
        (HMAC, "a.b.c"),
        (HMAC, "x" * 5000),
        (HMAC, signed() + "=" * 4000),
        (HMAC, signed(changed(big="x" * 8000))),
        (HMAC, signed() + " " + signed()),
        (HMAC, signed() + ", Bearer " + signed()),
        (HMAC, f'"{signed()}"'),
        (HMAC, signed() + "\xe9"),
    ],
)
def test_what_proves_nothing(auth, token):
    """Nobody is who brings no signature, another's, one of another kind, or more than one token."""
    assert auth.identify(asking(token), NOW) is None


def test_signed_with_what_everybody_knows():
    """The public key is no secret that tokens could be signed with."""
    for public in (pem(RSA), pem(CURVE)):
        forged = unsigned({"alg": "HS256"})
        key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = base64.urlsafe_b64encode(key.sign(forged.encode(), public.encode())).rstrip(b"=")
        assert PUBLIC.identify(asking(f"{forged}.{signature.decode()}"), NOW) is None
    assert PUBLIC.identify(asking(jwt.encode(CLAIMS, CURVE, "ES256")), NOW).user == "u42"


def test_every_change_is_noticed():
    """No character of a token can be another, or be left out."""
    token = signed(changed(sid=None))
    for at, old in enumerate(token):
        for new in BASE64 + ".~=":
            # The last bits of the signature stand for nothing.
            if new != old and not (at == len(token) - 1 and new in BASE64):
                assert HMAC.identify(asking(token[:at] + new + token[at + 1 :]), NOW) is None, (at, new)
        assert HMAC.identify(asking(token[:at] + token[at + 1 :]), NOW) is None


def test_no_spelling_goes_round_a_revocation():
    """However the same token's signature is written, its session has one name."""
    token = signed(changed(sid=None))
    spelt = [token[:-1] + BASE64[BASE64.index(token[-1]) ^ by] for by in (0, 1, 2, 3)]
    found = [HMAC.identify(asking(each), NOW) for each in spelt]
    assert len({identity.session for identity in found if identity}) == 1
    auth = BearerJWT(pem(CURVE), algorithms=["ES256"], **SETTINGS)
    tokens = {jwt.encode(changed(sid=None), CURVE, "ES256") for _ in range(3)}
    assert len(tokens) == 3
    assert len({auth.identify(asking(each), NOW).session for each in tokens}) == 1


@pytest.mark.parametrize(
    ("headers", "user"),
    [
        ([("authorization", "bearer {}")], "u42"),
        ([("authorization", "BEARER   {}")], "u42"),
        ([("authorization", " Bearer {} ")], "u42"),
        ([("authorization", "{}")], None),
        ([("authorization", "Bearer{}")], None),
        ([("authorization", "Bearer\t{}")], None),
        ([("authorization", "Basic {}")], None),
        ([("authorization", "DPoP {}")], None),
        ([("authorization", "Bearer {}"), ("authorization", "Bearer {}")], None),
        ([("authorization", "Basic eDp5"), ("authorization", "Bearer {}")], None),
        ([("cookie", "access_token={}"), ("x-access-token", "{}")], None),
        ([("sec-websocket-protocol", "bearer, {}")], None),
        ([], None),
    ],
)
def test_where_it_stands(headers, user):
    """One header Authorization with the scheme Bearer is where a token is read from."""
    token = signed()
    given = tuple((name.encode(), text.format(token).encode()) for name, text in headers)
    query = f"access_token={token}&token={token}".encode()
    identity = HMAC.identify(Request("GET", "/events", given, query_string=query), NOW)
    assert (identity and identity.user) == user


@pytest.mark.parametrize(
    ("claims", "session"),
    [
        (changed(sid="s", jti="j"), "s"),
        (changed(sid=None, jti="j"), "j"),
        (changed(sid=7), "7"),
    ],
)
def test_what_names_the_session(claims, session):
    """The sign-in is called by its sid, or else by the token's jti."""
    assert HMAC.identify(asking(signed(claims)), NOW).session == session


def test_a_token_without_a_name():
    """It is called by a digest, which no other token has, and each time the same."""
    tokens = [signed(changed(sid=None, exp=NOW + age)) for age in (600, 601)]
    names = [HMAC.identify(asking(token), NOW).session for token in tokens * 2]
    assert names[:2] == names[2:]
    assert names[0] != names[1]
    assert all(len(name) == 22 and name not in token for name, token in zip(names, tokens * 2, strict=True))


def test_claims_of_ones_own():
    """User, session and patterns are read from any claim, or by functions of all of them."""
    claims = changed(uid=7, login="l1", rooms=["room:1", "news"], org={"id": "acme"})
    auth = BearerJWT(SECRET, algorithms=["HS256"], user="uid", session="login", channels="rooms", **SETTINGS)
    assert auth.identify(asking(signed(claims)), NOW) == Identity("7", ("room:1", "news"), "l1", NOW + 600)
    auth = BearerJWT(
        SECRET,
        algorithms=["HS256"],
        user=lambda said: f"{said['org']['id']}.{said['sub']}",
        session=lambda said: said["none"],
        channels=lambda said: [f"org:{said['org']['id']}"],
        **SETTINGS,
    )
    identity = auth.identify(asking(signed(claims)), NOW)
    assert (identity.user, identity.channels) == ("acme.u42", ("org:acme",))
    assert len(identity.session) == 22
    assert auth.identify(asking(signed(changed())), NOW) is None  # it has no org


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"admin": True}, "user must be text"),
        ({"admin": {"id": 1}}, "user must be text"),
        ({"admin": 1.5}, "user must be text"),
        ({"admin": "a", "sid": []}, "session must be text"),
        ({"admin": "a", "may": [1]}, "channels must be a list of patterns"),
        ({"admin": "a", "may": "*"}, "channels must be a list of patterns"),
    ],
)
def test_claims_that_cannot_be_meant(claims, why, caplog):
    """What names no user, or is no list of patterns, is nobody's, and a mistake that is said."""
    auth = BearerJWT(SECRET, algorithms=["HS256"], user="admin", channels="may", **SETTINGS)
    assert auth.identify(asking(signed(changed(**claims))), NOW) is None
    assert why in caplog.text
    assert auth.identify(asking(signed(changed(admin=None))), NOW) is None


def test_leeway_and_longest_life():
    """Clocks may differ by leeway, and a token that outlives max_age is none."""
    auth = BearerJWT(SECRET, algorithms=["HS256"], leeway=30, max_age=600, **SETTINGS)
    token = signed()
    assert auth.identify(asking(token), NOW + 629).expires == NOW + 630
    assert auth.identify(asking(token), NOW + 630) is None
    assert auth.identify(asking(token), NOW) is not None
    assert auth.identify(asking(token), NOW - 31) is None
    assert session_life(auth) > 630
    assert session_life(HMAC) == LONGEST_LIFE


def test_an_issuer_is_one_of_several():
    """Audience and issuer may be lists; without an audience a token that has one is for another."""
    auth = BearerJWT(
        SECRET, algorithms=["HS256"], audience=["a", "streams"], issuer=["x", "https://id.example"]
    )
    assert auth.identify(asking(signed()), NOW).user == "u42"
    without = BearerJWT(SECRET, algorithms=["HS256"])
    assert without.identify(asking(signed()), NOW) is None
    assert without.identify(asking(signed(changed(aud=None, iss=None))), NOW).user == "u42"


def test_several_keys():
    """Any of several keys verifies; a key set's are chosen by their names."""
    old = SECRET[::-1]
    auth = BearerJWT([old, SECRET], algorithms=["HS256"], **SETTINGS)
    for key in (old, SECRET):
        assert auth.identify(asking(signed(key=key)), NOW).user == "u42"
    given = key_set(first=CURVE, second=RSA)
    encrypts = {**key_set(third=OTHER)["keys"][0], "use": "enc"}
    given["keys"] += [{"kty": "odd"}, {"kty": "RSA", "use": "enc"}, "junk", encrypts]
    auth = BearerJWT(given, algorithms=["RS256", "ES256"], **SETTINGS)
    for kid, valid in (("first", True), (None, True), ("second", False), ("third", False)):
        token = jwt.encode(CLAIMS, CURVE, "ES256", None if kid is None else {"kid": kid})
        assert (auth.identify(asking(token), NOW) is not None) is valid
    assert auth.identify(asking(jwt.encode(CLAIMS, OTHER, "ES256")), NOW) is None
    given = {"keys": [*key_set(rest=CURVE)["keys"] * 64, *key_set(late=OTHER)["keys"]]}
    auth = BearerJWT(given, algorithms=["ES256"], **SETTINGS)
    assert auth.identify(asking(jwt.encode(CLAIMS, OTHER, "ES256")), NOW) is None  # whatever is beyond 64


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("algorithms", {"algorithms": "HS256"}),
        ("algorithms", {"algorithms": []}),
        ("algorithms", {"algorithms": ["none"]}),
        ("algorithms", {"algorithms": ["HS256", "none"]}),
        ("algorithms", {"algorithms": ["HS257"]}),
        ("algorithms", {"algorithms": ["HS256", "RS256"]}),
        ("key", {"key": None}),
        ("key", {"jwks_url": "https://id.example/keys"}),
        ("key", {"key": ""}),
        ("key", {"key": "changeme"}),
        ("key", {"key": "0c1f5e7d5b3a86429"}),
        ("key", {"key": [SECRET, "0c1f5e7d5b3a86429"]}),
        ("key", {"key": SECRET[:40], "algorithms": ["HS256", "HS512"]}),
        ("key", {"key": pem(RSA)}),
        ("key", {"key": pem(CURVE).encode()}),
        ("key", {"key": []}),
        ("key", {"key": 42}),
        ("key", {"key": pem(RSA).encode()[:0]}),
        ("key", {"key": SECRET, "algorithms": ["RS256"]}),
        ("key", {"key": pem(RSA), "algorithms": ["ES256"]}),
        ("key", {"key": [pem(RSA), "x"], "algorithms": ["RS256"]}),
        ("key", {"key": private_pem(RSA), "algorithms": ["RS256"]}),
        ("key", {"key": private_pem(EDWARDS), "algorithms": ["EdDSA"]}),
        ("key", {"key": [], "algorithms": ["RS256"]}),
        ("key", {"key": {}, "algorithms": ["RS256"]}),
        ("key", {"key": {"keys": [{"kty": "RSA"}]}, "algorithms": ["RS256"]}),
        ("key", {"key": key_set(a=CURVE), "algorithms": ["RS256"]}),
        ("algorithms", {"key": None, "jwks_url": "https://id.example/keys"}),
        ("jwks_url", {"key": None, "jwks_url": "file:///etc/passwd", "algorithms": ["RS256"]}),
        ("jwks_url", {"key": None, "jwks_url": 1, "algorithms": ["RS256"]}),
        ("audience", {"audience": ""}),
        ("audience", {"audience": []}),
        ("audience", {"audience": 1}),
        ("issuer", {"issuer": [""]}),
        ("user", {"user": ""}),
        ("user", {"user": None}),
        ("channels", {"channels": 1}),
        ("leeway", {"leeway": -1}),
        ("leeway", {"leeway": None}),
        ("leeway", {"leeway": float("inf")}),
        ("max_age", {"max_age": 0}),
    ],
)
def test_bad_settings(field, settings):
    """What cannot work, or would let anybody in, is refused at construction, and no key is shown."""
    with pytest.raises(ConfigError) as caught:
        BearerJWT(**{"key": SECRET, "algorithms": ["HS256"], **settings})
    assert caught.value.field == field
    assert SECRET not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_without_the_libraries(monkeypatch):
    """What is missing is said, with the command that installs it."""
    monkeypatch.setattr("sse_edge.admission.bearer.keys.has_crypto", False)
    with pytest.raises(ConfigError, match=r"pip install 'sse_edge\[jwt\]'"):
        BearerJWT(pem(RSA), algorithms=["RS256"])
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigError, match=r"pip install 'sse_edge\[jwt\]'"):
        BearerJWT(SECRET, algorithms=["HS256"])


def test_signing_in_for_tests():
    """With a secret a test signs a user in; with public keys it cannot, which is said."""
    auth = BearerJWT(SECRET, algorithms=["HS256"], channels="may", **SETTINGS)
    request = Request("GET", "/", tuple(auth.headers_for("ann", ["order:*"])))
    identity = auth.identify(request, time.time())
    assert (identity.user, identity.channels) == ("ann", ("order:*",))
    with pytest.raises(ConfigError, match="public"):
        PUBLIC.headers_for("ann")


def test_it_is_not_asked_before_the_rate_is():
    """Verifying takes its time, so that forged tokens are counted before they are looked at."""
    assert not is_quick(HMAC)
    assert not is_quick(AnyOf(SignedCookie("a secret of the tests"), HMAC))


# ---- key servers


class Source:
    """What a key server would say, and how often it was asked."""

    def __init__(self, **keys):
        self.says = key_set(**keys)
        self.asked = 0

    def __call__(self):
        self.asked += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


async def answered(server):
    """Wait until what a server is asked is answered."""
    async with asyncio.timeout(10):
        while server._asking is not None:
            await asyncio.sleep(0.002)


async def test_keys_are_asked_for_when_they_are_needed():
    """At first, when they are old, and when one is missing; but not for every stranger's token."""
    source = Source(a=CURVE)
    server = KeyServer("https://id.example/keys", ["ES256"], source)
    assert await server.keys("RS256", "a", NOW) == []
    assert source.asked == 0
    for _ in range(3):
        assert [key.id for key in await server.keys("ES256", "a", NOW)] == ["a"]
    assert source.asked == 1
    for n in range(100):
        assert await server.keys("ES256", f"unknown{n}", NOW + n / 100) == []
    assert source.asked == 1
    source.says = key_set(a=CURVE, b=OTHER)
    assert await server.keys("ES256", "b", NOW + COOLDOWN - 1) == []
    assert [key.id for key in await server.keys("ES256", "b", NOW + COOLDOWN)] == ["b"]
    assert source.asked == 2
    source.says = key_set(b=OTHER)
    assert await server.keys("ES256", "a", NOW + COOLDOWN + FRESH - 1) != []
    assert source.asked == 2
    assert await server.keys("ES256", "a", NOW + COOLDOWN + FRESH) != []  # and asks
    await answered(server)
    assert await server.keys("ES256", "a", NOW + COOLDOWN + FRESH) == []
    assert source.asked == 3


async def test_keys_that_are_old_before_anybody_comes():
    """Where nobody came for long the first to come waits: a key may have been taken back meanwhile."""
    source = Source(a=CURVE)
    server = KeyServer("https://id.example/keys", ["ES256"], source)
    await server.keys("ES256", "a", NOW)
    source.says = key_set(b=OTHER)
    assert await server.keys("ES256", "a", NOW + 2 * FRESH) == []


@pytest.mark.parametrize(
    "says",
    [
        ConnectionError("away"),
        ValueError("no JSON"),
        RecursionError("too deep"),
        {},
        {"keys": []},
        {"keys": {}},
        {"keys": [{**key_set(x=CURVE)["keys"][0], "alg": ["ES256"]}]},
        [],
        key_set(x=RSA),
    ],
    ids=range(9),
)
async def test_a_key_server_that_says_nothing_useful(says, caplog):
    """Its last keys are used for an hour, and asking it again waits; that is in the log."""
    source = Source(a=CURVE)
    server = KeyServer("https://id.example/keys", ["ES256"], source)
    await server.keys("ES256", "a", NOW)
    source.says = says
    assert await server.keys("ES256", "a", NOW + FRESH) != []
    assert await server.keys("ES256", "a", NOW + FRESH + COOLDOWN - 1) != []
    await answered(server)
    assert source.asked == 2
    assert [line[:20] for line in caplog.messages if "jwks" in line] == ["jwks_url tells no ke"]
    assert await server.keys("ES256", "a", NOW + STALE - 1) != []
    await answered(server)
    with pytest.raises(NoKeysError, match="has told none"):
        await server.keys("ES256", "a", NOW + STALE)
    source.says = key_set(a=CURVE)
    assert await server.keys("ES256", "a", NOW + STALE + COOLDOWN) != []


async def test_a_clock_that_goes_back():
    """Keys are asked for again, and not never; a request that overtakes another is no clock."""
    source = Source(a=CURVE)
    server = KeyServer("https://id.example/keys", ["ES256"], source)
    await server.keys("ES256", "a", NOW)
    assert await server.keys("ES256", "a", NOW - 0.01) != []
    assert source.asked == 1
    source.says = key_set(b=OTHER)
    assert [key.id for key in await server.keys("ES256", "b", NOW - 86_400)] == ["b"]


class Slow(Source):
    """A key server that answers when it may."""

    def __init__(self, **keys):
        super().__init__(**keys)
        self.may = threading.Event()
        self.may.set()

    def __call__(self):
        said = super().__call__()
        assert self.may.wait(30)
        return said


async def test_a_slow_key_server_keeps_out_nobody_whose_key_is_known(monkeypatch):
    """While it is asked for a forged token's key all others have their answers, and that one waits."""
    slow = Slow(a=CURVE)
    auth = BearerJWT(jwks_url="https://id.example/keys", algorithms=["ES256"], audience="streams")
    monkeypatch.setattr(auth._server, "_fetch", slow)
    cookie = SignedCookie("a secret of the tests")
    mine = {name.decode(): value.decode() for name, value in cookie.headers_for("ann")}
    edge = SSEMiddleware(
        backend=MemoryBackend(), auth=AnyOf(auth, cookie), channels={"/events/me": "user:{user}"}
    )
    path = "/events/me?poll=0"
    async with client(edge) as c:
        assert (await c.get(path, headers=token(CURVE, "a"))).status == 200
        monkeypatch.setattr(auth._server, "_asked", float("-inf"))
        slow.may.clear()
        forged = asyncio.create_task(c.get(path, headers=token(OTHER, "b")))
        while slow.asked < 2:
            await asyncio.sleep(0.002)
        assert (await c.get(path, headers=token(CURVE, "a"))).status == 200
        assert (await c.get(path, headers=mine)).status == 200
        answer = await c.get(path)
        assert (answer.status, answer.json()["detail"]) == (401, "no valid session cookie or token")
        assert not forged.done()
        slow.may.set()
        assert (await forged).status == 401
    assert slow.asked == 2


async def test_a_key_server_that_never_answers(monkeypatch, caplog):
    """Who needs it waits for some seconds, and it is asked by a few threads at most; that is a line."""
    monkeypatch.setattr("sse_edge.admission.bearer.keys.PATIENCE", 0.05)
    slow = Slow(a=CURVE)
    slow.may.clear()
    auth = BearerJWT(jwks_url="https://id.example/keys", algorithms=["ES256"], audience="streams")
    monkeypatch.setattr(auth._server, "_fetch", slow)
    edge = SSEMiddleware(backend=MemoryBackend(), auth=auth, channels={"/events/me": "user:{user}"})
    async with client(edge) as c:
        for _ in range(6):
            assert (await c.get("/events/me?poll=0", headers=token(CURVE, "a"))).status == 503
            monkeypatch.setattr(auth._server, "_asked", float("-inf"))
    assert slow.asked == 3
    assert not any(record.exc_info for record in caplog.records)
    told = (
        "auth failed to identify a request for /events/me: NoKeysError: the server of the keys has told none"
    )
    assert told in caplog.messages
    slow.may.set()
    await answered(auth._server)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 200_000, RecursionError),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b" " * (MOST_BYTES + 1), ValueError),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"\xff", ValueError),
        (b"HTTP/1.0 200 OK\r\n\r\n", ValueError),
        (b"HTTP/1.0 302 Found\r\nLocation: {url}\r\n\r\n{}", OSError),
        (b"HTTP/1.0 503 Away\r\n\r\n{}", OSError),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{", ValueError),
        (b"nothing of HTTP\r\n\r\n", HTTPException),
        (b"", OSError),
    ],
    ids=range(9),
)
def test_what_is_no_key_set(says, error):
    """What a server sends that is none raises, before it takes memory; and nobody is sent elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"

        def serve():
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(says.replace(b"{url}", url.encode()))

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(error):
            fetched(url)
        thread.join()


def test_a_key_set_that_trickles(monkeypatch):
    """There is a time for all of it."""
    monkeypatch.setattr("sse_edge.admission.bearer.keys.PATIENCE", 0.3)
    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                while not left.wait(0.02):
                    connection.sendall(b" ")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(TimeoutError, match=r"not all of it within 0\.3 s"):
            fetched(f"http://127.0.0.1:{server.getsockname()[1]}/")
        left.set()
        thread.join()


ODD = [
    None,
    True,
    0,
    -1,
    10**400,
    1.5,
    float("nan"),
    "",
    "x",
    "\x00",
    "\ud800",
    "A" * 5000,
    [],
    [[]],
    {},
    [None],
]


@pytest.mark.parametrize("pair", [RSA, CURVE, EDWARDS], ids=["RSA", "EC", "OKP"])
def test_odd_keys_of_a_set(pair):
    """Whatever is in a set, the good ones of it are found."""
    (good,) = key_set(a=pair)["keys"]
    names = ["RS256", "ES256", "EdDSA"]
    for field in {*good, "alg", "key_ops", "d", "p", "oth"}:
        keys = [{**good, field: odd} for odd in ODD]
        assert any(key.id == "a" for key in of_set({"keys": [*ODD, *keys, good]}, names)), field


@pytest.mark.parametrize("claim", ["sub", "aud", "iss", "exp", "nbf", "iat", "sid", "jti", "may", "n"])
def test_odd_claims(claim):
    """Whatever is signed, it is a token of somebody or of nobody."""
    for user in ("sub", "n"):
        auth = BearerJWT(SECRET, algorithms=["HS256"], user=user, channels="may", max_age=600, **SETTINGS)
        for odd in ODD:
            claims = json.dumps({**CLAIMS, "n": "x", claim: odd}).encode()
            identity = auth.identify(asking(signed(claims)), NOW)
            assert identity is None or identity.expires <= NOW + 600


@pytest.mark.parametrize("field", ["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u", "cty", "zip"])
def test_odd_heads(field):
    """Whatever the head of a token says that nobody signed, it is nobody's."""
    for odd in ODD:
        forged = unsigned({"alg": "HS256", field: odd}) + ".x"
        assert HMAC.identify(asking(forged), NOW) is None


@pytest.fixture
def key_server():
    """A real one on loopback: ``says`` is its key set, ``asked`` the paths that were asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            body = json.dumps(server.says).encode()
            self.send_response(200 if server.says else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.says = [], key_set(a=CURVE)
    server.url = f"http://127.0.0.1:{server.server_port}/keys"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def token(key, name, **claims):
    claims = {"sub": "ann", "aud": "streams", "exp": time.time() + 600, **claims}
    return {"Authorization": f"Bearer {jwt.encode(claims, key, 'ES256', {'kid': name})}"}


async def test_a_real_key_server(serve_app, connect, key_server, redis_url):
    """Who brings a token by its key is let in; a stranger's makes nobody ask it again; revoked is revoked."""
    env = {"BACKEND": redis_url, "JWKS": key_server.url}
    url = serve_app("apps.bearer:edge", env=env).url + "/events/me"
    answer = await get(url)
    assert answer.status == 401
    assert answer.header("www-authenticate") is None
    assert key_server.asked == []
    mine = token(CURVE, "a", sid="s1")
    streams = [await connect(url, headers=mine) for _ in range(3)]
    assert [stream.status for stream in streams] == [200] * 3
    for n in range(20):
        assert (await get(url, headers=token(OTHER, f"b{n}"))).status == 401
    assert (await get(url, headers=token(OTHER, "a"))).status == 401
    assert key_server.asked == ["/keys"]
    with SyncPublisher(redis_url) as events:
        events.publish("user:ann", "hello")
        assert [(await stream.next()).data for stream in streams] == ["hello"] * 3
        events.revoke("s1")
        began = time.monotonic()
        for stream in streams:
            assert await stream.ended(5)
        assert time.monotonic() - began < 1
    assert (await get(url, headers=mine)).status == 401
    assert (await connect(url, headers=token(CURVE, "a", sid="s2"))).status == 200


async def test_a_key_server_that_is_away(serve_app, key_server):
    """Without any keys it cannot be said who asks: an answer that asks to come back, and no 401."""
    key_server.says = {}
    url = serve_app("apps.bearer:edge", env={"BACKEND": "memory://", "JWKS": key_server.url}).url
    answer = await get(url + "/events/me", headers={**token(CURVE, "a"), "Accept": "*/*"})
    assert (answer.status, answer.header("retry-after") is None) == (503, False)


async def test_keys_by_a_url_are_awaited():
    """So is identify, by itself and among several, and it blocks nobody."""
    auth = BearerJWT(jwks_url="https://id.example/keys", algorithms=["RS256"])
    assert not blocks(auth)
    for one in (auth, AnyOf(SignedCookie("a secret of the tests"), auth)):
        assert not is_quick(one)
        assert await one.identify(asking(), NOW) is None


FETCH = """
const [url, token, done] = arguments
fetch(url, {headers: {authorization: `Bearer ${token}`}}).then(
    async response => {
        const {value} = await response.body.getReader().read()
        done([response.status, new TextDecoder().decode(value).slice(0, 8)])
    },
    error => done([0, error.name]),
)
"""


def test_a_page_of_another_origin_sends_a_token(serve_app, page):
    """With allow_headers the browser lets fetch() send it, from an allowed origin; without it does not."""
    origin = serve_app("apps.edge:edge").url
    bearer = jwt.encode({"sub": "ann", "aud": "streams", "exp": time.time() + 600}, SECRET, "HS256")
    env = {"BACKEND": "memory://", "KEY": SECRET, "ORIGINS": origin}
    allows = serve_app("apps.bearer:edge", env={**env, "HEADERS": "Authorization"})
    refuses = serve_app("apps.bearer:edge", env=env)
    other = serve_app("apps.bearer:edge", env={**env, "ORIGINS": "", "HEADERS": "authorization"})
    page.get(origin)
    for server, expected in (
        (allows, [200, ": stream"]),
        (refuses, [0, "TypeError"]),
        (other, [0, "TypeError"]),
    ):
        assert page.execute_async_script(FETCH, f"{server.url}/events/me", bearer) == expected
