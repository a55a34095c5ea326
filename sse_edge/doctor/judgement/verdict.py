"""Whether the app let a request in, by what came back: its stream, its refusal, or neither of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from ...outcome import REFUSALS
from ..wire import Answer

CODES = {each.code for each in REFUSALS}

BUSY = (429, 503)
"""Limits, which say nothing about who may read."""

UNANSWERED = (0, 405, 501)
"""What whoever passes no HEAD on says to one."""


class Verdict(Enum):
    """What an answer shows."""

    SERVED = "served"
    REFUSED = "refused"
    NEITHER = "neither"


def of(reply: Answer) -> Verdict:
    """Only the app's own answer shows what it decided: a status may be a proxy's."""
    if reply.status in (401, 403) and is_refusal(reply):
        return Verdict.REFUSED
    streams = reply.status == 200 and is_event_stream(reply)
    return Verdict.SERVED if streams and is_edge(reply) and not _refused_within(reply) else Verdict.NEITHER


def is_event_stream(reply: Answer) -> bool:
    """Whether its Content-Type is that."""
    return reply.header("content-type").partition(";")[0].strip().lower() == "text/event-stream"


def is_edge(reply: Answer) -> bool:
    """Whether an event stream may be SSEMiddleware's: by its first line, else by a header."""
    if reply.coded or not reply.pieces:
        return "nosniff" in reply.header("x-content-type-options")
    return b": stream open" in reply.body


def is_refusal(reply: Answer) -> bool:
    """Whether it is SSEMiddleware that refuses, by a status: it says why, and marks what it says."""
    if refusal(reply.body).get("error") in CODES:
        return True
    marked = "nosniff" in reply.header("x-content-type-options") and "json" in reply.header("content-type")
    return marked and (not reply.pieces or bool(reply.coded))


def is_app(reply: Answer) -> bool:
    """Whether SSEMiddleware has answered, whatever."""
    return is_refusal(reply) or _refused_within(reply) or b": stream open" in reply.body


def refusal(body: bytes | str) -> Mapping[str, Any]:
    """What a refusal of the app's says; nothing if it is none."""
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def neither(reply: Answer) -> str:
    """What an answer is that shows nothing, and what to do."""
    if reply.status == 0:
        return "the connection was closed, or not answered: neither the app's stream nor its refusal"
    said = f"status {reply.status}{reply.by}"
    if reply.status in BUSY or _refused_within(reply):
        return f"{said}: so much may not be asked at once; lift that limit for this address, and try again"
    if reply.status in (301, 302, 303, 307, 308):
        said += f" to {reply.header('location') or 'nowhere'}"
    return f"{said}, which is neither the app's stream nor its refusal: ask the app itself, past the proxy"


def _refused_within(reply: Answer) -> bool:
    return b"event: edge-refused" in reply.body
