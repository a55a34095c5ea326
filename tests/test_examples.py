"""Every example runs as its first lines say."""

import ast
import json
import sys
from pathlib import Path

import pytest

from servers.processes import TESTS, free_port
from servers.sse import get

SSE_EDGE = Path(sys.executable).with_name("sse-edge")
EXAMPLES = TESTS.parent / "examples"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def example(serve):
    """``example("fastapi_app", …)`` serves examples/fastapi_app.py; its url."""

    def start(name, *options, env=None):
        port = free_port()
        serve(
            [SSE_EDGE, "serve", f"{name}:app", "--app-dir", EXAMPLES, "--port", port, *options],
            port=port,
            env=env,
        )
        return f"http://127.0.0.1:{port}"

    return start


def post(url, content, cookie=None):
    """Post JSON."""
    headers = {**JSON, **({"Cookie": cookie} if cookie else {})}
    return get(url, method="POST", headers=headers, body=json.dumps(content).encode())


def test_every_example_says_how_to_run_it():
    """The first lines of each file name the command that runs it."""
    names = [path.stem for path in EXAMPLES.glob("*.py")]
    assert sorted(names) == ["django_asgi", "fastapi_app", "plain_asgi"]
    for name in names:
        text = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text()))
        assert f"sse-edge serve {name}:app --app-dir examples" in text


async def test_plain_asgi(example, connect):
    """The clock ticks for anybody."""
    stream = await connect(example("plain_asgi") + "/events/clock")
    assert {event.event for event in await stream.take(2)} == {"tick"}


async def test_fastapi(example, connect):
    """A message reaches its user, or everyone; nobody listens or publishes without signing in."""
    url = example("fastapi_app")
    assert b"EventSource" in (await get(url + "/")).body
    assert (await get(url + "/events/me")).status == 401
    assert (await post(url + "/publish", {"text": "x"}, "__Host-session=forged")).status == 401
    assert (await post(url + "/login", {"user": "a:b"})).status == 422
    cookies = {}
    streams = {}
    for user in ("ann", "ben"):
        answer = await post(url + "/login", {"user": user})
        assert answer.status == 204
        cookies[user] = answer.header("set-cookie").partition(";")[0]
        streams[user] = await connect(url + "/events/me", headers={"Cookie": cookies[user]})
    await post(url + "/publish", {"text": "for Ben", "to": "ben"}, cookies["ann"])
    answer = await post(url + "/publish", {"text": "for all"}, cookies["ann"])
    assert [json.loads(event.data)["text"] for event in await streams["ben"].take(2)] == [
        "for Ben",
        "for all",
    ]
    event = await streams["ann"].next()
    assert json.loads(event.data) == {"from": "ann", "text": "for all"}
    assert json.loads(answer.body) == {"id": event.id}


def test_a_browser_keeps_the_cookie_without_tls(example, page):
    """On this machine Chromium takes the __Host- cookie over plain http, and opens a stream with it."""
    page.get(example("fastapi_app") + "/")
    assert (
        page.execute_async_script(
            """
        const [done] = arguments, user = JSON.stringify({user: "ann"});
        const options = {method: "POST", headers: {"content-type": "application/json"}, body: user};
        fetch("/login", options).then(() => {
            const stream = new EventSource("/events/me");
            stream.onopen = () => { stream.close(); done("open"); };
            stream.onerror = () => done("refused");
        });
        """
        )
        == "open"
    )


async def test_django(example, connect, redis_url):
    """A sync view publishes in one worker what a stream of any worker hears."""
    url = example("django_asgi", "--workers", 2, env={"REDIS": redis_url, "SECRET": "a secret of the tests"})
    cookie = (await get(url + "/login/u42")).header("set-cookie").partition(";")[0]
    streams = [await connect(url + "/events/me", headers={"Cookie": cookie}) for _ in range(4)]
    answer = await get(url + "/ship/u42")
    for stream in streams:
        event = await stream.next()
        assert (event.event, event.data) == ("status", '{"status":"shipped"}')
        assert json.loads(answer.body) == {"id": event.id}
