"""What a load balancer, an orchestrator and Prometheus are told, on allowed networks or with a token only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..admission.address import TrustedProxies
from ..admission.status_token import StatusToken
from ..asgi import Headers, Request, Send, refuse, respond
from ..errors import ConfigError
from ..figures import Figures
from ..outcome import METHOD
from .exposition import content_type
from .scrapes import Scrapes

TEXT: Headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]

PROXIED = frozenset(
    (
        b"cdn-loop",
        b"cf-connecting-ip",
        b"fastly-client-ip",
        b"fly-client-ip",
        b"forwarded",
        b"proxy-client-ip",
        b"true-client-ip",
        b"via",
        b"x-azure-clientip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-original-forwarded-for",
        b"x-real-ip",
        b"x-varnish",
        b"x-vercel-forwarded-for",
    )
)
"""Headers by which proxies say that they are one, each some of them; besides all that begin with
``FORWARDED``."""

FORWARDED = b"x-forwarded"


class Status:
    """Answers ``<path>/live``, ``<path>/ready`` and ``<path>/metrics`` for a worker of the ``edge``.

    ``live`` is 200 while the process answers.  ``ready`` is 200 while new streams should be sent here,
    and 503 while it drains or the backend is away.  ``metrics`` is the Prometheus text format, and needs
    ``sse_edge[metrics]``: of all workers that share a directory of figures, as one or, with ``?by=worker``,
    each by itself; see ``Scrapes``.

    Peers outside ``allow`` (networks, or ``"unix"``) get 404 as if there were nothing, and so does what came
    through a proxy that says so (``PROXIED``): a proxy on this machine has an allowed address, and whoever
    is behind it has not.  Whoever has a ``token`` is answered wherever he is.
    """

    def __init__(
        self,
        path: str,
        allow: Sequence[str],
        *,
        token: StatusToken | None = None,
        edge: str = "",
        ready: Callable[[], bool],
        figures: Callable[[], Figures],
    ) -> None:
        if not isinstance(path, str) or not path.startswith("/") or path.endswith("/"):
            raise ConfigError("status_path", "must begin with / and not end with it", path)
        self._path = path
        try:
            self._allowed = TrustedProxies(allow)
        except ConfigError as error:
            raise ConfigError("status_allow", "must be a list of networks, or unix", error.value) from error
        self._token = token
        self._ready = ready
        self._scrapes = Scrapes(f"{edge} {path}", figures)

    def under(self, path: str) -> bool:
        """Whether ``path`` is answered here."""
        return path.startswith(self._path + "/")

    def begin(self) -> None:
        """A worker begins, and is told of from now on."""
        self._scrapes.begin()

    def end(self) -> None:
        """It is over."""
        self._scrapes.end()

    async def answer(self, request: Request, send: Send) -> None:
        """Answer one request."""
        asked = request.path.removeprefix(self._path)
        if asked not in ("/live", "/ready", "/metrics") or not await self._lets(request):
            await respond(send, 404, TEXT, b"not found\n")
        elif request.method not in ("GET", "HEAD"):
            await refuse(send, METHOD.because("only GET and HEAD are answered here"), [], allow=b"GET, HEAD")
        elif asked == "/live":
            await respond(send, 200, TEXT, b"live\n")
        elif asked == "/ready":
            ready = self._ready()  # not of the figures, which take longer the more channels there are
            await respond(send, 200 if ready else 503, TEXT, b"ready\n" if ready else b"not ready\n")
        else:
            await self._metrics(request, send)

    async def _lets(self, request: Request) -> bool:
        if self._allowed.trusts_peer(request) and not any(_is_proxied(name) for name, _ in request.headers):
            return True
        return self._token is not None and await self._token.lets(request)

    async def _metrics(self, request: Request, send: Send) -> None:
        by = request.query.get("by", [])
        if by not in ([], ["worker"]):
            await respond(send, 400, TEXT, b"metrics are told of all workers, or with ?by=worker of each\n")
            return
        try:
            kind = content_type()
        except ImportError:
            await respond(send, 501, TEXT, b"metrics need: pip install 'sse_edge[metrics]'\n")
            return
        try:
            said = await self._scrapes.text(by_worker=bool(by))
        except OSError as error:
            why = f"the figures of other workers cannot be read: {error.strerror}\n"
            await respond(send, 503, TEXT, why.encode())
            return
        headers: Headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
        await respond(send, 200, headers, said)


def _is_proxied(name: bytes) -> bool:
    return name in PROXIED or name.startswith(FORWARDED)
