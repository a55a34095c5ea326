"""An answer as the AI SDK's UI message stream, which ``useChat`` reads.

    await events.write(channel, ai_sdk.chunks(pieces, "msg-7"), **ai_sdk.ENDINGS)

Each event is one chunk; see https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol.  What the edge itself says
is none of them: the page reads the stream with ``edge-fetch.js``.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypedDict

from sse_edge import Event

HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}
"""What a response of this kind says of itself; of the edge's, ``edge-fetch.js`` says it."""


async def chunks(pieces: AsyncGenerator[str, None], message: str) -> AsyncGenerator[Event, None]:
    """The chunks of one message with the id ``message``, all but the last: that is one of ``ENDINGS``."""
    yield Event(json={"type": "start", "messageId": message})
    yield Event(json={"type": "text-start", "id": message})
    async with aclosing(pieces):
        async for piece in pieces:
            yield Event(json={"type": "text-delta", "id": message, "delta": piece})
    yield Event(json={"type": "text-end", "id": message})
    yield Event(json={"type": "finish"})


class Endings(TypedDict):
    """The data of a channel's last event, by how its writing ended."""

    complete: str
    failed: str
    stopped: str
    abandoned: str


ENDINGS: Endings = {
    "complete": "[DONE]",
    "failed": json.dumps({"type": "error", "errorText": "The answer failed."}),
    "stopped": json.dumps({"type": "abort", "reason": "stopped"}),
    "abandoned": json.dumps({"type": "error", "errorText": "The answer was cut off."}),
}
