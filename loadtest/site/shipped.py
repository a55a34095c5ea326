"""A deployment on this machine: Redis, workers and a proxy, each with the shipped files.

Replaced in them are ports, paths, the certificate and the workers' addresses; everything else is as
``sse-edge tune`` writes it.
"""

import os
import pwd
import secrets
import shlex
import subprocess
from pathlib import Path

from sse_edge.tune.files import tuned
from sse_edge.tune.template import render

from ..measure import machine
from . import programs
from .deployment import Site
from .layout import Layout

DEPLOY = Path(__file__).parents[2] / "deploy"

COOKIE = "__Host-session"  # of deploy/app.py

FACTS = ("cpu", "cores", "kernel", "python", "redis-server", "sse_edge", "uvicorn", "uvloop", "redis")
"""What matters here of what the machine says, besides the proxy."""


class Shipped(Site):
    """The whole of it; ``authority`` is the file of who signed the proxy's certificate."""

    def __init__(self, layout: Layout, directory: Path) -> None:
        super().__init__(directory)
        self.layout = layout
        self.authority: str | None = None
        self.secret = secrets.token_urlsafe(32)

    def begin(self) -> None:
        """Start Redis, workers, proxy."""
        layout = self.layout
        places = [programs.free_port() for _ in range(layout.workers)]
        self._files = tuned(layout.sizing, [f"127.0.0.1:{port}" for port in places])
        config = self._write("redis.conf", self._files["redis.conf"])
        self.start_redis(str(config), "--supervised", "no", "--loglevel", "warning")
        env = {  # as the systemd unit has it
            "SESSION_SECRET": self.secret,
            "REDIS": self.redis,
            "SSE_EDGE_SERVE_BACKLOG": str(layout.sizing.backlog),
            "SSE_EDGE_SERVE_GRACE": "25",
        }
        for port in places:
            self.start("worker", programs.edge_server("app:app", port, "--app-dir", str(DEPLOY)), port, **env)
        if layout.proxy == "none":
            self.ports = places
        elif layout.proxy == "nginx":
            self.ports = [self._start_nginx()]
        else:
            self.ports = [self._start_caddy(number) for number in range(layout.proxies)]

    def _write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def _start_nginx(self) -> int:
        layout, directory, port = self.layout, self.directory / "nginx", programs.free_port()
        certificate, key = self._certificate()
        text = render(
            self._files["nginx.conf"],
            {
                "user": pwd.getpwuid(os.geteuid()).pw_name,
                "pid": str(directory / "nginx.pid"),
                "error_log": ["stderr"],
                "access_log": [str(directory / "access.log")],
                "temp": str(directory / "tmp"),
                "listen": [f"127.0.0.1:{port}"],
                "http_listen": [f"127.0.0.1:{programs.free_port()}"],
                "status_listen": f"127.0.0.1:{programs.free_port()}",
                "server_name": "localhost",
                "certificate": certificate,
                "certificate_key": key,
                "workers": str(layout.proxies),
                "files": str(layout.proxy_files),
                "worker_connections": str(min(layout.sizing.worker_connections, layout.proxy_files - 200)),
            },
        )
        self.authority = certificate if layout.tls else None
        if not layout.tls:
            text = text.replace(f"listen 127.0.0.1:{port} ssl http2", f"listen 127.0.0.1:{port}")
        config = self._write("nginx/nginx.conf", text)
        arguments = [programs.command("nginx"), "-e", "stderr", "-c", str(config), "-g", "daemon off;"]
        self.start("proxy", arguments, port)
        return port

    def _start_caddy(self, number: int) -> int:
        layout, directory, port = self.layout, self.directory / f"caddy{number}", programs.free_port()
        text = render(
            self._files["Caddyfile"],
            {
                "admin": f"127.0.0.1:{programs.free_port()}",
                "http_port": str(programs.free_port()),
                "https_port": str(port if layout.tls else programs.free_port()),
                "site": "localhost" if layout.tls else f"http://localhost:{port}",
                "access_log": str(directory / "access.log"),
            },
        )
        config = self._write(f"caddy{number}/Caddyfile", text)
        # All Caddys of one run have one authority; the first to start makes it.
        home = str(self.directory / "caddy")
        env = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), home)
        caddy = self.start("proxy", [programs.command("caddy"), "run", "--config", str(config)], port, **env)
        if layout.tls:
            authority = Path(home, "caddy/pki/authorities/local/root.crt")
            keys = "caddy/certificates/local/localhost/*.key"
            caddy.wait_for(lambda: authority.exists() and any(Path(home).glob(keys)))
            self.authority = str(authority)
        return port

    def _certificate(self) -> tuple[str, str]:
        """A throw-away one for localhost, its own authority: paths of certificate and key."""
        command = shlex.split(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
            "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
        )
        subprocess.run(command, cwd=self.directory, check=True, capture_output=True)  # noqa: S603 - our own
        return str(self.directory / "cert.pem"), str(self.directory / "key.pem")


def facts(proxy: str) -> dict[str, str]:
    """The machine, and the versions of what runs behind this proxy."""
    found = {name: fact for name, fact in machine.facts().items() if name in (*FACTS, proxy)}
    caddy = {"caddy": machine.says("caddy", "version", pattern=r"(\S+)")} if proxy == "caddy" else {}
    return found | caddy


def missing(proxy: str) -> list[str]:
    """What has to be installed first."""
    lacks = machine.lacking("redis-server", "openssl", *({proxy} & {"nginx", "caddy"}))
    if machine.package("matplotlib") == machine.ABSENT:
        lacks.append("matplotlib (pip install -e '.[loadtest]')")
    return lacks
