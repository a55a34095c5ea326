"""Live, ready and metrics, and who may ask."""

import json
import re

import pytest

from sse_edge import ConfigError, MemoryBackend, SignedCookie, SSEMiddleware
from sse_edge.figures import FIGURES

AUTH = SignedCookie("a secret of the tests")


async def inner(scope, receive, send):
    """The app below answers everything that the edge does not."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"inner"})


@pytest.fixture
async def edge():
    edge = SSEMiddleware(
        inner,
        backend=MemoryBackend(),
        auth=AUTH,
        channels={"/events/me": "user:{user}"},
        status_path="/status",
    )
    async with edge:
        yield edge


async def ask(asgi, edge, path, **options):
    """Status and body of one answer."""
    client = asgi(edge, path, **options)
    await client.whole()
    return (await client.start())[0], client.body()


async def test_live_and_ready(asgi, edge):
    """A running worker is live and ready; while it drains it is live only."""
    assert await ask(asgi, edge, "/status/live") == (200, b"live\n")
    assert await ask(asgi, edge, "/status/ready") == (200, b"ready\n")
    await edge.drain(0)
    assert await ask(asgi, edge, "/status/live") == (200, b"live\n")
    assert await ask(asgi, edge, "/status/ready") == (503, b"not ready\n")


async def test_probes_count_nothing(asgi, edge, monkeypatch):
    """They come often, and figures take a look at every channel."""
    monkeypatch.setattr("sse_edge.delivery.hub.Hub.figures", None)
    assert await ask(asgi, edge, "/status/live") == (200, b"live\n")
    assert await ask(asgi, edge, "/status/ready") == (200, b"ready\n")


async def test_metrics(asgi, edge):
    """Metrics carry the same codes as refusals and endings, in the Prometheus format."""
    refused = asgi(edge, "/events/me")
    await refused.whole()
    stream = asgi(edge, "/events/me", headers={"cookie": f"session={AUTH.issue('u42')}"})
    await stream.wait_for(b"\nid: ")
    status, body = await ask(asgi, edge, "/status/metrics")
    assert status == 200
    lines = body.decode().splitlines()
    assert "sse_edge_streams 1.0" in lines
    assert "sse_edge_ready 1.0" in lines
    assert "sse_edge_streams_opened_total 1.0" in lines
    assert 'sse_edge_refusals_total{code="unauthenticated"} 1.0' in lines
    assert 'sse_edge_degraded{limit="leases"} 0.0' in lines


async def test_bounds_of_histograms(asgi, edge):
    """Each bucket is named by its bound exactly, also the one of a mebibyte, which has seven digits."""
    text = (await ask(asgi, edge, "/status/metrics"))[1].decode()
    for each in FIGURES:
        if each.buckets:
            bounds = re.findall(rf'^sse_edge_{each.metric}_bucket{{.*le="([^"]+)"', text, re.MULTILINE)
            assert tuple(map(float, dict.fromkeys(bounds))) == (*each.buckets, float("inf"))


@pytest.mark.parametrize("client", [("192.0.2.7", 5), ("10.0.0.1", 5)])
async def test_others_see_nothing(asgi, edge, client):
    """From other networks there is nothing here, whatever X-Forwarded-For says."""
    headers = {"x-forwarded-for": "127.0.0.1"}
    assert (await ask(asgi, edge, "/status/metrics", client=client, headers=headers))[0] == 404


@pytest.mark.parametrize(
    "header",
    [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-for", ""),
        ("x-forwarded-host", "app.example.com"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=192.0.2.7"),
        ("x-real-ip", "192.0.2.7"),
        ("via", "1.1 varnish"),
        ("true-client-ip", "192.0.2.7"),
        ("cf-connecting-ip", "192.0.2.7"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-server", "proxy.example.com"),
        ("x-original-forwarded-for", "192.0.2.7"),
        ("x-vercel-forwarded-for", "192.0.2.7"),
        ("x-envoy-external-address", "192.0.2.7"),
        ("x-client-ip", "192.0.2.7"),
        ("x-cluster-client-ip", "192.0.2.7"),
        ("x-azure-clientip", "192.0.2.7"),
        ("fastly-client-ip", "192.0.2.7"),
        ("fly-client-ip", "192.0.2.7"),
        ("cdn-loop", "cloudflare"),
        ("x-varnish", "32770"),
    ],
)
async def test_through_a_local_proxy_there_is_nothing(asgi, edge, header):
    """A proxy on the same machine does not open the figures to its clients, however it says what it is."""
    for path in ("live", "ready", "metrics"):
        assert (await ask(asgi, edge, f"/status/{path}", headers=[header]))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["live", "ready", "metrics"])
async def test_it_is_only_read(asgi, edge, method, path):
    """Other methods than GET and HEAD are refused, and where nothing is to be seen they are told nothing."""
    client = asgi(edge, f"/status/{path}", method=method)
    assert json.loads(await client.whole())["error"] == "method"
    status, headers = await client.start()
    assert (status, dict(headers)[b"allow"]) == (405, b"GET, HEAD")
    assert (await ask(asgi, edge, f"/status/{path}", method="HEAD"))[0] == 200
    elsewhere = {"client": ("192.0.2.7", 5)}
    assert await ask(asgi, edge, f"/status/{path}", method=method, **elsewhere) == (404, b"not found\n")


@pytest.mark.parametrize("path", ["/status", "/statusx/live", "/other"])
async def test_everything_else_is_the_app_s(asgi, edge, path):
    """Only what is below the path is answered here."""
    assert await ask(asgi, edge, path) == (299, b"inner")


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("status_path", {"status_path": "status"}),
        ("status_path", {"status_path": "/status/"}),
        ("status_path", {"status_path": 5}),
        ("status_allow", {"status_path": "/s", "status_allow": ["nonsense"]}),
    ],
)
def test_refused_settings(field, settings):
    """A path or network that is none is refused by name."""
    with pytest.raises(ConfigError) as caught:
        SSEMiddleware(inner, auth=AUTH, channels={"/events/me": "user:{user}"}, **settings)
    assert caught.value.field == field
