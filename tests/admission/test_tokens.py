"""Bearer tokens: which are good, whom they name, and settings that are none."""

import base64
import string
import sys
import time

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from parts.bearers import (
    CLAIMS,
    CURVE,
    EDWARDS,
    HMAC,
    NOW,
    OTHER,
    RSA,
    SECRET,
    SETTINGS,
    asking,
    key_set,
    signed,
    unsigned,
)
from sse_edge import AnyOf, ConfigError, Identity, SignedCookie
from sse_edge.admission.authenticator import is_quick
from sse_edge.admission.revocations import session_life
from sse_edge.asgi import Request
from sse_edge.backends.base import LONGEST_LIFE
from sse_edge.tokens import BearerJWT

BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def pem(key):
    """The public key of a pair, as it is given."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


PAIRS = {
    "HS256": (SECRET, SECRET),
    "HS512": (SECRET, SECRET),
    "RS256": (RSA, pem(RSA)),
    "PS384": (RSA, pem(RSA)),
    "ES256": (CURVE, pem(CURVE)),
    "EdDSA": (EDWARDS, pem(EDWARDS)),
}


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


PUBLIC = BearerJWT([pem(RSA), pem(CURVE)], algorithms=["RS256", "ES256"], **SETTINGS)


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
