"""Who may ask for the status from anywhere: whoever has a token of the operator's."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING

from .secret import Secret, checked
from .size import MAX_TEXT

if TYPE_CHECKING:
    from ..asgi import Request
    from .address import TrustedProxies
    from .limits import SharedConnectRate

_REMEMBERED = 1024  # addresses whose tokens were wrong too often

_HOW = "make one with openssl rand -hex 32"


class StatusToken:
    """``tokens`` is one, or several of which any is good, so that a new one can be handed out before the old
    one is taken back.

    A wrong one counts as an attempt to connect of its address (``guesses``).  Where those are too many, none
    from there is good for a while, unless it was good before in this worker: who guesses is told nothing, and
    who shares an address with him goes on.  Raises ConfigError for a token that others could find.
    """

    def __init__(self, tokens: Secret, proxies: TrustedProxies, *, guesses: SharedConnectRate) -> None:
        self._digests = [sha256(each).digest() for each in checked(tokens, field="status_token", how=_HOW)]
        self._proxies = proxies
        self._guesses = guesses
        self._good: set[int] = set()
        self._shut: OrderedDict[str, float] = OrderedDict()

    async def lets(self, request: Request, now: float) -> bool:
        """Whether ``request`` has one, at Unix time ``now``."""
        token = _token(request)
        if token is None:
            return False
        digest = sha256(token).digest()
        # All of them, one as long as the other, whichever it is.
        matches = [hmac.compare_digest(digest, each) for each in self._digests]
        address = self._proxies.client(request)
        shut = now < self._shut.get(address, 0.0)
        if any(matches):
            number = matches.index(True)
            if not shut or number in self._good:
                self._good.add(number)
                return True
        elif not shut and (wait := await self._guesses.hit(address)) is not None:
            self._shut[address] = now + wait
            self._shut.move_to_end(address)
            if len(self._shut) > _REMEMBERED:
                self._shut.popitem(last=False)
        return False


def _token(request: Request) -> bytes | None:
    given = request.all(b"authorization")
    if len(given) != 1 or len(given[0]) > MAX_TEXT:
        return None
    scheme, _, token = given[0].strip(" \t").partition(" ")
    return token.strip(" ").encode("latin-1") if scheme.lower() == "bearer" else None
