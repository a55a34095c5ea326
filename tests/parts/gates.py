"""Parts for tests of the gate: one with nothing in its way, and a request that it would admit."""

from sse_edge.admission.address import TrustedProxies
from sse_edge.admission.cookies import SignedCookie
from sse_edge.admission.gate import Gate
from sse_edge.admission.limits import Limits
from sse_edge.admission.origin import OriginPolicy
from sse_edge.admission.routes import Routes
from sse_edge.asgi import Request

NOW = 1_700_000_000.0
AUTH = SignedCookie("a secret of the tests")
COOKIE = AUTH.issue("u42", ["signed.*"], session="s", now=NOW)

CHANNELS = {
    "/events/me": ["user:{user}", "news"],
    "/events/{name}": "{name}",
    "/events/two/{a}/{b}": ["{a}", "{b}"],
}


class Books:
    """Leases that write down what is taken, and say what they are told to."""

    def __init__(self, full=None, error=None):
        self.full = full
        self.error = error
        self.asked = []
        self.gate = None

    async def acquire(self, caps):
        self.asked.append(list(caps))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.full

    def release(self, subjects):
        raise AssertionError("the gate releases nothing")


def make(leases=None, **settings):
    """A gate with these settings, and nothing in the way otherwise."""
    auth = settings.pop("auth", AUTH)
    return Gate(
        auth=auth,
        routes=settings.pop("routes", None) or Routes("/events", CHANNELS, anonymous=auth.anonymous),
        origin=settings.pop("origin", OriginPolicy()),
        proxies=settings.pop("proxies", TrustedProxies()),
        limits=settings.pop("limits", Limits()),
        leases=leases or Books(),
        **settings,
    )


def asking(path="/events/me", *headers, method="GET", cookie=COOKIE, **fields):
    """A request that would be admitted, but for what is changed."""
    named = [("host", "app.example.com"), *headers]
    if cookie is not None:
        named.append(("cookie", f"session={cookie}"))
    raw = tuple((name.encode(), value.encode("latin-1")) for name, value in named)
    return Request(method, path, raw, peer=fields.pop("peer", "192.0.2.1"), **fields)


async def admit(gate, request, *, streams=0, draining=False):
    """The gate's answer."""
    return await gate.admit(request, NOW, streams=streams, draining=draining)
