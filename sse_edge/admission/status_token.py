"""Who may ask for the status from anywhere: whoever has a token of the operator's."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING

from .secret import Secret, checked
from .size import MAX_TEXT

if TYPE_CHECKING:
    from ..asgi import Request
    from .address import TrustedProxies
    from .limits import SharedConnectRate

_HOW = "make one with openssl rand -hex 32"


class StatusToken:
    """``tokens`` is one, or several of which any is good, so that a new one can be handed out before the old
    one is taken back.

    A right one is good whatever else comes from its address, in every worker: who shares an address with
    somebody that guesses goes on.  A wrong one counts as an attempt to connect (``guesses``), and is told
    nothing.  Raises ConfigError for a token that others could find.
    """

    def __init__(self, tokens: Secret, proxies: TrustedProxies, *, guesses: SharedConnectRate) -> None:
        self._digests = [sha256(each).digest() for each in checked(tokens, field="status_token", how=_HOW)]
        self._proxies = proxies
        self._guesses = guesses

    async def lets(self, request: Request) -> bool:
        """Whether ``request`` has one."""
        token = _token(request)
        if token is None:
            return False
        digest = sha256(token).digest()
        # All of them, one as long as the other, whichever it is.
        matches = [hmac.compare_digest(digest, each) for each in self._digests]
        if not any(matches):
            await self._guesses.hit(self._proxies.client(request))
        return any(matches)


def _token(request: Request) -> bytes | None:
    given = request.all(b"authorization")
    if len(given) != 1 or len(given[0]) > MAX_TEXT:
        return None
    scheme, _, token = given[0].strip(" \t").partition(" ")
    return token.strip(" ").encode("latin-1") if scheme.lower() == "bearer" else None
