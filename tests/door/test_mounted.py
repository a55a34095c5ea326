"""Mounted inside another app, the edge answers as it does outside."""

import json

import pytest

from apps import mounted
from apps.edge import AUTH
from servers.sse import get
from sse_edge import Publisher

FRAMEWORKS = ["starlette", "fastapi", "litestar"]
COOKIE = {"cookie": f"session={AUTH.issue('u42', ['order:*'])}"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/events/me", 200),
        ("/events/orders/7", 200),
        ("/events/orders/events", 200),
        ("/api/events/me", 200),
        ("/live/me", 200),
        ("/live/orders/7", 200),
        ("/events/nothing", 404),
        ("/events/me/", 404),
        ("/events/events/me", 404),
        ("/events/live/me", 404),
        ("/events/../events/me", 404),
        ("/live/me/", 404),
        ("/live/events/me", 404),
    ],
)
async def test_paths(asgi, framework, path, status):
    """Paths are those that the edge has outside, and no others, wherever it is mounted."""
    client = asgi(getattr(mounted, framework), path, headers=COOKIE)
    assert (await client.start())[0] == status
    if status == 200:
        await client.wait_for(b"\nid: ")
        client.disconnect()
    await client.ended()


@pytest.mark.parametrize("root", ["", "/proxy", "/events"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_the_servers_own_root_path(asgi, framework, root):
    """Below the prefix of a proxy, which the server puts in front, it is the same."""
    app = getattr(mounted, framework)
    for path, status in (("/events/me", 200), ("/api/events/me", 200), ("/live/me", 200), ("/live/x", 404)):
        client = asgi(app, path, root_path=root, headers=COOKIE)
        assert (await client.start())[0] == status, path
        client.disconnect()
        await client.ended()


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "granian"])
async def test_in_litestar_under_each_server(serve_app, connect, redis_url, server):
    """Each server passes on what was sent, which alone tells Litestar's slash from a client's."""
    url = serve_app("apps.mounted:litestar", server=server, env={"BACKEND": redis_url}).url
    stream = await connect(f"{url}/events/me", headers=COOKIE)
    assert stream.status == 200
    async with Publisher(redis_url) as events:
        await events.publish("user:u42", "hello")
    assert (await stream.next()).data == "hello"
    refused = await get(f"{url}/events/me/", headers=COOKIE)
    assert (refused.status, json.loads(refused.body)["error"]) == (404, "not-found")
