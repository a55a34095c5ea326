"""Proxies with a fault planted in each, and what the doctor says of them."""

import contextlib
import os
import pwd
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apps.edge import AUTH
from servers.processes import Processes
from sse_edge import RedisBackend
from sse_edge.admission.arrival import DOCTOR
from sse_edge.doctor.examination import Examination
from sse_edge.doctor.target import Target

NGINX = """
user USER; daemon off; pid DIR/nginx.pid; error_log stderr crit; worker_processes 1;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path DIR; proxy_temp_path DIR; fastcgi_temp_path DIR; uwsgi_temp_path DIR;
    scgi_temp_path DIR;
    proxy_cache_path DIR/cache keys_zone=replays:1m;
    limit_conn_zone $server_port zone=streams:1m;
    SERVERS
}
"""

SERVER = """
server {
    listen 127.0.0.1:PORT ssl http2;
    ssl_certificate CERT; ssl_certificate_key KEY;
    server_name localhost;
    location / {
        proxy_pass http://APP;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
    }
}
"""
"""Of nginx's: nothing is wrong with it."""

CADDY = """{
    admin off
    auto_https off
}
"""

SITE = """
https://localhost:PORT {
    bind 127.0.0.1
    tls CERT KEY
    reverse_proxy APP {
        header_up X-Real-IP {remote_host}
    }
}
"""
"""Of Caddy's: nothing is wrong with it either."""


class Fronts:
    """One nginx and one Caddy that listen on many ports, each with changes of its own.

    ``serve`` is Processes'; ``certificate`` paths of certificate and key.
    """

    def __init__(self, directory, serve, certificate):
        self._directory = Path(directory)
        self._serve = serve
        self._certificate = certificate
        self._texts = {"nginx": [], "caddy": []}
        self._ports = {}

    def add(self, kind, port, app, *changes, certificate=None):
        """On ``port``, in front of ``app``, an address: after replacing ``old`` by ``new`` in each change."""
        text = {"nginx": SERVER, "caddy": SITE}[kind]
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        pair = certificate or self._certificate
        values = {"PORT": port, "APP": app, "CERT": pair[0], "KEY": pair[1]}
        for name, value in values.items():
            text = text.replace(name, str(value))
        self._texts[kind].append(text)
        self._ports[kind] = port

    def start(self):
        """Start those that have something to do."""
        home = {"HOME": str(self._directory), "XDG_CONFIG_HOME": str(self._directory)}
        if self._texts["nginx"]:
            text = NGINX.replace("SERVERS", "".join(self._texts["nginx"]))
            text = text.replace("DIR", str(self._directory))
            config = self._write("nginx.conf", text.replace("USER", pwd.getpwuid(os.geteuid()).pw_name))
            self._serve(["nginx", "-e", "stderr", "-c", config], port=self._ports["nginx"])
        if self._texts["caddy"]:
            config = self._write("Caddyfile", CADDY + "".join(self._texts["caddy"]))
            command = ["caddy", "run", "--adapter", "caddyfile", "--config", config]
            self._serve(command, port=self._ports["caddy"], env=home)

    def _write(self, name, text):
        path = self._directory / name
        path.write_text(text)
        return path


@contextlib.contextmanager
def standing(make):
    """What ``make(processes)`` makes, started; in the end it is closed, and so is every process."""
    processes = Processes()
    deployments = make(processes)
    try:
        yield deployments.start()
    finally:
        processes.close()
        deployments.close()


def together(*starts):
    """Call each, at the same time; their results in order."""
    with ThreadPoolExecutor(len(starts)) as pool:
        return list(pool.map(lambda start: start(), starts))


async def examined(url, redis=None, *, cacert=None, user="", channel=None, down=False, **options):
    """Everything that the doctor says of ``url``; ``redis``: RedisBackend's URL, or it and its settings.

    ``user``: whose streams they are; None for nobody's in particular.
    """
    if user == "":  # as the command does: whoever examines at the same time is another one
        user = f"sse-edge-doctor-{secrets.token_hex(4)}"
    place, settings = redis if isinstance(redis, tuple) else (redis, {})
    backend = None if place is None else RedisBackend(place, **settings)
    if user is not None:
        patterns = [DOCTOR, *([channel] if channel else [])]
        options = {"user": user, "cookie": f"session={AUTH.issue(user, patterns)}", **options}
    examination = Examination(
        target=Target.of(url, cacert=cacert if url.startswith("https") else None),
        backend=backend,
        channel=channel or (f"user:{user}" if user else None),
        **{"here": False, **options},
    )
    try:
        source = examination.findings_when_down() if down else examination.findings()
        findings = [finding async for finding in source]
    finally:
        if backend is not None:
            await backend.close()
    for finding in findings:
        print(finding.level.name, finding.check, finding.seen, finding.code)
    return findings


def codes(findings):
    """The faults: code → finding."""
    return {finding.code: finding for finding in findings if finding.code}
