"""Streams for who brings a token of another's, as ``edge``.

``KEY`` is its secret, or ``JWKS`` the URL of the server that has the public keys; ``BACKEND`` is the
backend's URL, and ``ORIGINS`` and ``HEADERS`` are separated by commas.
"""

import os

from sse_edge import SSEMiddleware
from sse_edge.tokens import BearerJWT


def _listed(name):
    return [each for each in os.environ.get(name, "").split(",") if each]


TOLD = os.environ.get("JWKS")
AUTH = BearerJWT(
    None if TOLD else os.environ["KEY"],
    jwks_url=TOLD,
    algorithms=["ES256" if TOLD else "HS256"],
    audience="streams",
)

edge = SSEMiddleware(
    backend=os.environ["BACKEND"],
    auth=AUTH,
    channels={"/events/me": "user:{user}"},
    origins=_listed("ORIGINS"),
    allow_headers=_listed("HEADERS"),
)
