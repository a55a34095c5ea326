"""How a stream's bytes are marked off for clients that speak HTTP/1.0."""

from __future__ import annotations

from typing import Any

from ..asgi import Message, Scope, Send


def unframed(scope: Scope, send: Send) -> Send:
    """``send``, but that an HTTP/1.0 client gets a stream without chunks, which ends with the connection.

    RFC 9112, section 6.1: no Transfer-Encoding in an answer to HTTP/1.0.  uvicorn with httptools sends it all
    the same, and other servers do not; nginx with ``proxy_http_version 1.0`` reads both.
    """
    cycle: Any = getattr(send, "__self__", None)
    if scope.get("http_version") != "1.0" or not _frames(cycle):
        return send

    async def plain(message: Message) -> None:
        if message["type"] == "http.response.start":
            cycle.chunked_encoding = False
        else:  # what uvicorn thinks is left of a Content-Length
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    return plain


def _frames(cycle: Any) -> bool:
    """Whether it is uvicorn's with httptools, before the answer; with others it is the parser that frames."""
    undecided = getattr(cycle, "chunked_encoding", False) is None and hasattr(
        cycle, "expected_content_length"
    )
    return undecided and type(cycle).__module__.startswith("uvicorn.")
