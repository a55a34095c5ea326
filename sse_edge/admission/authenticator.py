"""Who says who a request comes from, and how it is asked."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from asgiref.sync import async_to_sync

from ..asgi import Headers, Request, Scope
from ..errors import ConfigError
from ..identity import Identity
from .callback import Callback, is_async, method
from .settings import flag

Answer = Identity | None
"""Who asks; None if nothing valid proves it."""

_AWAIT = "who this is takes time to find out: in async code, await auth.identify_scope_async(scope)"

F = TypeVar("F", bound=Callable[..., Any])


class Authenticator(Protocol):
    """Says who a request comes from.

    ``identify`` answers at once, may be async, or runs in a thread where the object says ``blocking = True``,
    as one that asks a database must.  An object may also have ``anonymous``, True when its identities have
    no user; ``max_age``, the seconds that a session of it lives; and ``headers_for(user, channels)``, the
    headers of a request that it takes for that user's, with which tests sign in.  ``AnyOf(it)`` adds
    ``identify_scope``, the way in for views.
    """

    def identify(self, request: Request, now: float, /) -> Answer | Awaitable[Answer]:
        """Who asks, at Unix time ``now``; None if nothing valid proves it."""


class Scoped:
    """Adds the way in for the application's own views."""

    def identify_scope(self, scope: Scope) -> Answer:
        """Who makes the request, or opens the WebSocket, of an ASGI scope: an Identity or None, now.

        For views that have to know it as the streams do.  A session that was revoked is still known here
        until it has expired: what it may do in a view is the view's to say.

        Raises what ``identify`` does, and RuntimeError on an event loop where that would have to wait, as it
        has to where ``identify`` is async or ``blocking``: see ``identify_scope_async``.
        """
        if _waits(self) and _on_loop():
            raise RuntimeError(_AWAIT)
        return _told(cast("Authenticator", self), Request.of(scope), time.time())

    async def identify_scope_async(self, scope: Scope) -> Answer:
        """The same for async views, however it is asked: in a thread, where it has to be asked in one."""
        now = time.time()
        return valid(await checked(self)(Request.of(scope), now), now)


class AnyOf(Scoped):
    """Several authenticators, asked in order: the first that knows who it is has said it.

    A session that has expired is nobody's, and the next one is asked.  Raises ConfigError.
    """

    def __init__(self, *authenticators: Authenticator) -> None:
        if not authenticators:
            raise ConfigError("auth", "AnyOf needs one authenticator at least", authenticators)
        self.each = authenticators
        self._asks = [checked(one) for one in authenticators]
        self._waits = any(map(_waits, authenticators))

    @property
    def anonymous(self) -> bool:
        """True when none of its identities has a user."""
        return all(getattr(one, "anonymous", False) for one in self.each)

    @property
    def max_age(self) -> float | None:
        """How long a session of any of them lives at most, in seconds; None if one of them does not say."""
        ages: list[float | None] = [getattr(one, "max_age", None) for one in self.each]
        known = [age for age in ages if age is not None]
        return max(known) if len(known) == len(ages) else None

    def identify(self, request: Request, now: float) -> Any:
        """What the first says that knows; awaitable if any of them is, or takes a thread."""
        if self._waits:
            return self._identify(request, now)
        for one in self.each:
            identity = valid(one.identify(request, now), now)
            if identity is not None:
                return identity
        return None

    async def _identify(self, request: Request, now: float) -> Answer:
        for ask in self._asks:
            identity = valid(await ask(request, now), now)
            if identity is not None:
                return identity
        return None

    def headers_for(self, user: str, channels: Sequence[str] = ()) -> Headers:
        """Those of the first that can sign ``user`` in.  Raises ConfigError where none can."""
        for one in self.each:
            headers_for = getattr(one, "headers_for", None)
            if headers_for is not None and not getattr(one, "anonymous", False):
                return cast("Headers", headers_for(user, channels))
        raise ConfigError("auth", "none of these can sign a user in", self.each)


def quick(identify: F) -> F:
    """Mark an ``identify`` that answers within microseconds, so that it may be asked before anything else.

    What others made may take its time, and is asked only of those who do not come too fast.
    """
    identify.quick = True  # type: ignore[attr-defined]
    return identify


def is_quick(auth: object) -> bool:
    """Whether ``auth`` answers within microseconds; one that another was made of only if it says so again."""
    if isinstance(auth, AnyOf):
        return all(map(is_quick, auth.each))
    return getattr(getattr(auth, "identify", None), "quick", False) and not _waits(auth)


def blocks(auth: object) -> bool:
    """Whether ``auth``, or any of several, is to be asked in a thread."""
    if isinstance(auth, AnyOf):
        return any(map(blocks, auth.each))
    return bool(getattr(auth, "blocking", False))


def lets_anyone(auth: object) -> bool:
    """Whether ``auth`` lets in who proves nothing."""
    if isinstance(auth, AnyOf):
        return any(map(lets_anyone, auth.each))
    return bool(getattr(auth, "anonymous", False))


def checked(auth: object) -> Callback:
    """What asks ``auth``, however it answers; see ``callback``.

    Raises ConfigError for what can identify nobody: no ``identify``, a class where an object is meant, other
    arguments, a flag that is none.
    """
    must = "must be SignedCookie(…), Anonymous() or have an identify method"
    ask = method("auth", auth, "identify", "request", "now", must=must)
    flag("auth.anonymous", getattr(auth, "anonymous", False))
    return ask


def authenticator(auth: object) -> Authenticator:
    """``auth``, if it can identify anybody.  Raises ConfigError; see ``checked``."""
    checked(auth)
    return cast("Authenticator", auth)


def valid(identity: object, now: float) -> Answer:
    """What an authenticator answered, if it is somebody whose session has not expired.

    Raises TypeError for what is no answer.
    """
    if identity is None:
        return None
    if not isinstance(identity, Identity):
        raise TypeError(f"identify must return an Identity or None, not {type(identity).__name__}")
    return None if identity.expires is not None and identity.expires <= now else identity


def _waits(auth: object) -> bool:
    if getattr(auth, "answers_later", False):
        return True
    if isinstance(auth, AnyOf):
        return any(map(_waits, auth.each))
    return blocks(auth) or is_async(getattr(auth, "identify", None))


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _told(auth: Authenticator, request: Request, now: float) -> Answer:
    """What ``auth`` answers, in the thread that asks."""
    if isinstance(auth, AnyOf):
        answers = (_told(one, request, now) for one in auth.each)
        return next((answer for answer in answers if answer is not None), None)
    answer = auth.identify(request, now)
    if inspect.iscoroutine(answer) and _on_loop():
        answer.close()
        raise RuntimeError(_AWAIT)
    if inspect.isawaitable(answer):
        answer = async_to_sync(_awaited)(answer)
    return valid(answer, now)


async def _awaited(answer: Awaitable[Answer]) -> Answer:
    return await answer
