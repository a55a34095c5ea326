"""Parts for tests of bearer tokens: keys, JSON Web Tokens of PyJWT's own making, and who brings them."""

import base64
import json
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sse_edge.asgi import Request
from sse_edge.tokens import BearerJWT

NOW = 1_800_000_000
SECRET = "9c1f0e7d5b3a8642" * 4
RSA = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()

CLAIMS = {"sub": "u42", "aud": "streams", "iss": "https://id.example", "exp": NOW + 600, "sid": "s1"}
SETTINGS = {"audience": "streams", "issuer": "https://id.example"}


def key_set(**keys):
    """A key set with the public keys of these pairs, each by its name."""
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    listed = []
    for name, key in keys.items():
        kind = next((kind for cls, kind in kinds.items() if isinstance(key, cls)), OKPAlgorithm)
        listed.append({**kind.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"})
    return {"keys": listed}


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


def unsigned(header, claims=CLAIMS):
    parts = [json.dumps(part).encode() for part in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


OTHER = ec.generate_private_key(ec.SECP256R1())


def token(key, name, **claims):
    claims = {"sub": "ann", "aud": "streams", "exp": time.time() + 600, **claims}
    return {"Authorization": f"Bearer {jwt.encode(claims, key, 'ES256', {'kid': name})}"}
