"""Bearer tokens with something odd in each place: keys, claims, heads."""

import json

import pytest

from parts.bearers import (
    CLAIMS,
    CURVE,
    EDWARDS,
    HMAC,
    NOW,
    RSA,
    SECRET,
    SETTINGS,
    asking,
    key_set,
    signed,
    unsigned,
)
from sse_edge.admission.bearer.keys import (
    of_set,
)
from sse_edge.tokens import BearerJWT

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
