"""The client as the edge serves it: whole, compressed, kept, and nowhere else."""

import gzip
import re

import pytest

from servers.node import made
from sse_edge import Anonymous, ConfigError, PublishToken, SSEMiddleware
from sse_edge.client.script import SERVED, SOURCE

TEXT = SERVED.read_bytes()


def edge(**settings):
    return SSEMiddleware(auth=Anonymous(), channels={"/events/news": "news"}, **settings)


async def ask(app, path, query=b"", method="GET", **headers):
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    messages = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        messages.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": lines}
    await app(scope, receive, send)
    head, *bodies = messages
    return head["status"], dict(head["headers"]), b"".join(each.get("body", b"") for each in bodies)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({}, "/events/sse-edge.js"),
        ({"path": "/live", "channels": {"/live/news": "news"}}, "/live/sse-edge.js"),
        ({"client_path": "/static/client.js"}, "/static/client.js"),
    ],
)
async def test_it_is_served(settings, path):
    """Below the edge's path, or where it is told: to every page, and asked for again each time."""
    app = SSEMiddleware(**{"auth": Anonymous(), "channels": {"/events/news": "news"}, **settings})
    status, headers, body = await ask(app, path, origin="https://elsewhere.example")
    assert (status, body) == (200, TEXT)
    assert headers[b"content-type"] == b"text/javascript; charset=utf-8"
    assert headers[b"cache-control"] == b"no-cache"
    assert headers[b"access-control-allow-origin"] == b"*"
    assert headers[b"cross-origin-resource-policy"] == b"cross-origin"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"content-length"] == b"%d" % len(TEXT)


async def test_it_is_kept_for_good_at_its_own_url():
    """The url that has its hash says that it never changes; one with another hash does not."""
    app = edge()
    path, _, query = app.client_url.partition("?")
    status, headers, body = await ask(app, path, query.encode())
    assert (status, body) == (200, TEXT)
    assert headers[b"cache-control"] == b"public, max-age=31536000, immutable"
    _, headers, body = await ask(app, path, b"v=0123456789abcdef")
    assert (headers[b"cache-control"], body) == (b"no-cache", TEXT)


async def test_it_is_compressed_once():
    """Whoever takes gzip gets it, under another tag; whoever knows either is told so."""
    app = edge()
    status, headers, small = await ask(app, "/events/sse-edge.js", accept_encoding="gzip, br")
    assert (status, headers[b"content-encoding"], gzip.decompress(small)) == (200, b"gzip", TEXT)
    _, whole, _ = await ask(app, "/events/sse-edge.js")
    assert b"content-encoding" not in whole
    assert whole[b"vary"] == headers[b"vary"] == b"accept-encoding"
    assert whole[b"etag"] != headers[b"etag"]
    for tag, encoding in ((headers[b"etag"], "gzip"), (whole[b"etag"], "identity")):
        for known in (f'"other", W/{tag.decode()}', f"{tag.decode()},", "*"):
            status, head, body = await ask(
                app, "/events/sse-edge.js", accept_encoding=encoding, if_none_match=known
            )
            assert (status, body, head[b"etag"]) == (304, b"", tag)


def test_it_is_made_of_its_source():
    """What pages get is the module as it is written, without what only readers need: ``make client``."""
    assert made(SOURCE) == TEXT


def test_another_version_is_another_hub():
    """A tab with the module of before a deploy shares nothing with one that has another, at one address."""
    [name] = re.findall(rb'"sse-edge (\d+)",import.meta.url', TEXT)
    assert name


def test_it_is_small():
    """Compressed it has 5 KB at most."""
    assert len(gzip.compress(TEXT, 9, mtime=0)) <= 5 * 1024


async def test_head_and_other_methods():
    """HEAD is told the length; nothing can be sent there."""
    status, headers, body = await ask(edge(), "/events/sse-edge.js", method="HEAD")
    assert (status, headers[b"content-length"], body) == (200, b"%d" % len(TEXT), b"")
    status, headers, _ = await ask(edge(), "/events/sse-edge.js", method="POST")
    assert (status, headers[b"allow"]) == (405, b"GET, HEAD")


async def test_it_can_be_left_out():
    """With None there is nothing, and no url."""
    app = edge(client_path=None)
    assert app.client_url is None
    assert (await ask(app, "/events/sse-edge.js"))[0] == 404


@pytest.mark.parametrize(
    "path",
    ["", "/", "/x/", 7, "/a?b", "//evil/x.js", "../x.js", "/a/../x.js", "x\n.js", "x#y", "{o}.js", "/%2e"],
)
def test_a_path_that_cannot_be(path):
    """A path that is none is refused by name."""
    with pytest.raises(ConfigError, match="client_path"):
        edge(client_path=path)


@pytest.mark.parametrize("path", ["news", "/events/news", "/events", "/publish", "/_status", "/_status/live"])
def test_a_path_that_is_taken(path):
    """What is answered otherwise already is refused by name: a stream, publishing, the status."""
    with pytest.raises(ConfigError, match="client_path"):
        SSEMiddleware(
            auth=Anonymous(),
            channels={"/events/news": "news", "/events/o/{name}": "news"},
            status_path="/_status",
            publish_path="/publish",
            publish_auth=PublishToken("a secret of the tests"),
            client_path=path,
        )


def test_a_route_for_everything_leaves_its_place_to_the_client():
    """The default is no stream's name, whatever a template would take."""
    app = SSEMiddleware(auth=Anonymous(), channels={"/events/{name}": lambda request: ["news"]})
    assert app.client_url is not None
