"""The same chat for front ends that bring a wire form of their own: the AI SDK's ``useChat``, and AG-UI.

pip install 'sse_edge[server]' fastapi
sse-edge serve chat.front_ends:app --app-dir examples

Each posts a question and reads the answer from the response.  Here the response is a redirect to the answer's
stream, which ``fetch`` follows by itself; ``page/edge-fetch.js`` is the rest.
"""

import json
import secrets
from typing import Annotated, Literal

from fastapi import HTTPException, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from . import ag_ui, ai_sdk
from .app import Chat, User, api, app, check_member, events, start
from .model import answer

__all__ = ["app"]

Name = Annotated[str, Field(pattern=r"^[\w-][\w.-]{0,63}$")]


class Part(BaseModel):
    """A part of a message; of those of other types, nothing is read."""

    type: str
    text: str = ""


class UIMessage(BaseModel):
    """A message as ``useChat`` has it."""

    role: str
    parts: list[Part]


class ChatRequest(BaseModel):
    """What ``DefaultChatTransport`` posts."""

    id: Name
    messages: list[UIMessage] = Field(min_length=1)


@api.post("/api/chat")
async def ai_sdk_chat(request: ChatRequest, user: User) -> Response:
    """Begin an answer for the AI SDK."""
    chat = check_member(request.id, user)
    prompt = "".join(part.text for part in request.messages[-1].parts if part.type == "text")
    turn = secrets.token_urlsafe(9)
    await events.publish(f"chat:{chat}:ai-sdk", json={"turn": turn, "prompt": prompt}, event="turn")
    chunks = ai_sdk.chunks(answer(prompt), message=turn)
    start(events.write(f"chat:{chat}:{turn}", chunks, **ai_sdk.ENDINGS))
    return RedirectResponse(f"/events/chats/{chat}/{turn}", status_code=303)


@api.get("/api/chat/{chat}/stream")
async def ai_sdk_resume(chat: Chat) -> Response:
    """Where ``useChat({resume: true})`` looks for an answer after a reload: the newest, if there is one."""
    newest = await events.recent(f"chat:{chat}:ai-sdk", 1)
    if not newest:
        return Response(status_code=204)
    return RedirectResponse(f"/events/chats/{chat}/{json.loads(newest[0].data)['turn']}", status_code=303)


class AGUIMessage(BaseModel):
    """A message as AG-UI has it, of text alone."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str


class RunAgentInput(BaseModel):
    """What ``HttpAgent`` posts."""

    thread_id: Name = Field(alias="threadId")
    run_id: Name = Field(alias="runId")
    messages: list[AGUIMessage] = Field(min_length=1)


@api.post("/api/agent")
async def ag_ui_run(request: RunAgentInput, user: User) -> Response:
    """Begin a run for AG-UI."""
    chat, run = check_member(request.thread_id, user), request.run_id
    if request.messages[-1].role != "user":
        raise HTTPException(422, "the last message is the question")
    run_events = ag_ui.events(answer(request.messages[-1].content), chat, run)
    start(events.write(f"chat:{chat}:{run}", run_events, **ag_ui.endings(chat, run)))
    return RedirectResponse(f"/events/chats/{chat}/{run}", status_code=303)
