"""Serving ``sse-edge.js`` to pages, so that what they run fits the edge that they talk to."""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import cache
from importlib import resources

from ..admission.encoding import takes_gzip
from ..asgi import Headers, Request, Send, refuse, respond, respond_head
from ..errors import ConfigError
from ..outcome import METHOD

SOURCE = resources.files(__package__).joinpath("sse-edge.js")
"""The module as it is written."""

SERVED = resources.files(__package__).joinpath("sse-edge.min.js")
"""The same as pages get it, made by ``make client``."""

_PATH = re.compile(r"/?(?:[\w-][\w.-]*/)*[\w-][\w.-]*", re.ASCII)

LATEST = b"no-cache"
"""It may be kept, and is asked for again each time, which costs a 304."""

FOR_GOOD = b"public, max-age=31536000, immutable"
"""What is at an address that has its hash never changes (RFC 8246)."""


class Script:
    """Answers ``path`` with the module, or with nothing where that is None.

    A ``path`` without a slash is a name below ``base``, the path of the edge.  At ``url``, which has the hash
    of its text, it is kept for good; at ``path`` alone it is asked for again.  It holds no secret and answers
    every page.

    Raises ConfigError.
    """

    def __init__(self, path: str | None, base: str) -> None:
        if path is not None and (not isinstance(path, str) or not _PATH.fullmatch(path)):
            raise ConfigError(
                "client_path", "must be a plain name such as sse-edge.js, or a path of such", path
            )
        self.path = path if path is None or path.startswith("/") else f"{base.rstrip('/')}/{path}"
        self._body, self._small, self._version = _read()

    @property
    def url(self) -> str | None:
        """Where pages import it from, below the mount point; it changes when the module does."""
        return None if self.path is None else f"{self.path}?v={self._version}"

    def at(self, path: str) -> bool:
        """Whether ``path`` is answered here."""
        return path == self.path

    async def answer(self, request: Request, send: Send) -> None:
        """Answer with the module, compressed for whoever takes that, or that it is known already."""
        if request.method not in ("GET", "HEAD"):
            await refuse(send, METHOD, [], allow=b"GET, HEAD")
            return
        small = takes_gzip(request.all(b"accept-encoding"))
        tag = f'"{self._version}{"-gzip" if small else ""}"'
        named = request.query_string == b"v=" + self._version.encode()
        headers: Headers = [
            (b"content-type", b"text/javascript; charset=utf-8"),
            (b"cache-control", FOR_GOOD if named else LATEST),
            (b"etag", tag.encode()),
            (b"vary", b"accept-encoding"),
            (b"access-control-allow-origin", b"*"),
            (b"cross-origin-resource-policy", b"cross-origin"),
            (b"x-content-type-options", b"nosniff"),
        ]
        if small:
            headers.append((b"content-encoding", b"gzip"))
        body = self._small if small else self._body
        if _knows(request, tag):
            await respond(send, 304, headers)
        elif request.method == "HEAD":
            headers.append((b"content-length", b"%d" % len(body)))
            await respond_head(send, headers)
        else:
            await respond(send, 200, headers, body)


@cache
def _read() -> tuple[bytes, bytes, str]:
    """The module, compressed too, and the hash of its text: once for all edges of a process."""
    body = SERVED.read_bytes()
    return body, gzip.compress(body, 9, mtime=0), hashlib.sha256(body).hexdigest()[:16]


def _knows(request: Request, tag: str) -> bool:
    """Whether whoever asks has it (RFC 9110, section 13.1.2)."""
    said = ",".join(request.all(b"if-none-match")).split(",")
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in said)
