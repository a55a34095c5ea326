"""What clients that speak HTTP/1.0 get: a stream without chunks, from every server and through nginx."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from apps.edge import AUTH
from servers.processes import TESTS, free_port

SSE_EDGE = Path(sys.executable).with_name("sse-edge")
COOKIE = f"Cookie: session={AUTH.issue('u42')}"
ENV = {"MAX_DURATION": "0.6"}
STREAM = re.compile(
    r": stream open\nretry: \d+\n(id: \S+\nevent: edge-position\n(?:data: \{\}\n)?\n|: keep-alive\n)*"
    r'(id: \S+\n)?event: edge-close\nretry: \d+\ndata: {"reason": "max-duration"}\n\n'
)

NGINX = """
events {{}}
pid {directory}/pid;
error_log stderr info;
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{app};
            proxy_http_version 1.0;
            proxy_buffering off;
        }}
    }}
}}
"""


@pytest.fixture(params=["serve", "uvicorn", "uvicorn --http h11", "hypercorn", "granian"])
def server(request, serve, serve_app):
    """apps.edge, whose streams end by themselves."""
    kind, *options = request.param.split()
    if kind != "serve":
        return serve_app("apps.edge:edge", server=kind, options=options, env=ENV)
    port = free_port()
    command = [SSE_EDGE, "serve", "apps.edge:edge", "--app-dir", TESTS, "--port", port]
    return serve(command, port=port, env=ENV)


async def ask(port, version, *headers):
    """Head and body of the answer to a request for a stream, up to the connection's end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET /events/me HTTP/{version}", "Host: localhost", COOKIE, *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head.lower(), body


async def test_a_stream_for_http_1_0(server):
    """There is no Transfer-Encoding, which HTTP/1.0 does not know, and the end is the connection's."""
    head, body = await ask(server.port, "1.0")
    assert re.match(r"http/1\.[01] 200 ", head)
    assert "transfer-encoding" not in head
    assert "content-length" not in head
    assert STREAM.fullmatch(body), body
    assert "Exception" not in server.log
    assert "without completing" not in server.log


@pytest.mark.parametrize("server", ["serve", "uvicorn"], indirect=True)
async def test_nginx_that_speaks_http_1_0(server, serve, tmp_path):
    """Where proxy_http_version was left as it is in nginx before 1.29.7 streams arrive whole, and end."""
    port = free_port()
    (tmp_path / "nginx.conf").write_text(NGINX.format(directory=tmp_path, port=port, app=server.port))
    nginx = serve(["nginx", "-e", "stderr", "-c", tmp_path / "nginx.conf", "-g", "daemon off;"], port=port)
    head, body = await ask(port, "1.1", "Connection: close")
    assert "\r\ntransfer-encoding: chunked" in head
    pieces = re.split(r"(?:^|\r\n)[0-9a-f]+\r\n", body)
    assert STREAM.fullmatch("".join(pieces).removesuffix("\r\n")), body
    assert body.endswith("\r\n0\r\n\r\n")
    assert "upstream" not in nginx.log
