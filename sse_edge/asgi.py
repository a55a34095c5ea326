"""ASGI: its types, one request read without losing repeated headers, and answers that are no stream."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from .outcome import METHOD, OVER, Refusal

if TYPE_CHECKING:
    from .identity import Identity

__all__ = ["Receive", "Request", "Scope", "Send"]

Scope = MutableMapping[str, Any]
"""What a server says of a connection: ``type``, ``path``, ``headers``, …"""
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
"""Waits for the next message of the client's."""
Send = Callable[[Message], Awaitable[None]]
"""Sends a message to the client."""
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
"""Of three arguments that each framework has types of its own for: dictionaries, mappings, typed ones."""

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
NO_STORE: Headers = [(b"cache-control", b"no-store, no-transform"), (b"x-content-type-options", b"nosniff")]

CLOSE = (b"connection", b"close")
"""No request can follow on this connection (RFC 9112, section 9.6)."""

LINGER = 1.0
"""Seconds for a client that still sends to take its answer, before its connection is closed."""

LEFTOVER = 262_144
"""Bytes of its body that are taken, and dropped, meanwhile."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, as policies and ``channels`` callables see it.

    ``path`` is below the mount point, decoded.  ``peer`` is the address at the other end of the
    socket, None on a unix socket, and ``server`` address and port of this end, as the server says
    them.  ``params`` are the path template's values and ``identity`` is who asks; both are filled in on
    the way through the gate.
    """

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    query_string: bytes = b""
    scheme: str = "http"
    peer: str | None = None
    server: tuple[str, int | str | None] | None = None
    params: Mapping[str, str] | None = None
    identity: Identity | None = None
    _once: dict[bytes, bytes] | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, scope: Scope, path: str | None = None) -> Request:
        """Read an ASGI ``http`` scope, or a ``websocket`` one: its handshake is a GET (RFC 6455, 4.1).

        ``path``, where that is another one than ``route_path`` says.
        """
        client, server = scope.get("client"), scope.get("server")
        return cls(
            method=scope.get("method", "GET"),
            path=route_path(scope) if path is None else path,
            headers=tuple(scope["headers"]),
            query_string=scope.get("query_string", b""),
            scheme=scope.get("scheme", "http"),
            peer=client[0] if client else None,
            server=(server[0], server[1]) if server else None,
        )

    def all(self, name: bytes) -> list[str]:
        """Every value of a header, in order; ``name`` in lower case."""
        once = self._once or self._by_name()
        value = once.get(name)
        if value is None:
            return []
        if len(once) == len(self.headers):  # none is repeated, as in almost every request
            return [value.decode("latin-1")]
        return [value.decode("latin-1") for key, value in self.headers if key == name]

    def once(self, names: Iterable[bytes]) -> tuple[bytes | None, ...] | None:
        """Each of these headers' values, None for one that is not there; None if any header is repeated."""
        once = self._once or self._by_name()
        return tuple(map(once.get, names)) if len(once) == len(self.headers) else None

    def first(self, name: bytes) -> str | None:
        """The first value of a header, or None."""
        values = self.all(name)
        return values[0] if values else None

    def _by_name(self) -> dict[bytes, bytes]:
        once = dict(self.headers)
        object.__setattr__(self, "_once", once)
        return once

    @property
    def has_body(self) -> bool:
        """Whether the head says that a body follows (RFC 9112, section 6.3); HTTP/2 need not say it."""
        once = self._once or self._by_name()
        if b"transfer-encoding" in once:
            return True
        return b"content-length" in once and any(each.strip("0 \t") for each in self.all(b"content-length"))

    @property
    def query(self) -> dict[str, list[str]]:
        """The query string's parameters, each with all its values."""
        return parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=100)

    def cookies(self, name: str) -> list[str]:
        """Every value of a cookie as it was sent, in the order of the client (RFC 6265, section 5.4)."""
        found = []
        for header in self.all(b"cookie"):
            for pair in header.split(";"):
                key, equals, value = pair.partition("=")
                if equals and key.strip(" \t") == name:
                    found.append(value.strip(" \t"))
        return found


def route_path(scope: Scope) -> str:
    """The path below the mount point (ASGI HTTP, ``root_path``)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :] or "/"
    return path


def mounted_path(scope: Scope, own: str) -> str:
    """The path of a request to what is mounted in another app, and has the path ``own`` by itself: below the
    mount point, and where that ends with ``own``, as it is outside.

    Litestar takes the mount point off ``path`` without telling ``root_path`` so, and puts a slash behind what
    is left.  Which of it was sent, ``raw_path`` knows.
    """
    whole: str = scope["path"]
    below = route_path(scope)
    if below.endswith("/") and (raw := scope.get("raw_path")):
        whole = unquote(raw.partition(b"?")[0].decode("latin-1"))
        if not whole.endswith("/"):
            below = "/" + below[:-1].removeprefix("/")
    outside = own.rstrip("/") + below
    return outside if whole.endswith(outside) else below


async def respond(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    """Send one whole response."""
    if status not in (204, 304):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def respond_head(send: Send, headers: Headers) -> None:
    """Answer a HEAD with 200.  Not by ``respond``: no length is said but what ``headers`` have, as a stream's
    have none."""
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def refuse(
    send: Send, refusal: Refusal, headers: Headers, allow: bytes = b"GET, HEAD, OPTIONS"
) -> None:
    """Say a refusal as a status; ``allow`` are the methods that are answered."""
    if refusal.status == OVER.status:  # which has no body
        await respond(send, refusal.status, [*NO_STORE, *headers])
        return
    head: Headers = [JSON, *NO_STORE, *headers]
    if refusal.retry_after is not None:
        head.append((b"retry-after", b"%d" % max(1, math.ceil(refusal.retry_after))))
    if refusal.status == METHOD.status:
        head.append((b"allow", allow))
    await respond(send, refusal.status, head, refusal.body())


def answering(scope: Scope, request: Request, receive: Receive, send: Send) -> tuple[Send, Headers]:
    """A ``send`` for an answer to ``request`` that is no stream, and what such an answer's head says besides.

    Nobody reads a body here, and a server need not take what is left of one that it may not keep.  HTTP/2 has
    others on its connection, and need not tell of a body before it comes.
    """
    if scope.get("http_version", "1.1") in ("2", "3"):  # "2.0" is what a client wrote over HTTP/1
        return reading_on(send, receive), []
    return (lingering(send, receive), [CLOSE]) if request.has_body else (send, [])


def lingering(send: Send, receive: Receive) -> Send:
    """A ``send`` for the answer to a request whose body is not wanted, after which the server closes.

    A connection that is closed while its client still sends is reset, and the reset may overtake the answer
    (RFC 9112, section 9.6).  A proxy takes that for a server that is broken; some leave it out for a while.
    So the answer is sent whole, and its end only when the client is done, or has had a second.
    """
    send = reading_on(send, receive)

    async def linger(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await send({**message, "more_body": True})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await _drop(receive)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    return linger


def reading_on(send: Send, receive: Receive) -> Send:
    """A ``send`` for the answer to a request that may have a body, for servers that put its pieces into a
    queue which only ``receive`` empties.

    hypercorn puts into that queue, too, that the request is over, and waits there for ever while it is full:
    within the ``send`` that came to the end, or found that the client has left, and with its connection.
    So the body is read, and dropped, while a ``send`` waits.
    """

    async def send_and_read(message: Message) -> None:
        reading = asyncio.create_task(_read_on(receive))
        try:
            await send(message)
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    return send_and_read


async def _read_on(receive: Receive) -> None:
    with contextlib.suppress(Exception):  # whatever a server says of a client that is gone
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            await asyncio.sleep(0)  # there may be more at once, and more again


async def _drop(receive: Receive) -> None:
    size = 0
    while size < LEFTOVER:
        message = await receive()
        if not message.get("more_body"):
            return
        size += len(message.get("body", b""))
    await asyncio.sleep(LINGER)  # the rest stays where it is
