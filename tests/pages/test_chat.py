"""The chat of the examples: in a browser as a person uses it, and read by the front ends that others make."""

import json
import os
import signal

import pytest

from chat.model import tokens
from servers.browser import wait_for
from servers.examples import asked, serve_example
from servers.node import module
from servers.processes import descendants
from servers.sse import get
from sse_edge import SignedCookie, SyncPublisher

SECRET = "a secret of the tests"
COOKIE = "__Host-session"


@pytest.fixture
def chat(serve):
    """``chat("app", …)`` serves a module of examples/chat; the process has ``.url``."""

    def start(name="app", *options, **env):
        return serve_example(serve, f"chat.{name}", *options, env={"SECRET": SECRET, **env})

    return start


def cookie(user):
    return f"{COOKIE}={SignedCookie(SECRET, name=COOKIE).issue(user)}"


async def post(url, content, headers):
    headers = {**headers, "Content-Type": "application/json"}
    return await get(url, method="POST", headers=headers, body=json.dumps(content).encode())


def answered(prompt):
    return "".join(tokens(prompt))


def sign_in(page, url, user="ann"):
    """Say who one is, with a click; the page of the chat is there."""
    page.get(url)
    page.find_element("css selector", f"button[value={user}]").click()
    wait_for(page, "document.getElementById('ask') && document.readyState === 'complete'")


def ask(page, prompt):
    page.find_element("name", "prompt").send_keys(prompt)
    page.find_element("css selector", "#ask button").click()


LAST = "[...document.querySelectorAll('article')].at(-1)"
TEXT = f"{LAST}?.querySelector('.text').textContent"


def said(page, length):
    """Wait until the newest answer has so many characters; it."""
    wait_for(page, f"{TEXT}?.length >= {length}")
    return page.execute_script(f"return {TEXT}")


def ended(page, state, timeout=10):
    """Wait until the newest answer has ended; it."""
    wait_for(page, f"{LAST}?.dataset.state === '{state}'", timeout)
    return page.execute_script(f"return {TEXT}")


def press(page, button):
    """Press a button of the newest answer, which moves while it grows."""
    wait_for(page, f"{LAST}?.querySelector('.{button}').offsetParent")
    page.execute_script(f"{LAST}.querySelector('.{button}').click()")


def test_reload_and_a_second_tab(chat, page):
    """Both have everything that was said so far, and then the rest; afterwards nobody asks any more."""
    server = chat()
    sign_in(page, server.url)
    ask(page, "Why?")
    said(page, 100)
    page.refresh()
    text = said(page, 100)
    assert text == answered("Why?")[: len(text)]
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(f"{server.url}/chats/42")
    said(page, 100)
    assert ended(page, "complete") == answered("Why?")
    page.switch_to.window(first)
    assert ended(page, "complete") == answered("Why?")
    # The page before the reload, the page after it, and the second tab.
    turn = page.execute_script(f"return {LAST}.id")
    assert asked(server, f"/events/chats/42/{turn}", 3)


def test_stop(chat, page):
    """A stop ends the answer where it is; a new try is a new answer, and so is one after a failure."""
    sign_in(page, chat().url)
    ask(page, "At length, please.")
    said(page, 50)
    press(page, "stop")
    text = ended(page, "stopped")
    assert text == answered("At length, please.")[: len(text)]
    ask(page, "Now fail briefly.")
    text = ended(page, "failed")
    assert text == "".join(tokens("Now fail briefly.")[:20])
    assert "provider" not in page.find_element("tag name", "main").text
    press(page, "again")
    wait_for(page, "document.querySelectorAll('article').length === 3")
    assert ended(page, "failed") == text


async def test_somebody_else(chat):
    """Who is no member of a chat gets neither the page nor a stream, and can neither ask nor stop."""
    url = chat().url
    for headers, status in (({"Cookie": cookie("cleo")}, 403), ({}, 401)):
        for path in ("/chats/42", "/events/chats/42", "/events/chats/42/7"):
            assert (await get(url + path, headers=headers)).status == status
        for path in ("/chats/42", "/chats/42/7/stop"):
            assert (await post(url + path, {"prompt": "x"}, headers)).status == status


async def test_workers_that_are_killed(chat, page, redis_url):
    """Without the workers that serve it a page goes on; without the one that writes, it is told so."""
    serving = chat("app", "--workers", 2, REDIS=redis_url)
    writing = chat(REDIS=redis_url)
    sign_in(page, serving.url)
    prompt = "At length, please."
    await post(f"{writing.url}/chats/42", {"prompt": prompt}, {"Cookie": cookie("ben")})
    text = said(page, 50)
    for pid in {pid for pid, _ in descendants(serving.pid)} - {serving.pid}:
        os.kill(pid, signal.SIGKILL)
    text = said(page, len(text) + 300)
    assert text == answered(prompt)[: len(text)]
    writing.kill()
    text = ended(page, "abandoned", 30)
    assert text == answered(prompt)[: len(text)]
    press(page, "again")
    said(page, 50)
    press(page, "stop")
    ended(page, "stopped")


USE_CHAT = """
import {AbstractChat, DefaultChatTransport} from "ai"
import {edgeFetch} from "./chat/page/edge-fetch.js"
const [url, cookie, how, prompt] = process.argv.slice(1)
// The state that @ai-sdk/react keeps for useChat.
class State {
    status = "ready"; error; messages = []
    pushMessage(message) { this.messages = [...this.messages, message] }
    popMessage() { this.messages = this.messages.slice(0, -1) }
    replaceMessage(index, message) {
        this.messages = this.messages.map((old, at) => at === index ? message : old)
        if (message.parts.length && !this.told) console.log(this.told = true)
    }
    snapshot = value => structuredClone(value)
}
class Chat extends AbstractChat {
    constructor(init) { super({...init, state: new State()}) }
}
const transport = new DefaultChatTransport({
    api: `${url}/api/chat`, headers: {cookie}, ...(how === "edgeFetch" ? {fetch: edgeFetch} : {}),
})
const read = async act => {
    const chat = new Chat({id: "42", transport})
    await act(chat)
    const {status, error, messages} = chat
    const text = messages.at(-1)?.parts.filter(part => part.type === "text").map(part => part.text).join("")
    console.log(JSON.stringify({status, error: error?.name ?? null, text}))
}
await read(chat => chat.sendMessage({text: prompt}))
await read(chat => chat.resumeStream())
"""


def test_the_ai_sdk(chat, redis_url):
    """useChat's engine reads a whole answer over a stream that is cut off, and finds it again afterwards."""
    server = chat("front_ends", REDIS=redis_url)
    with module(USE_CHAT, server.url, cookie("ann"), "edgeFetch", "Briefly, why?") as lines:
        assert next(lines) is True  # something was said
        with SyncPublisher(redis_url) as events:
            events.disconnect(user="ann")
        expected = {"status": "ready", "error": None, "text": answered("Briefly, why?")}
        assert [line for line in lines if line is not True] == [expected, expected]
    assert asked(server, "/events/chats/42/", 3)


def test_the_ai_sdk_with_fetch_alone(chat):
    """It takes edge-close for a chunk of its own, and ends in an error."""
    with module(USE_CHAT, chat("front_ends").url, cookie("ann"), "fetch", "Briefly, why?") as lines:
        read = [line for line in lines if line is not True]
    assert [each["error"] for each in read] == ["AI_TypeValidationError"] * 2


HTTP_AGENT = """
import {HttpAgent} from "@ag-ui/client"
import {edgeFetch} from "./chat/page/edge-fetch.js"
const [url, cookie, how, prompt] = process.argv.slice(1)
const init = how === "edgeFetch" ? {fetch: edgeFetch} : {}
const agent = new HttpAgent({url: `${url}/api/agent`, threadId: "42", headers: {cookie}, ...init})
agent.messages = [{id: "m1", role: "user", content: prompt}]
let failed = null, told
const onTextMessageContentEvent = () => { if (!told) console.log(told = true) }
await agent.runAgent({runId: "run-7"}, {onTextMessageContentEvent}).catch(error => failed = error.name)
console.log(JSON.stringify({failed, text: agent.messages.at(-1).content}))
"""


def test_ag_ui(chat, redis_url):
    """HttpAgent reads a whole run over a stream that is cut off."""
    server = chat("front_ends", REDIS=redis_url)
    with module(HTTP_AGENT, server.url, cookie("ann"), "edgeFetch", "Briefly, why?") as lines:
        assert next(lines) is True
        with SyncPublisher(redis_url) as events:
            events.disconnect(user="ann")
        assert list(lines) == [{"failed": None, "text": answered("Briefly, why?")}]
    assert asked(server, "/events/chats/42/run-7", 2)


def test_ag_ui_with_fetch_alone(chat):
    """It takes what the edge says for events of its own, and the run fails."""
    with module(HTTP_AGENT, chat("front_ends").url, cookie("ann"), "fetch", "Briefly, why?") as lines:
        assert list(lines)[-1]["failed"] is not None
