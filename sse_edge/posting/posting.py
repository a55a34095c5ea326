"""Publishing for programs that are not Python: a request with a token and JSON becomes events."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from ..admission.publish_gate import PublishGate
from ..asgi import JSON, NO_STORE, Headers, Receive, Request, Scope, Send, answering, refuse, respond
from ..backends.base import Backend
from ..errors import ConfigError, EventError, PublishError
from ..event import MAX_EVENT_BYTES
from ..outcome import BACKEND_DOWN, OVER, TOO_LARGE, TOO_SLOW, Refusal
from ..tracing import publishing
from ..worker import Worker
from .submission import MAX_BODY, read, refused

BODY_TIME = 10.0
"""Seconds in which a body has to come."""


class Publishing:
    """Answers ``path`` alone: a POST that ``gate`` lets in is published to ``backend``.

    An event has ``most`` bytes.

    ``outcomes`` counts requests: ``published``, ``client-gone``, or the code of the refusal.
    Raises ConfigError.
    """

    def __init__(self, path: str, gate: PublishGate, backend: Backend, most: int = MAX_EVENT_BYTES) -> None:
        if not isinstance(path, str) or not path.startswith("/") or path.endswith("/"):
            raise ConfigError("publish_path", "must begin with / and not end with it", path)
        self.outcomes: Counter[str] = Counter()
        self._path = path
        self._gate = gate
        self._backend = backend
        self._most = most

    def at(self, path: str) -> bool:
        """Whether ``path`` is answered here."""
        return path == self._path

    async def answer(self, worker: Worker, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Publish what a request asks for, or say why not."""
        worker.publishing += 1
        try:
            await self._answer(worker, path, scope, receive, send)
        finally:
            worker.publishing -= 1

    async def _answer(self, worker: Worker, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope, path)
        publisher = await self._gate.admit(request, time.time())
        if isinstance(publisher, Refusal):
            await self._refuse(worker, request, publisher, *answering(scope, request, receive, send))
            return
        body = await _body(request, receive)
        if body is None:
            self.outcomes["client-gone"] += 1
        elif isinstance(body, Refusal):
            unread = answering(scope, request, receive, send)
            await self._refuse(worker, request, body.of(publisher.user), *unread)
        else:
            said = await self._publish(request, body, publisher.channels)
            if isinstance(said, Refusal):
                await self._refuse(worker, request, said.of(publisher.user), send, [])
                return
            self.outcomes["published"] += 1
            await respond(send, 200, [JSON, *NO_STORE], json.dumps(said).encode())

    async def _publish(
        self, request: Request, body: bytes, patterns: tuple[str, ...]
    ) -> dict[str, Any] | Refusal:
        asked = read(body, patterns, self._most)
        if isinstance(asked, Refusal):
            return asked
        try:
            ids = await publishing(self._backend.publish, request.headers)(asked.events)
        except EventError as error:
            return refused(error)
        except PublishError as error:
            return _unpublished(error)
        return {"ids": ids} if asked.several else {"id": ids[0]}

    async def _refuse(
        self, worker: Worker, request: Request, refusal: Refusal, send: Send, headers: Headers
    ) -> None:
        self.outcomes[refusal.code] += 1
        worker.refusals.tell(request.method, request.path, refusal, self._gate.address(request))
        if refusal.status == 401:  # RFC 9110, section 11.6.1
            headers = [*headers, (b"www-authenticate", b"Bearer")]
        await refuse(send, refusal, headers, allow=b"POST")


def _unpublished(error: PublishError) -> Refusal:
    if error.reason == OVER.code:
        refusal = replace(OVER, status=409, detail=str(error))
    else:
        refusal = BACKEND_DOWN.because("the event source did not confirm it").of(None, str(error))
    return refusal.telling(may_have_happened=error.may_have_happened, published=error.published)


async def _body(request: Request, receive: Receive) -> bytes | Refusal | None:
    """All of a request's body; None if its client has left."""
    lengths = request.all(b"content-length")
    if any(len(length) > 15 or (length.isdecimal() and int(length) > MAX_BODY) for length in lengths):
        return TOO_LARGE.because(f"a body of more than {MAX_BODY} bytes")
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIME):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                piece = message.get("body", b"")
                size += len(piece)
                if size > MAX_BODY:
                    return TOO_LARGE.because(f"a body of more than {MAX_BODY} bytes")
                pieces.append(piece)
                if not message.get("more_body"):
                    return b"".join(pieces)
    except TimeoutError:
        return TOO_SLOW.because(f"the body did not come within {BODY_TIME:.0f} s")
