"""The gate for requests to publish: what each goes through, in order."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ..outcome import (
    BACKEND_DOWN,
    BAD_REQUEST,
    CONNECT_RATE,
    MEDIA_TYPE,
    METHOD,
    ORIGIN,
    UNAUTHENTICATED,
    Refusal,
)
from .callback import tell_failure
from .publish_token import checked, granted
from .size import MAX_TEXT, oversized

if TYPE_CHECKING:
    from ..asgi import Request
    from ..identity import Identity
    from .address import TrustedProxies
    from .limits import SharedConnectRate
    from .publish_token import Verifier


NO_TOKEN = UNAUTHENTICATED.because("no token: Authorization: Bearer …")
WRONG_TOKEN = UNAUTHENTICATED.because("this token is not valid, or no longer")

_REMEMBERED = 1024  # tokens that were good, and addresses whose were not


class PublishGate:
    """Lets in whoever has a token, as often as ``rate`` allows it.

    A wrong one counts as an attempt to connect of its address (``guesses``).  Where those are too many, no
    token from there is looked at for a while, unless it is one that was good before: who guesses is told
    nothing, and who shares an address with him goes on.  Raises ConfigError for what can verify nothing.
    """

    def __init__(
        self,
        auth: Verifier | None,
        proxies: TrustedProxies,
        *,
        guesses: SharedConnectRate,
        rate: SharedConnectRate,
    ) -> None:
        self._verify = checked(auth)
        self._proxies = proxies
        self._guesses = guesses
        self._rate = rate
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._shut: OrderedDict[str, float] = OrderedDict()

    def address(self, request: Request) -> str:
        """Where the request comes from."""
        return self._proxies.client(request)

    async def admit(self, request: Request, now: float) -> Identity | Refusal:
        """Whose request it is, at Unix time ``now``: its ``channels`` are those to be published to."""
        refusal = _malformed(request)
        if refusal is not None:
            return refusal
        token = _token(request)
        if isinstance(token, Refusal):
            return token
        verified = await self._verified(token, self.address(request), now)
        if isinstance(verified, Refusal):
            return verified
        wait = await self._rate.hit(f"token:{sha256(token.encode()).hexdigest()[:32]}")
        if wait is not None:
            return _too_fast("too many requests with this token", wait).of(verified.user)
        return verified if _is_json(request) else MEDIA_TYPE.of(verified.user)

    async def _verified(self, token: str, address: str, now: float) -> Identity | Refusal:
        key = sha256(token.encode()).digest()
        shut = self._shut.get(address, 0.0)
        if now < shut and key not in self._good:
            return _too_fast("too many wrong tokens from this address", shut - now)
        try:
            identity = granted(await self._verify(token, now), now)
        except Exception as error:  # noqa: BLE001 - the application's own
            tell_failure(error, "publish_auth failed to verify a token", function="publish_auth")
            return BACKEND_DOWN.because("could not decide whether this token is valid")
        if identity is not None:
            _remember(self._good, key, None)
            return identity
        wait = await self._guesses.hit(address)
        if wait is None:
            return WRONG_TOKEN
        _remember(self._shut, address, now + wait)
        return _too_fast("too many wrong tokens from this address", wait)


def _malformed(request: Request) -> Refusal | None:
    if request.method != "POST":
        return METHOD.because("only POST is answered here")
    refusal = oversized(request)
    if refusal is not None:
        return refusal
    # Every browser says one of them with a POST, and a server has no reason to.
    if request.all(b"origin") or request.all(b"sec-fetch-site"):
        return ORIGIN.because("publishing is for servers, and this is the request of a browser")
    return None


def _token(request: Request) -> str | Refusal:
    given = request.all(b"authorization")
    if not given:
        return NO_TOKEN
    if len(given) > 1:
        return BAD_REQUEST.because("several Authorization headers")
    if len(given[0]) > MAX_TEXT:
        return BAD_REQUEST.because(f"an Authorization header of more than {MAX_TEXT} bytes")
    scheme, _, token = given[0].strip(" \t").partition(" ")
    token = token.strip(" ")
    return token if scheme.lower() == "bearer" and token else NO_TOKEN


def _is_json(request: Request) -> bool:
    kinds = request.all(b"content-type")
    if len(kinds) != 1 or len(kinds[0]) > MAX_TEXT or request.all(b"content-encoding"):
        return False
    kind, *parameters = [part.strip(" \t").lower() for part in kinds[0].split(";")]
    charsets = [part[8:].strip('"') for part in parameters if part.startswith("charset=")]
    return kind == "application/json" and charsets in ([], ["utf-8"], ["utf8"])


def _too_fast(detail: str, wait: float) -> Refusal:
    return replace(CONNECT_RATE, detail=detail, retry_after=max(1.0, wait))


def _remember(known: OrderedDict[Any, Any], key: object, value: object) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > _REMEMBERED:
        known.popitem(last=False)
