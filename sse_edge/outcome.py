"""The catalogue: every way a request is refused and every way a stream ends.

The same code is what the client reads, what the log says and what the metric counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no stream, or nothing is published.

    ``code`` is stable and documented, ``status`` the HTTP status, ``detail`` a sentence for a person,
    ``retry_after`` seconds to wait before another attempt makes sense (only on 429 and 503).  ``user`` and
    ``cause`` are for the log alone: who was refused, as far as that is known, and what failed.  ``more`` is
    what a program that publishes is told besides.
    """

    code: str
    status: int
    detail: str
    retry_after: float | None = None
    user: str | None = field(default=None, compare=False)
    cause: str = field(default="", compare=False)
    more: tuple[tuple[str, object], ...] = field(default=(), compare=False)

    def because(self, detail: str) -> Refusal:
        """The same refusal with a more exact sentence."""
        return replace(self, detail=detail)

    def of(self, user: str | None, cause: str = "") -> Refusal:
        """The same refusal for the log: of whom, and what failed."""
        return replace(self, user=user, cause=cause or self.cause)

    def telling(self, **more: object) -> Refusal:
        """The same refusal with more in its body; what is None is left out."""
        said = tuple((name, value) for name, value in more.items() if value is not None)
        return replace(self, more=self.more + said)

    def body(self) -> bytes:
        """The JSON a client reads: ``{"error": code, "detail": …}``."""
        return json.dumps({"error": self.code, "detail": self.detail, **dict(self.more)}).encode()


BAD_REQUEST = Refusal("bad-request", 400, "the request is malformed")
UNAUTHENTICATED = Refusal("unauthenticated", 401, "no valid session cookie or token")
ORIGIN = Refusal("origin", 403, "this origin may not read streams here")
FORBIDDEN = Refusal("forbidden", 403, "this channel may not be read by this user")
NOT_FOUND = Refusal("not-found", 404, "there is no stream at this path")
OVER = Refusal("finished", 204, "everything here has finished, and this client has had all of it")
METHOD = Refusal("method", 405, "only GET, HEAD and OPTIONS are answered here")
TOO_SLOW = Refusal("too-slow", 408, "the body took too long to come")
TOO_LARGE = Refusal("too-large", 413, "this is more than is taken at once")
MEDIA_TYPE = Refusal("media-type", 415, "the body must be application/json in UTF-8, and not compressed")
USER_LIMIT = Refusal("user-limit", 429, "too many open streams for this user", 5.0)
IP_LIMIT = Refusal("ip-limit", 429, "too many open streams from this address", 5.0)
CONNECT_RATE = Refusal("connect-rate", 429, "too many new streams from this address", 5.0)
WORKER_FULL = Refusal("worker-full", 503, "this server holds as many streams as it may", 5.0)
DRAINING = Refusal("draining", 503, "this server is about to stop", 2.0)
BACKEND_DOWN = Refusal("backend-down", 503, "the event source cannot be reached at the moment", 5.0)

REFUSALS: tuple[Refusal, ...] = (
    OVER,
    BAD_REQUEST,
    UNAUTHENTICATED,
    ORIGIN,
    FORBIDDEN,
    NOT_FOUND,
    METHOD,
    TOO_SLOW,
    TOO_LARGE,
    MEDIA_TYPE,
    USER_LIMIT,
    IP_LIMIT,
    CONNECT_RATE,
    WORKER_FULL,
    DRAINING,
    BACKEND_DOWN,
)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why an open stream ended.

    ``told`` says whether the client gets a last ``edge-close`` event with the reason: not when it is
    gone already, and not when it does not read.
    """

    reason: str
    told: bool = True


CLIENT_GONE = Ending("client-gone", told=False)
MAX_DURATION = Ending("max-duration")
SESSION_EXPIRED = Ending("session-expired")
REVOKED = Ending("revoked")
FORBIDDEN_SINCE = Ending("forbidden")
FINISHED = Ending("finished")
ANSWERED = Ending("answered")
"""As every poll ends that has come to its answer."""

SLOW = Ending("slow", told=False)
DRAIN = Ending("drain")
BACKEND_LOST = Ending("backend-lost")
ERROR = Ending("error")

ENDINGS: tuple[Ending, ...] = (
    CLIENT_GONE,
    MAX_DURATION,
    SESSION_EXPIRED,
    REVOKED,
    FORBIDDEN_SINCE,
    FINISHED,
    ANSWERED,
    SLOW,
    DRAIN,
    BACKEND_LOST,
    ERROR,
)
