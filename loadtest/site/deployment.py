"""A deployment on this machine: Redis, workers and a proxy, each with the shipped files.

Replaced in them are ports, paths, the certificate and the workers' addresses; everything else is as
``sse-edge tune`` writes it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sse_edge import SignedCookie
from sse_edge.tune.files import tuned
from sse_edge.tune.template import render

from ..client.target import HEAD
from ..measure import machine
from ..measure.process import children
from . import programs
from .layout import Layout

DEPLOY = Path(__file__).parents[2] / "deploy"

CHANNEL = "news"
"""The shared channel of ``deploy/app.py``; every stream hears its user's own as well."""

COOKIE = "__Host-session"
"""The name of its cookie."""

FACTS = (
    "cpu",
    "cores",
    "kernel",
    "python",
    "redis-server",
    "nginx",
    "sse_edge",
    "uvicorn",
    "uvloop",
    "redis",
)
"""What matters here of what the machine says."""

STOPPING = 10.0
"""Seconds for nginx to end its workers."""


def user(number: int) -> str:
    """Whose session a stream has."""
    return f"u{number}"


def personal(number: int) -> str:
    """The channel that only this stream hears."""
    return f"user:{user(number)}"


class Site:
    """What runs.  ``ports`` are where clients connect, ``authority`` is who signed the certificate."""

    def __init__(self, layout: Layout, directory: Path, stack: contextlib.ExitStack) -> None:
        self.layout = layout
        self.authority: str | None = None
        self._directory = directory
        self._stack = stack
        self._programs: dict[str, list[programs.Program]] = {"worker": [], "proxy": [], "Redis": []}
        secret = secrets.token_urlsafe(32)
        self.secret = secret
        self._cookies = SignedCookie(secret, name=COOKIE)
        places = [programs.free_port() for _ in range(layout.workers)]
        self._files = tuned(layout.sizing, [f"127.0.0.1:{port}" for port in places])
        self.redis = self._start_redis()
        self.places = places
        """The workers' ports."""
        for port in places:
            self._start_worker(port)
        if layout.proxy == "none":
            self.ports = places
        elif layout.proxy == "nginx":
            self.ports = [self._start_nginx()]
        else:
            self.ports = [self._start_caddy(number) for number in range(layout.proxies)]
        if self.authority is None and layout.tls:
            raise RuntimeError("TLS needs a proxy")

    @property
    def parts(self) -> dict[str, list[int]]:
        """The processes of each part, by their ids."""
        found = {
            name: [program.pid for program in programs if program.exit_code is None]
            for name, programs in self._programs.items()
            if programs
        }
        if self.layout.proxy == "nginx":
            (master,) = found["proxy"]
            found["proxy"] += children(master)
        return found

    def requests(self, first: int, count: int) -> list[bytes]:
        """What browsers send that open ``/events/me``, each with the session of a user of its own."""
        head = f"GET /events/me HTTP/1.1\r\nHost: localhost\r\n{HEAD}Cookie: {COOKIE}="
        numbers = range(first, first + count)
        return [f"{head}{self._cookies.issue(user(number))}\r\n\r\n".encode() for number in numbers]

    def said(self) -> str:
        """The ends of what the programs have written."""
        logs = [(name, program.log[-1500:]) for name, each in self._programs.items() for program in each]
        return "\n".join(f"{name}: {log}" for name, log in logs if log.strip())

    def _start(self, part: str, arguments: list[str], port: int, **env: str) -> programs.Program:
        program = self._stack.enter_context(programs.running(arguments, port, **env))
        self._programs[part].append(program)
        return program

    def _write(self, name: str, text: str) -> Path:
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def _start_redis(self) -> str:
        port = programs.free_port()
        config = self._write("redis/redis.conf", self._files["redis.conf"])
        # Options win over the file.
        own = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(config.parent),
            "--supervised",
            "no",
            "--loglevel",
            "warning",
        ]
        self._start("Redis", [_command("redis-server"), str(config), *own], port)
        return f"redis://127.0.0.1:{port}/0"

    def signal(self, number: int, signal: int) -> None:
        """Send a worker a signal."""
        os.kill(self._programs["worker"][number].pid, signal)

    def runs(self, number: int) -> bool:
        """Whether a worker's process is there."""
        return self._programs["worker"][number].exit_code is None

    def start_again(self, number: int) -> None:
        """Start a worker that has ended; it takes the old one's place."""
        self._start_worker(self.places[number])
        programs = self._programs["worker"]
        programs[number] = programs.pop()

    def _start_worker(self, port: int) -> None:
        """As the systemd unit starts it."""
        command = str(Path(sys.executable).with_name("sse-edge"))
        arguments = [command, "serve", "app:app", "--app-dir", str(DEPLOY), "--port", str(port)]
        env = {
            "SESSION_SECRET": self.secret,
            "REDIS": self.redis,
            "SSE_EDGE_SERVE_BACKLOG": str(self.layout.sizing.backlog),
            "SSE_EDGE_SERVE_GRACE": "25",
            "SSE_EDGE_SERVE_LOG_LEVEL": "warning",
        }
        self._start("worker", arguments, port, **env)

    def _start_nginx(self) -> int:
        layout, directory, port = self.layout, self._directory / "nginx", programs.free_port()
        directory.mkdir()
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
        if layout.tls:
            self.authority = certificate
        else:
            text = text.replace(f"listen 127.0.0.1:{port} ssl http2", f"listen 127.0.0.1:{port}")
        config = self._write("nginx/nginx.conf", text)
        arguments = [machine.nginx() or "nginx", "-e", "stderr", "-c", str(config), "-g", "daemon off;"]
        self._stop_gently(self._start("proxy", arguments, port))
        return port

    def _stop_gently(self, nginx: programs.Program) -> None:
        """The master ends its workers, which a SIGKILL would leave behind."""

        def stop() -> None:
            nginx.terminate()
            deadline = time.monotonic() + STOPPING
            while nginx.exit_code is None and time.monotonic() < deadline:
                time.sleep(0.02)

        self._stack.callback(stop)

    def _start_caddy(self, number: int) -> int:
        layout, directory, port = self.layout, self._directory / f"caddy{number}", programs.free_port()
        directory.mkdir()
        http_port = programs.free_port()
        text = render(
            self._files["Caddyfile"],
            {
                "admin": f"127.0.0.1:{programs.free_port()}",
                "http_port": str(http_port),
                "https_port": str(port if layout.tls else programs.free_port()),
                "site": "localhost" if layout.tls else f"http://localhost:{port}",
                "access_log": str(directory / "access.log"),
            },
        )
        config = self._write(f"caddy{number}/Caddyfile", text)
        # All Caddys of one run have one authority; the first to start makes it.
        home = str(self._directory / "caddy")
        env = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), home)
        caddy = self._start("proxy", [_command("caddy"), "run", "--config", str(config)], port, **env)
        if layout.tls:
            authority = Path(home, "caddy/pki/authorities/local/root.crt")
            deadline = time.monotonic() + programs.READY
            while (
                not list(Path(home).glob("caddy/certificates/local/localhost/*.key"))
                or not authority.exists()
            ):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"Caddy has no certificate:\n{caddy.log[-2000:]}")
                time.sleep(0.05)
            self.authority = str(authority)
        return port

    def _certificate(self) -> tuple[str, str]:
        """A throw-away one for localhost, its own authority: paths of certificate and key."""
        certificate, key = str(self._directory / "cert.pem"), str(self._directory / "key.pem")
        subprocess.run(  # noqa: S603 - our own
            [
                _command("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "2", "-keyout", key, "-out", certificate, "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost",
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip
        return certificate, key


def _command(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is not installed")
    return path


def facts(proxy: str) -> dict[str, str]:
    """The machine, and the versions of what runs behind this proxy."""
    known = machine.facts()
    found = {name: known[name] for name in FACTS if name != "nginx" or proxy == "nginx"}
    return found | ({"caddy": _caddy()} if proxy == "caddy" else {})


def _caddy() -> str:
    done = subprocess.run([_command("caddy"), "version"], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.split()[0] if done.stdout.strip() else "unknown"


def missing(proxy: str, *, plot: bool) -> list[str]:
    """What has to be installed first."""
    wanted = {"redis-server": "redis-server", "openssl": "openssl"} | (
        {"caddy": "caddy"} if proxy == "caddy" else {}
    )
    lacks = [
        f"{command} (Debian package {package})"
        for command, package in wanted.items() if shutil.which(command) is None
    ]  # fmt: skip
    if proxy == "nginx" and machine.nginx() is None:
        lacks.append("nginx (Debian package nginx)")
    return lacks + [lack for lack in machine.missing(set(), plot=plot) if "matplotlib" in lack]


@contextlib.contextmanager
def running(layout: Layout, directory: Path) -> Iterator[Site]:
    """The deployment, until the end of the block; it writes to ``directory``."""
    with contextlib.ExitStack() as stack:
        yield Site(layout, directory, stack)
