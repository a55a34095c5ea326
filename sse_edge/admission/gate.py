"""The gate: every check a request for a stream goes through, in order.

Nothing expensive comes before something cheap, and no slot is taken before everything else said yes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from ..errors import BackendError
from ..event import MAX_CURSOR, Place
from ..identity import Identity
from ..logline import value
from ..outcome import (
    BACKEND_DOWN,
    BAD_REQUEST,
    CONNECT_RATE,
    DRAINING,
    FORBIDDEN,
    IP_LIMIT,
    METHOD,
    NOT_FOUND,
    ORIGIN,
    UNAUTHENTICATED,
    USER_LIMIT,
    WORKER_FULL,
    Refusal,
)
from .arrival import header
from .authenticator import checked, is_quick, lets_anyone, valid
from .callback import Callback, callback, takes_values, tell_failure
from .cursor import UNTOLD, last_id, place
from .encoding import takes_gzip
from .limits import ConnectRate, SharedConnectRate
from .origin import is_rebound, rebound
from .polling import is_poll
from .revocations import Revocations, session_life
from .routes import NO_VALUES, Values

if TYPE_CHECKING:
    from ..asgi import Headers, Request
    from ..backends.base import Leases
    from .address import TrustedProxies
    from .authenticator import Authenticator
    from .limits import Limits
    from .origin import OriginPolicy, Page
    from .routes import Match, Routes
    from .source import Source

Authorize = (
    Callable[[Identity, str], bool | Awaitable[bool]]
    | Callable[[Identity, str, Values], bool | Awaitable[bool]]
)
"""Whether an identity may read a channel; told the values that the channel's name was filled with, too, if it
takes them."""

NO_GUARD: Mapping[str, Values] = MappingProxyType({})
REVOKED_SESSION = UNAUTHENTICATED.because("this session was revoked")

# Of a source nothing can be said to be missing: its ids are the application's own.
_FOREIGN = BAD_REQUEST.because(
    f"one id to go on from, of up to {MAX_CURSOR} characters, none for control; no query without query_cursor"
)


class Admission(NamedTuple):
    """A request that may have its stream.

    ``cursor`` is the place up to which the client says it has seen everything.  ``caps`` are the leases held,
    each with how many there may be; the caller releases their ``subjects``.  ``guarded`` are the channels
    that only ``authorize`` opened, so that it has to be asked again, each with the values that its name was
    filled with.  ``varies`` is whether the stream is compressed for clients that take it, and ``compress``
    whether this one does.
    ``first`` is how many of its last events a channel begins with for whoever has no place.  ``greetings``
    are asked, with the path's ``params``, for what comes before all else.  A ``source`` is what the stream
    has instead of its channels' events: it is asked likewise, and told what the client says it is ``after``.
    """

    identity: Identity
    channels: tuple[str, ...]
    cursor: Place | None
    address: str
    caps: Sequence[tuple[str, int]]
    guarded: Mapping[str, Values] = NO_GUARD
    varies: bool = False
    compress: bool = False
    first: Mapping[str, int] = MappingProxyType({})
    greetings: tuple[Callback, ...] = ()
    params: Values = NO_VALUES
    source: Source | None = None
    after: str | None = None

    @property
    def subjects(self) -> list[str]:
        """Whose leases they are."""
        return [subject for subject, _ in self.caps]


class Gate:
    """Composes the policies.  ``authorize`` is ``(identity, channel) -> bool``, sync or async, and may take
    the channel's values as a third argument; see ``takes_values``.

    ``query_cursor`` also takes the cursor from the query, as polls may always; see ``last_id``.
    ``windows`` is where connects are counted together with other workers; see ``SharedConnectRate``.
    """

    def __init__(
        self,
        *,
        auth: Authenticator,
        routes: Routes,
        origin: OriginPolicy,
        proxies: TrustedProxies,
        limits: Limits,
        leases: Leases,
        authorize: Authorize | None = None,
        query_cursor: bool = True,
        windows: Any = None,
    ) -> None:
        self._auth = auth
        self._ask_auth = checked(auth)
        self._routes = routes
        self._origin = origin
        self._proxies = proxies
        self._limits = limits
        self._leases = leases
        self._authorize = None if authorize is None else callback("authorize", authorize)
        self._tells_values = authorize is not None and takes_values("authorize", authorize)
        self._query_cursor = query_cursor
        # Where a cookie is needed a rebound page has none: the user's are another host's.
        self._refuses_rebound = lets_anyone(auth) and origin.any_host
        self.revocations = Revocations()
        self.session_life = session_life(auth)
        self.rate = SharedConnectRate(ConnectRate(limits.connects_per_ip), windows, leases)
        self._is_quick = is_quick(auth)

    @property
    def preflight(self) -> Headers:
        """What the answer to a preflight has beyond those."""
        return self._origin.preflight

    def headers(self, request: Request) -> Headers:
        """What every answer to ``request`` carries: Vary, and CORS where the origin is allowed."""
        return self._page(request).headers

    async def admit(  # noqa: PLR0911 - one return for each check, in the documented order
        self, request: Request, now: float, *, streams: int, draining: bool
    ) -> Admission | Refusal | None:
        """Decide, at Unix time ``now``, with ``streams`` open in this worker.

        None is for OPTIONS, preflight or plain: to be answered with 204.  HEAD is checked like GET but
        holds nothing.  When cancelled, nothing is held.
        """
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            return METHOD
        if request.has_body:
            return BAD_REQUEST.because("a request for a stream has no body")
        match = self._routes.match(request.path)
        if match is None:
            return NOT_FOUND
        refusal = self._judge(request)
        if refusal is not None:
            return refusal
        if request.method == "OPTIONS":
            return None
        refusal = self._no_room(streams, draining)
        if refusal is not None:
            return refusal
        address = self._proxies.client(request)
        wanted = None
        if self._is_quick and self.rate.has_turnstile and not match.asks:
            # Looking at all the rest first costs less than a call more for the rate alone.
            wanted = await self._wanted(match, request, address, now)
            if isinstance(wanted, Admission) and not wanted.guarded and request.method != "HEAD":
                return await self._lease(wanted, counted=False) or wanted
        wait = await self.rate.hit(address)
        if wait is not None:
            return _too_fast(wait)
        wanted = wanted or await self._wanted(match, request, address, now)
        if isinstance(wanted, Refusal):
            return wanted
        refusal = await self.ask(wanted.identity, wanted.guarded) if wanted.guarded else None
        if refusal is not None:
            return refusal.of(wanted.identity.user)
        return wanted if request.method == "HEAD" else await self._lease(wanted, counted=True) or wanted

    def changed(self, admission: Admission, now: float, *, streams: int, draining: bool) -> Refusal | None:
        """Why an admitted stream may not open after all: much can happen while ``authorize`` is asked."""
        refusal = self._no_room(streams, draining)
        if refusal is not None:
            return refusal
        if self.revocations.covers(admission.identity.session, now):
            return REVOKED_SESSION
        return None

    def release(self, user: str | None, address: str) -> None:
        """Give back the leases that an admission of theirs holds."""
        self._leases.release([subject for subject, _ in self._limits.caps(user, address)])

    async def ask(self, identity: Identity, channels: Mapping[str, Values]) -> Refusal | None:
        """Why ``authorize`` does not let ``identity`` read all of ``channels``, or None if it does.

        FORBIDDEN is its no; BACKEND_DOWN means that it failed, which is never a yes.
        """
        for channel, values in channels.items():
            told = (identity, channel, values) if self._tells_values else (identity, channel)
            try:
                yes = self._authorize is not None and _is_yes(await self._authorize(*told))
            except Exception as error:  # noqa: BLE001 - the application's own
                who = value(identity.user), value(channel)
                said = {"user": identity.user, "channel": channel}
                tell_failure(
                    error, "authorize failed, user=%s channel=%s", *who, function="authorize", **said
                )
                return BACKEND_DOWN.because("could not decide whether this channel may be read")
            if not yes:
                return FORBIDDEN.because(f"channel {channel!r} may not be read by this user")
        return None

    def key(self, request: Request, refusal: Refusal) -> str:
        """Who is refused, for counting refusals in a row: an address, and at a user's cap its cookie."""
        cookie = request.first(b"cookie") or ""
        return f"{refusal.code} {self._proxies.client(request)} {crc32(cookie.encode('latin-1'))}"

    def address(self, request: Request) -> str:
        """Where the request comes from."""
        return self._proxies.client(request)

    def arrival(self, request: Request, **told: Any) -> tuple[bytes, bytes]:
        """How the request arrived, as a header of its answer, with what else is ``told``; see ``arrival``."""
        return header(request, self._proxies, **told)

    def _no_room(self, streams: int, draining: bool) -> Refusal | None:
        if draining:
            return DRAINING
        most = self._limits.per_worker
        return None if most is None or streams < most else WORKER_FULL

    def _judge(self, request: Request) -> Refusal | None:
        if self._refuses_rebound and not self._proxies.trusts_peer(request) and is_rebound(request):
            return ORIGIN.because(rebound(request))
        return self._page(request).refusal

    def _page(self, request: Request) -> Page:
        return self._origin.page(request, self._proxies.scheme(request))

    async def _identify(self, request: Request, now: float) -> Identity | Refusal:
        try:
            quick = self._is_quick
            identity = valid(
                self._auth.identify(request, now) if quick else await self._ask_auth(request, now), now
            )
        except Exception as error:  # noqa: BLE001 - the application's own
            text = "auth failed to identify a request for %s"
            tell_failure(error, text, value(request.path), function="auth", path=request.path)
            return BACKEND_DOWN.because("could not decide who this is")
        if identity is None:
            return UNAUTHENTICATED
        if self.revocations.covers(identity.session, now):
            return REVOKED_SESSION.of(identity.user)
        return identity

    async def _wanted(self, match: Match, request: Request, address: str, now: float) -> Admission | Refusal:
        """What a request would get, if ``authorize`` agrees and there are leases for it."""
        identity = await self._identify(request, now)
        if isinstance(identity, Refusal):
            return identity
        resolved = await self._routes.resolve(match, request, identity)
        if isinstance(resolved, Refusal):
            return resolved.of(identity.user)
        after = last_id(request, takes_query=self._query_cursor or is_poll(request))
        if resolved.source and after == UNTOLD:
            return _FOREIGN.of(identity.user)
        guarded = {
            name: resolved.values(name)
            for name in resolved.channels
            if name not in resolved.open and not identity.may_read(name)
        }
        caps = () if request.method == "HEAD" else self._limits.caps(identity.user, address)
        varies = resolved.compress
        compress = varies and takes_gzip(request.all(b"accept-encoding"))
        asks = resolved.greetings or resolved.source
        return Admission(
            identity,
            resolved.channels,
            place(after),
            address,
            caps,
            guarded,
            varies,
            compress,
            resolved.first,
            resolved.greetings,
            match.params if asks else NO_VALUES,
            resolved.source,
            after if resolved.source else None,
        )

    async def _lease(self, wanted: Admission, *, counted: bool) -> Refusal | None:
        """Take its leases, or say why not; what the rate has not ``counted`` is counted in the same step."""
        user, caps = wanted.identity.user, wanted.caps
        if counted and not caps:
            return None
        try:
            refused = await (self._leases.acquire(caps) if counted else self.rate.enter(wanted.address, caps))
        except BackendError:
            return BACKEND_DOWN.of(user)
        # No await from here on: who holds leases must learn of them.
        if refused is None:
            return None
        if isinstance(refused, float):
            return _too_fast(refused)
        return (USER_LIMIT if refused.startswith("user:") else IP_LIMIT).of(user)


def _too_fast(wait: float) -> Refusal:
    return replace(CONNECT_RATE, retry_after=max(1.0, wait))


def _is_yes(answer: object) -> bool:
    # Databases say 1.  What is merely true for Python, a response or a generator, was meant otherwise.
    if answer and not isinstance(answer, int):
        raise TypeError(f"authorize must return True or False, not {type(answer).__name__}")
    return bool(answer)
