"""Answers in the forms of the AI SDK and of AG-UI, read by their own parsers."""

import contextlib

import pytest

from chat import ag_ui, ai_sdk
from servers.node import module
from sse_edge.event import Event, finishing

pytestmark = pytest.mark.live

PIECES = ["Good ", "", "mörning\r\n\r\n", '"\u2028\\ ']
TEXT = "".join(PIECES)
ENDINGS = ["complete", "failed", "stopped", "abandoned"]


async def said(pieces=PIECES, *, broken=False):
    """What a model says; broken off in the middle, it never comes to its end."""
    for piece in pieces:
        yield piece
    if broken:
        raise ConnectionError


async def stream(events, name, data):
    """The bytes of a finished channel, with ids, as a client hears them."""
    written = []
    with contextlib.suppress(ConnectionError):
        async for event in events:
            written.append(event.encode())
    written.append(finishing(Event(data, event=name).encode()))
    return b"".join(b"id: %d-1.abc\n" % number + each for number, each in enumerate(written))


# What useChat does with a response: every chunk is checked, and the message is made of them.
READ_CHUNKS = """
import {Readable} from "node:stream"
import {parseJsonEventStream, readUIMessageStream, uiMessageChunkSchema} from "ai"
const chunks = parseJsonEventStream({stream: Readable.toWeb(process.stdin), schema: uiMessageChunkSchema})
const types = [], errors = []
const checked = chunks.pipeThrough(new TransformStream({transform(chunk, to) {
    if (!chunk.success) throw chunk.error
    types.push(chunk.value.type)
    to.enqueue(chunk.value)
}}))
let message
for await (message of readUIMessageStream({stream: checked, onError: error => errors.push(error.message)}));
console.log(JSON.stringify({id: message.id, parts: message.parts, types: [...new Set(types)], errors}))
"""


@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_ai_sdk_reads_an_answer(ending):
    """Its parser takes every chunk, and makes the message, whole or as far as it came."""
    chunks = ai_sdk.chunks(said(broken=ending != "complete"), "msg-7")
    with module(READ_CHUNKS, input=await stream(chunks, ending, ai_sdk.ENDINGS[ending])) as lines:
        (read,) = lines
    assert read["id"] == "msg-7"
    assert [part["text"] for part in read["parts"] if part["type"] == "text"] == [TEXT]
    last = {"complete": ["text-end", "finish"], "stopped": ["abort"]}.get(ending, ["error"])
    assert read["types"] == ["start", "text-start", "text-delta", *last]
    assert read["errors"] == {
        "failed": ["The answer failed."],
        "abandoned": ["The answer was cut off."],
    }.get(ending, [])


READ_EVENTS = """
import {text} from "node:stream/consumers"
import {EventSchemas} from "@ag-ui/core/schemas"
import {HttpAgent} from "@ag-ui/client"
const body = await text(process.stdin)
for (const line of body.split("\\n"))
    if (line.startsWith("data: ")) EventSchemas.parse(JSON.parse(line.slice(6)))
const fetch = async () => new Response(body, {headers: {"content-type": "text/event-stream"}})
const agent = new HttpAgent({url: "http://127.0.0.1/", threadId: "t", fetch})
const types = [], onEvent = ({event}) => { types.push([event.type, event.code]) }
await agent.runAgent({runId: "r"}, {onEvent}).catch(() => {})
console.log(JSON.stringify({types, messages: agent.messages}))
"""


@pytest.mark.parametrize("ending", ENDINGS)
async def test_ag_ui_reads_an_answer(ending):
    """Its schemas take every event, and its client their order; the message is there as far as it came."""
    events = ag_ui.events(said(broken=ending != "complete"), "t", "r")
    with module(READ_EVENTS, input=await stream(events, ending, ag_ui.endings("t", "r")[ending])) as lines:
        (read,) = lines
    assert [(message["role"], message["content"]) for message in read["messages"]] == [("assistant", TEXT)]
    content = [["TEXT_MESSAGE_CONTENT", None]] * sum(map(bool, PIECES))
    last = (
        [["TEXT_MESSAGE_END", None], ["RUN_FINISHED", None]]
        if ending == "complete"
        else [["RUN_ERROR", ending]]
    )
    assert read["types"] == [["RUN_STARTED", None], ["TEXT_MESSAGE_START", None], *content, *last]


@pytest.mark.parametrize("form", [ai_sdk.chunks, lambda pieces, id: ag_ui.events(pieces, "t", id)])
async def test_a_model_is_let_go_of_at_once(form):
    """When a form is closed in the middle, so is the iterator that it reads."""
    closed = []

    async def model():
        try:
            yield "one"
            yield "two"
        finally:
            closed.append(True)

    events = form(model(), "7")
    async for event in events:
        if "one" in event.data:
            break
    await events.aclose()
    assert closed == [True]
