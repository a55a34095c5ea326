"""An answer as one run of an agent in AG-UI's events, which ``HttpAgent`` and CopilotKit read.

    await events.write(channel, ag_ui.events(pieces, thread, run), **ag_ui.endings(thread, run))

See https://docs.ag-ui.com/concepts/events.  What the edge itself says is none of them: the page reads the
stream with ``edge-fetch.js``.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypedDict

from sse_edge import Event


async def events(pieces: AsyncGenerator[str, None], thread: str, run: str) -> AsyncGenerator[Event, None]:
    """The events of a run that says one message, all but the last: that is one of ``endings``."""
    message = f"{run}-answer"
    yield Event(json={"type": "RUN_STARTED", "threadId": thread, "runId": run})
    yield Event(json={"type": "TEXT_MESSAGE_START", "messageId": message, "role": "assistant"})
    async with aclosing(pieces):
        async for piece in pieces:
            if piece:  # before 1.0 an empty one was an error
                yield Event(json={"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": piece})
    yield Event(json={"type": "TEXT_MESSAGE_END", "messageId": message})


class Endings(TypedDict):
    """The data of a channel's last event, by how its writing ended."""

    complete: str
    failed: str
    stopped: str
    abandoned: str


def endings(thread: str, run: str) -> Endings:
    """What the channel's last event says.

    A run that stops in the middle ends with an error whose code says why: no run may finish while a message
    is open.
    """
    return {
        "complete": json.dumps({"type": "RUN_FINISHED", "threadId": thread, "runId": run}),
        "failed": _error("failed", "The answer failed."),
        "stopped": _error("stopped", "The answer was stopped."),
        "abandoned": _error("abandoned", "The answer was cut off."),
    }


def _error(code: str, message: str) -> str:
    return json.dumps({"type": "RUN_ERROR", "message": message, "code": code})
