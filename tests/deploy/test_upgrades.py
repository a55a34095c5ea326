"""No proxy with a shipped file lets a client leave HTTP, except for a WebSocket of the app's.

Behind each is hypercorn, which goes on in HTTP/2 with whoever asks it to (RFC 7540, 3.2).  A proxy that
passes that on is a tunnel from then on: what the client says reaches the app as if the proxy had said it.
"""

import json
import ssl
from types import SimpleNamespace

import pytest
import websockets
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset

from servers.fronts import FRONTS
from servers.processes import Processes
from servers.proxies import Caddy, NewCaddy, NewNginx, Nginx, Site
from servers.sse import ResponseReader

SETTINGS = ("HTTP2-Settings", "AAMAAABkAAQAAP__")
ASKED = ("Connection", "Upgrade, HTTP2-Settings")

ATTEMPTS = [
    [ASKED, ("Upgrade", "h2c"), SETTINGS],
    [("Upgrade", "h2c"), SETTINGS],
    [("Connection", "upgrade, http2-settings, x-forwarded-for"), ("Upgrade", "H2C"), SETTINGS],
    [("Connection", "keep-alive"), ("Connection", "Upgrade"), ("Upgrade", "h2c"), SETTINGS],
    [ASKED, ("Upgrade", "websocket"), ("Upgrade", "h2c"), SETTINGS],
    [ASKED, ("Upgrade", "h2c"), ("Upgrade", "websocket"), SETTINGS],
    [ASKED, ("Upgrade", "websocket, h2c"), SETTINGS],
    [ASKED, ("Upgrade", "h2c, websocket"), SETTINGS],
    [ASKED, ("Upgrade", "websocket/13"), SETTINGS],
    [ASKED, ("Upgrade", "xwebsocket"), SETTINGS],
    [ASKED, ("Upgrade", "\th2c \t"), SETTINGS],
    [ASKED, ("Upgrade", "h2"), SETTINGS],
    [ASKED, ("Upgrade", "TLS/1.0")],
    [ASKED, SETTINGS],
]

KINDS = ["nginx", "new nginx", "caddy", "new caddy", *FRONTS]


@pytest.fixture(scope="module")
def sites(certificate, tmp_path_factory):
    """Every proxy in front of one and the same app, and the app by itself."""
    processes = Processes()
    try:
        app = processes.serve_app("apps.everywhere:app", server="hypercorn")
        place = [f"127.0.0.1:{app.port}"]
        started = {
            "nginx": Nginx(tmp_path_factory.mktemp("nginx"), certificate, place, {}),
            "new nginx": NewNginx(tmp_path_factory.mktemp("nginx"), certificate, place, {}),
            "caddy": Caddy(tmp_path_factory.mktemp("caddy"), certificate, place, {}),
            "new caddy": NewCaddy(tmp_path_factory.mktemp("caddy"), certificate, place, {}),
            **{kind: front(tmp_path_factory.mktemp(kind), app) for kind, front in FRONTS.items()},
        }
        for proxy in started.values():
            proxy.start(processes.serve)
        started["none"] = SimpleNamespace(port=app.port, authority=None)
        yield {kind: Site(proxy, [app]) for kind, proxy in started.items()}
    finally:
        processes.close()


def ask(site, path, headers):
    """The status of the first answer, 101 among them, and its body."""
    reader, body = ResponseReader(), b""
    with site.connection() as client:
        client.sendall(site.say(path, headers))
        while not reader.complete and b": stream open" not in body and (data := client.recv(65536)):
            if reader.status is None and data.startswith(b"HTTP/1.1 101"):
                return 101, b""
            body += reader.feed(data)
    return reader.status, body


def test_the_attack_works(sites):
    """Asked without a proxy the app does switch, so that what follows is about the proxies."""
    assert ask(sites["none"], "/page", ATTEMPTS[0])[0] == 101


@pytest.mark.parametrize("kind", KINDS)
def test_no_tunnel(sites, kind):
    """However an upgrade is asked for, in every path, nothing switches, and the app does not hear of it."""
    for path in ("/page", "/events/me/..", "/status/metrics"):
        for headers in ATTEMPTS:
            status, body = ask(sites[kind], path, headers)
            assert status != 101, headers
            if path == "/page" and status == 200:
                seen = dict(json.loads(body)["headers"])
                assert "http2-settings" not in seen
                assert seen.get("upgrade", "websocket") == "websocket"
                assert seen["x-forwarded-for"]  # however it was named in Connection


def ask_over_http2(site, headers):
    """The body of the answer, or None where the request or the whole connection was refused."""
    context = ssl.create_default_context(cafile=site.proxy.authority)
    context.set_alpn_protocols(["h2"])
    http = H2Connection(H2Configuration(validate_outbound_headers=False))
    http.initiate_connection()
    pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", site.url[8:]), (":path", "/page")]
    http.send_headers(1, [*pseudo, *((name.lower(), value) for name, value in headers)], end_stream=True)
    body = b""
    with site.connection(context) as client:
        assert client.selected_alpn_protocol() == "h2"
        client.sendall(http.data_to_send())
        while data := client.recv(65536):
            for event in http.receive_data(data):
                if isinstance(event, DataReceived):
                    body += event.data
                elif isinstance(event, StreamEnded):
                    return body
                elif isinstance(event, StreamReset | ConnectionTerminated):
                    return None
            client.sendall(http.data_to_send())
    return None


@pytest.mark.parametrize("kind", ["nginx", "new nginx", "caddy", "new caddy"])
def test_no_tunnel_over_http2(sites, kind):
    """In HTTP/2 there is no Upgrade (RFC 9113, 8.2.2): one that is asked for all the same goes no further."""
    for headers in (ATTEMPTS[0], [("Upgrade", "h2c"), SETTINGS], [("Upgrade", "websocket")]):
        body = ask_over_http2(sites[kind], headers)
        seen = dict(json.loads(body)["headers"]) if body and body.startswith(b"{") else {}
        assert not seen.keys() & {"upgrade", "http2-settings"}
    assert json.loads(ask_over_http2(sites[kind], []))["path"] == "/page"


@pytest.mark.parametrize("kind", KINDS)
async def test_the_apps_websockets(sites, kind):
    """A WebSocket passes through, in both directions."""
    site = sites[kind]
    url = site.url.replace("http", "ws", 1)
    async with websockets.connect(f"{url}/echo", ssl=site.ssl, proxy=None) as socket:
        for word in ("one", "two"):
            await socket.send(word)
            assert await socket.recv() == word


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelling", ["WebSocket", "WEBSOCKET"])
def test_websockets_in_other_letters(sites, kind, spelling):
    """A WebSocket may be asked for in letters of either case (RFC 6455, 4.2.1)."""
    key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    headers = [("Connection", "upgrade"), ("Upgrade", spelling), key, ("Sec-WebSocket-Version", "13")]
    assert ask(sites[kind], "/echo", headers)[0] == 101
