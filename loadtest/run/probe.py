"""Is there a stream to load at all?  One is opened, and one event sent, before thousands are."""

from __future__ import annotations

import json
import socket
import ssl
import time
from typing import Any

from sse_edge import ConfigError, Publisher

from ..client.target import Target, TargetError
from ..client.wire import WireError, read_chunks, read_head
from .member import target as named
from .options import secret
from .press import Press

SECONDS = 5.0
"""Within which a stream begins, and an event arrives."""

FIRST = 999_999_999
"""The number of the client that looks: no other has its user."""


class ProbeError(RuntimeError):
    """There is nothing to load, for this reason."""


def examine(options: Any) -> None:
    """Raises ProbeError, which says what to change."""
    if not secret():
        raise ProbeError("no secret: set SSE_EDGE_SECRET to the one of the app's SignedCookie")
    try:
        target = named(options)
    except (TargetError, ValueError, OSError) as error:
        raise ProbeError(f"--target: {error}") from error
    try:
        Publisher(options.redis)
    except ConfigError as error:
        raise ProbeError(f"--redis: {error}") from error
    for number in range(len(target.addresses)):
        _look(target, number, options)


def _look(target: Target, number: int, options: Any) -> None:
    address = target.addresses[number]
    place = f"{target.host}:{address[1]}"
    try:
        plain = socket.create_connection(address, SECONDS)
    except OSError as error:
        raise ProbeError(f"--target: {place} cannot be reached: {error.strerror or error}") from error
    with plain:
        try:
            connection = _secured(plain, target) if target.context else plain
        except (OSError, ssl.SSLError) as error:
            raise ProbeError(
                f"--target: no TLS with {place}: {error}; a private authority needs --cacert"
            ) from error
        with connection:
            connection.settimeout(SECONDS)
            connection.sendall(target.request(FIRST, target.user(FIRST), ""))
            _hear(connection, options, place)


def _secured(plain: socket.socket, target: Target) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=target.authority)
    return context.wrap_socket(plain, server_hostname=target.host)


def _hear(connection: socket.socket, options: Any, place: str) -> None:
    held = f"a proxy on the way to {place} holds the stream back (proxy_buffering on, or a compressor)"
    doctor = "`sse-edge doctor` with the same URL says more"
    try:
        data = connection.recv(65_536)
        while (found := read_head(data)) is None:
            data += _more(connection)
        head, rest = found
        if head.status != 200:
            raise ProbeError(_refusal(head.status, rest, place))
        piece = read_chunks(rest, b"")
        while not any(block.id for block in piece.blocks):
            refused = [
                json.loads(block.data or "{}") for block in piece.blocks if block.event == "edge-refused"
            ]
            if refused:
                raise ProbeError(
                    f"{place} refuses streams: {refused[0].get('error')}, {refused[0].get('detail')}"
                )
            if piece.over or head.length is not None:
                raise ProbeError(
                    f"the proxy at {place} answers by itself: the app behind it cannot be reached"
                )
            piece = read_chunks(piece.chunk + _more(connection), piece.text)
    except TimeoutError:
        raise ProbeError(f"nothing came within {SECONDS:g} s: {held}; {doctor}") from None
    except WireError as error:
        raise ProbeError(f"--target: {place} sends no event stream: {error}") from error
    except OSError as error:
        raise ProbeError(f"--target: {place} closed the connection: {error}") from error
    _event(connection, piece.chunk, piece.text, options, f"{held}, or Redis is another one")


def _event(connection: socket.socket, chunk: bytes, text: bytes, options: Any, why: str) -> None:
    """Publish one, and hear it."""
    mark = f"probe-{time.time_ns()}"
    press = Press(options.redis)
    try:
        press.ask("say", channel=options.channel, data=mark)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            piece = read_chunks(chunk + _more(connection), text)
            if any(block.data == mark for block in piece.blocks):
                return
            chunk, text = piece.chunk, piece.text
        raise TimeoutError
    except TimeoutError:
        raise ProbeError(
            f"an event published to {options.channel!r} on {_place(options.redis)} did not arrive within "
            f"{SECONDS:g} s: {why} (--redis), or the target does not carry --channel"
        ) from None
    except RuntimeError as error:
        raise ProbeError(f"--redis: {_place(options.redis)}: {error}") from error
    finally:
        press.end()


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise OSError("the stream ended")
    return data


def _refusal(status: int, body: bytes, place: str) -> str:
    code = body[body.find(b"{") :].partition(b"\r\n")[0].decode(errors="replace")[:200]
    reasons = {
        401: "SSE_EDGE_SECRET is not the secret of the app, or --cookie not its cookie",
        403: "the app does not let this origin or user in",
        404: "there is no stream at this path",
    }
    return f"{place} answers {status}: {reasons.get(status, 'that is no stream')} {code}".rstrip()


def _place(url: str) -> str:
    """A URL without what is secret in it."""
    return url.rpartition("@")[2] if "@" in url else url
