"""Who is let in, and who is not."""

from __future__ import annotations

from collections.abc import Sequence

from ...identity import Identity
from ..finding import Finding, found, ok, unknown
from ..wire import Answer
from . import arrival, verdict
from .opening import asks_password
from .verdict import Verdict

NOBODY = Identity(None).mark
"""What the app tells of who has neither user nor session."""


def cors(replies: Sequence[Answer], own: str) -> Finding:
    """Answers to requests of no page that may read them, but the URL's ``own`` origin's."""
    for reply in replies:
        allowed = reply.header("access-control-allow-origin")
        if allowed not in ("", own):
            return found("CORS", "cors-replaced", f"Access-Control-Allow-Origin: {allowed}{reply.by}")
    return ok("CORS", "left to the app")


def own_origin(reply: Answer, origin: str) -> Finding:
    """A request with the URL's own origin."""
    came = verdict.of(reply)
    if came is Verdict.REFUSED and reply.status == 403:
        return found("own origin", "own-origin-refused", f"Origin: {origin} gets 403")
    if came is not Verdict.SERVED:
        return unknown("own origin", verdict.neither(reply))
    return ok("own origin", f"{origin} is known as its own")


def page_origin(reply: Answer, origin: str) -> Finding:
    """A request of a page of another origin that should be served."""
    allowed, credentials = (
        reply.header(f"access-control-allow-{name}") for name in ("origin", "credentials")
    )
    came = verdict.of(reply)
    if came is Verdict.REFUSED:
        return found("page origin", "page-refused", f"Origin: {origin} gets {reply.status}")
    if came is Verdict.NEITHER:
        return unknown("page origin", verdict.neither(reply))
    if allowed != origin or credentials != "true":
        return found(
            "page origin", "page-refused",
            f"Access-Control-Allow-Origin: {allowed or 'missing'}, -Credentials: {credentials or 'missing'}",
        )  # fmt: skip
    return ok("page origin", f"{origin} may read")


def foreign_origin(foreign: Answer, null: Answer) -> Finding:
    """Requests with another site's Origin, and with ``null``; each should be refused, by the app."""
    both = (("https://foreign.invalid", foreign), ("null", null))
    for name, reply in both:
        if verdict.of(reply) is Verdict.SERVED:
            return found("foreign origin", "origin-accepted", f"Origin: {name} gets a stream")
    for name, reply in both:
        if verdict.of(reply) is Verdict.NEITHER:
            return unknown("foreign origin", f"Origin: {name} gets {verdict.neither(reply)}")
    return ok("foreign origin", f"refused ({foreign.status})")


def cross_site(reply: Answer) -> Finding:
    """A request without Origin that says Sec-Fetch-Site: cross-site."""
    came = verdict.of(reply)
    if came is Verdict.SERVED:
        return found("cross-site", "cross-site-accepted", "Sec-Fetch-Site: cross-site gets a stream")
    if came is Verdict.NEITHER:
        return unknown("cross-site", verdict.neither(reply))
    return ok("cross-site", f"refused ({reply.status})")


def upgrade(reply: Answer) -> Finding:
    """A request with ``H2C``."""
    offered = reply.header("upgrade")
    if reply.status == 101:
        return found("upgrade", "upgrade-passed", "Upgrade: h2c gets 101 Switching Protocols")
    if "h2c" in offered.lower():
        return found("upgrade", "upgrade-passed", f"the answer offers Upgrade: {offered}")
    return ok("upgrade", f"Upgrade: h2c gets {reply.status}, and no tunnel")


def without_cookie(reply: Answer) -> Finding:
    """The same request without a cookie, which wants to be told whose the answer is."""
    if asked := asks_password(reply):
        return asked[0]
    came = verdict.of(reply)
    if came is Verdict.REFUSED:
        return ok("no cookie", f"refused ({reply.status})")
    if came is Verdict.NEITHER:
        return unknown("no cookie", verdict.neither(reply))
    return _as_whom(reply)


def _as_whom(reply: Answer) -> Finding:
    """Whom a stream without a cookie is for."""
    if arrival.read(reply):
        return found("no cookie", "cached", "a request without a cookie got the answer to one with it")
    whose = reply.header("edge-identity")
    if whose == NOBODY:
        return ok("no cookie", "served as nobody in particular: everybody may listen (Anonymous)")
    if whose:
        return found("no cookie", "cookie-injected", "served as a user, or a session, without a cookie")
    return unknown("no cookie", "served, and not told as whom: ask the app itself, past the proxy")


def cookies(replies: Sequence[Answer], name: str, path: str, *, https: bool) -> Finding:
    """The attributes of the session cookie wherever it was set."""
    lines = [line for reply in replies for line in reply.all("set-cookie") if line.startswith(f"{name}=")]
    if not lines:
        return unknown("cookie", f"no answer set {name!r}; --page names a path that does, --name the cookie")
    attributes = {
        key.strip().lower(): value.strip()
        for key, _, value in (part.partition("=") for part in lines[-1].split(";")[1:])
    }
    wrong = [
        f"no {flag}"
        for flag in ("HttpOnly", *(["Secure"] if https else []))
        if flag.lower() not in attributes
    ]
    if attributes.get("samesite", "").lower() not in ("lax", "strict"):
        wrong.append(f"SameSite={attributes.get('samesite') or 'missing'}")
    covered = attributes.get("path", "/")
    if not (path == covered or path.startswith(covered.rstrip("/") + "/")):
        wrong.append(f"Path={covered} does not cover {path}")
    if wrong:
        return found("cookie", "cookie-attributes", f"{name}: {', '.join(wrong)}")
    return ok("cookie", f"{name}: HttpOnly{'; Secure' if https else ''}; SameSite={attributes['samesite']}")


def spoofing(attempts: int, refused: Answer | None, other: Answer | None) -> Finding:
    """``refused``: the 429 after ``attempts``; ``other``: the next answer, another address being claimed."""
    if refused is None or other is None:
        return unknown("spoofing", f"no limit was met in {attempts} attempts: is connects_per_ip off?")
    if "json" not in refused.header("content-type"):
        return unknown(
            "spoofing", "the proxy's own limit came before the app's; its log has the address it counts"
        )
    if other.status != 429:
        return found(
            "spoofing", "spoofable",
            f"refused after {attempts} attempts, and served ({other.status}) with another X-Forwarded-For",
        )  # fmt: skip
    return ok("spoofing", f"refused after {attempts} attempts, whatever X-Forwarded-For claims")
