"""The command line as its users run it: what holds for all commands, and the demo."""

import signal
import sys
from importlib.metadata import version

from parts.commands import NOBODY, SECRET, invoke, said
from servers.examples import SSE_EDGE
from servers.processes import free_port
from servers.sse import get
from sse_edge import Publisher
from sse_edge.cli import main


def test_help_and_version():
    """Every command explains itself, with examples and its environment variables."""
    assert invoke("--version").stdout == f"sse-edge, version {version('sse_edge')}\n"
    assert "sse-edge demo" in invoke("--help").stdout
    for name, command in main.commands.items():
        text = invoke(name, "--help").stdout
        assert f"\n  sse-edge {name}" in text
        for option in command.params:
            if option.param_type_name == "option":
                variable = option.opts[0].removeprefix("--").replace("-", "_").upper()
                assert f"SSE_EDGE_{name.upper()}_{variable}" in "".join(text.split()), option.opts


async def test_the_demo_begins_and_ends(serve):
    """It says where it is, answers there, and Ctrl-C ends it at once without a complaint."""
    port = free_port()
    demo = serve([SSE_EDGE, "demo", "--port", port], port=port)
    demo.wait_for_log("Ctrl-C")
    assert (await get(f"http://127.0.0.1:{port}/")).status == 200
    demo.signal(signal.SIGINT)
    assert await demo.exited(3) == 0
    words = [line.split() for line in demo.log.splitlines() if line]
    assert words[0][-1] == f"http://127.0.0.1:{port}"
    assert words[1][-1] == "memory"
    assert words[-1] == ["Stopped."]
    assert len(words) == 4


async def test_the_demo_on_redis(serve, redis_url, connect):
    """It says how to publish from another terminal; that is heard; its cookies may be made by `token`."""
    port = free_port()
    demo = serve([SSE_EDGE, "demo", "--port", port, "--redis", redis_url, "--secret", SECRET], port=port)
    demo.wait_for_log(f"sse-edge publish shop 'Hello' --redis {redis_url}")
    cookie = invoke("token", "alice", "--secret", SECRET).stdout.strip()
    stream = await connect(f"http://127.0.0.1:{port}/events/me", cookies={"session": cookie})
    async with Publisher(redis_url) as events:
        await events.publish("shop", "Hello")
    assert (await stream.until(lambda event: event.event == "message")).data == "Hello"
    demo.signal(signal.SIGINT)
    assert await stream.ended()
    assert await demo.exited(3) == 0


def test_the_demo_without_its_redis():
    """A Redis that is not there is an error at the start and not later."""
    line = said(invoke("demo", "--port", free_port(), "--redis", NOBODY), 1)
    assert line.startswith("cannot use redis://:***@127.0.0.1:1/0: ")


def test_without_uvicorn(monkeypatch):
    """Commands that serve say what to install; the others work without it."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "sse_edge.cli.serving.server", raising=False)
    assert "pip install 'sse_edge[server]'" in said(invoke("demo"), 1)
    assert invoke("token", "u42", "--secret", SECRET).exit_code == 0
