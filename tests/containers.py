"""deploy/compose.yaml, and the units, on a real Docker: ``make containers``.

Every day it is test_deploy_containers.py and test_deploy_units.py.

Wants Docker with Compose 2.24 or later, and its Hub or ``tests/stand-ins`` once.
"""

import asyncio
import contextlib
import json
import os
import re
import resource
import secrets
import shutil
import ssl
import subprocess
import time

import pytest
from click.testing import CliRunner

from parts.shipped import ROOT
from servers.processes import free_port
from servers.sse import get
from sse_edge import SignedCookie
from sse_edge.cli import main

pytestmark = pytest.mark.timeout(600)  # what is built may come from the network

COPIED = ["pyproject.toml", "README.md", "LICENSE", "nginx.conf", "Caddyfile", "deploy", "sse_edge"]


class Deployment:
    """What compose.yaml starts, from a copy with free ports, a certificate, and a name that is here."""

    def __init__(self, directory, certificate):
        self.directory = directory
        self.port, self.secret = free_port(), secrets.token_hex(32)
        self.ssl = ssl.create_default_context(cafile=certificate[0])
        self.url = f"https://localhost:{self.port}/events/me"
        cookies = {"__Host-session": SignedCookie(self.secret, "__Host-session").issue("u42")}
        self.options = {"ssl": self.ssl, "cookies": cookies}
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, directory / name)
        deploy = directory / "deploy"
        self._file = deploy / "compose.yaml"
        text = self._file.read_text()
        most = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        for old, new in {
            '["80:80", "443:443"]': f'["127.0.0.1:{self.port}:443"]',
            "nofile: 65536": f"nofile: {most}",
            "dockerfile: deploy/Dockerfile": "dockerfile: deploy/Dockerfile\n    network: host",
        }.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        said = re.search(r"sse-edge (tune .+?) --write out", text, re.DOTALL)[1]
        command = said.replace("\\\n#", "").split()
        assert CliRunner().invoke(main, [*command, "--write", str(directory / "out")]).exit_code == 0
        written = (directory / "out" / "nginx.conf").read_text()
        self._file.write_text(text)
        (deploy / "nginx-compose.conf").write_text(written.replace("example.com", "localhost"))
        (deploy / "tls").mkdir()
        for path, name in zip(certificate, ("fullchain.pem", "privkey.pem"), strict=True):
            shutil.copy(path, deploy / "tls" / name)

    def compose(self, *arguments):
        """``docker compose``; what it says."""
        env = {"SESSION_SECRET": self.secret, "REDIS_PASSWORD": "f00d" * 8}
        return docker("compose", "-p", "sse-edge-test", "-f", self._file, *arguments, **env)

    def container(self, service):
        """The name of a service's container."""
        return f"sse-edge-test-{service}-1"

    def address(self, service):
        """Where nginx finds it."""
        (said,) = json.loads(docker("inspect", self.container(service)))
        return said["NetworkSettings"]["Networks"]["sse-edge-test_inside"]["IPAddress"]


def docker(*arguments, check=True, **env):
    """Run Docker's client; what it says."""
    done = subprocess.run(
        ["docker", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )
    assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout if check else done.stdout + done.stderr


@pytest.fixture(scope="module")
def deployment(tmp_path_factory, certificate):
    """All of it, started once."""
    started = Deployment(tmp_path_factory.mktemp("compose"), certificate)
    try:
        started.compose("up", "--build", "--detach")
        yield started
    finally:
        print(started.compose("logs"))
        started.compose("down", "--volumes", "--timeout", "1")


async def opened(connect, url, **options):
    """A stream, as soon as there is one."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(
                OSError
            ):  # nginx is not there yet, and what Docker has in front of it is
                stream = await connect(url, **options)
                while not stream.over and not stream.last_event_id:
                    await asyncio.sleep(0.02)
                if stream.last_event_id:
                    return stream
            await asyncio.sleep(0.2)


async def test_all_of_it_starts(deployment, connect):
    """Every container runs, the apps are healthy, and a stream opens through nginx."""
    await opened(connect, deployment.url, **deployment.options)
    async with asyncio.timeout(30):
        while True:
            said = docker("ps", "--filter", "name=sse-edge-test-", "--format", "{{.Names}} {{.Status}}")
            if said.count("(healthy)") == 2:
                break
            await asyncio.sleep(0.5)
    assert said.count(" Up ") == 4
    assert (await get(deployment.url, ssl=deployment.ssl, headers={"Accept": "*/*"})).status == 401


@pytest.mark.parametrize("service", ["app1", "redis"])
def test_nobody_writes(deployment, service):
    """The root of what is read-only cannot be written to, and who is there is not root."""
    said = docker("exec", deployment.container(service), "sh", "-c", "id -u; touch /x", check=False)
    assert "Read-only file system" in said
    assert not said.startswith("0\n")


def test_redis_wants_its_password(deployment):
    """Without it nothing is answered, and no process there shows it."""
    ask = ["redis-cli", "ping"]
    assert "NOAUTH" in docker("exec", deployment.container("redis"), *ask, check=False)
    assert docker("exec", deployment.container("redis"), "redis-cli", "-a", "f00d" * 8, "ping") == "PONG\n"
    shown = docker("exec", deployment.container("redis"), "cat", "/proc/1/cmdline", "/proc/1/environ")
    assert "f00d" not in shown


async def test_an_app_that_comes_back_at_another_address(deployment, connect):
    """nginx finds a container that was made anew, and has another address, within seconds."""
    before = deployment.address("app1")
    deployment.compose("rm", "--stop", "--force", "app1")
    there = ["--network", "sse-edge-test_inside", "--ip", before]
    docker("run", "--detach", "--name", "sse-edge-test-other", *there, "redis:7.4")
    try:
        deployment.compose("up", "--detach", "app1")
        assert deployment.address("app1") != before
        deployment.compose("stop", "app2")
        await opened(connect, deployment.url, **deployment.options)
    finally:
        docker("rm", "--force", "sse-edge-test-other")
        deployment.compose("start", "app2")


async def test_a_stop_drains(deployment, connect):
    """``docker compose stop`` ends streams with a reason, and the process by itself, in time."""
    deployment.compose("stop", "app1")
    stream = await opened(connect, deployment.url, **deployment.options)
    began = time.monotonic()
    stopping = asyncio.create_task(asyncio.to_thread(deployment.compose, "stop", "app2"))
    goodbye = await stream.until(lambda event: event.event == "edge-close", timeout=30)
    assert json.loads(goodbye.data) == {"reason": "drain"}
    assert await stream.ended()
    await stopping
    assert time.monotonic() - began < 30
    (said,) = json.loads(docker("inspect", deployment.container("app2")))
    assert said["State"]["ExitCode"] == 0
    away = await get(deployment.url, ssl=deployment.ssl, headers={"Accept": "text/event-stream"})
    assert (away.status, away.header("content-type")) == (200, "text/event-stream")
    assert re.fullmatch(rb"retry: \d{4}\n", away.body)


# ---- the units, with a systemd of their own

SYSTEM = """
FROM debian:12
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \\
    systemd systemd-sysv nginx redis-server python3-venv ca-certificates >/dev/null
RUN useradd --system --no-create-home --shell /usr/sbin/nologin sse-edge && mkdir -p /etc/nginx/tls \\
    /etc/systemd/system/nginx.service.d
COPY . /src
RUN python3 -m venv /srv/app/.venv && /srv/app/.venv/bin/pip install --quiet "/src[server,metrics]" \\
    && cp /src/deploy/app.py /srv/app/ && cp /src/tls/* /etc/nginx/tls/ \\
    && cp /src/deploy/systemd/sse-edge* /etc/systemd/system/ \\
    && cp /src/deploy/systemd/proxy-limits.conf /etc/systemd/system/nginx.service.d/limits.conf \\
    && cp /src/deploy/redis.conf /etc/redis/redis.conf \\
    && sed s/example.com/localhost/ /src/nginx.conf >/etc/nginx/nginx.conf \\
    && systemctl enable sse-edge.target nginx redis-server && systemctl mask getty.target systemd-logind
ENV container=docker
CMD ["/lib/systemd/systemd"]
"""

# What systemd has to be able to do, to make a unit's sandbox.
ABLE = ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_NICE", "SYSLOG", "SYS_RAWIO", "SYS_TIME", "SYS_MODULE",
        "MAC_ADMIN", "WAKE_ALARM", "BLOCK_SUSPEND", "LINUX_IMMUTABLE", "IPC_LOCK"]  # fmt: skip

UNITS = [*(f"sse-edge@{port}" for port in range(8001, 8005)), "sse-edge.target", "nginx", "redis-server"]


@pytest.fixture
def system(tmp_path, certificate):
    """A Debian 12 that has booted, with the files where README.md says they go: its url, and who may in."""
    for name in COPIED:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    (tmp_path / "tls").mkdir()
    for path, name in zip(certificate, ("fullchain.pem", "privkey.pem"), strict=True):
        shutil.copy(path, tmp_path / "tls" / name)
    secret = secrets.token_hex(32)
    (tmp_path / "Dockerfile").write_text(f"{SYSTEM}RUN echo SESSION_SECRET={secret} >/etc/sse-edge.env\n")
    docker("build", "--network", "host", "--tag", "sse-edge-test-system", tmp_path)
    port, most = free_port(), min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    able = [word for each in ABLE for word in ("--cap-add", each)]
    may = [
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "apparmor=unconfined",
        "--cgroupns",
        "private",
    ]
    docker(
        "run", "--detach", "--name", "sse-edge-test-system", "--stop-signal", "SIGRTMIN+3", *able, *may,
        "--tmpfs", "/run", "--tmpfs", "/run/lock", "--ulimit", f"nofile={most}:{most}", "--publish",
        f"127.0.0.1:{port}:443", "sse-edge-test-system",
    )  # fmt: skip
    try:
        yield f"https://localhost:{port}/events/me", SignedCookie(secret, "__Host-session").issue("u42")
    finally:
        docker("rm", "--force", "sse-edge-test-system")


def inside(*arguments, check=True):
    """Run a command there; what it says."""
    return docker("exec", "sse-edge-test-system", *arguments, check=check)


async def test_the_units(system, certificate, connect):
    """systemd starts all of them; an app has its limits and its sandbox, and restarted it drains, while the
    others take its streams.
    """
    url, cookie = system
    options = {
        "ssl": ssl.create_default_context(cafile=certificate[0]), "cookies": {"__Host-session": cookie},
    }  # fmt: skip
    async with asyncio.timeout(60):
        while inside("systemctl", "is-active", *UNITS, check=False).split() != ["active"] * len(UNITS):
            await asyncio.sleep(0.5)
    assert inside("systemctl", "--failed", "--no-legend") == ""
    (app, proxy) = (
        inside("systemctl", "show", "--property", "MainPID", "--value", name).strip()
        for name in ("sse-edge@8001", "nginx")
    )
    status = dict(re.findall(r"^(\w+):\s+(.*)$", inside("cat", f"/proc/{app}/status"), re.MULTILINE))
    assert (int(status["CapEff"], 16), status["NoNewPrivs"], status["Seccomp"]) == (0, "1", "2")
    assert not status["Uid"].startswith("0\t")
    assert "Read-only" in inside("nsenter", "-t", app, "-m", "touch", "/srv/app/x", check=False)
    for process, files in ((app, "16384"), (proxy, "20000")):
        assert re.search(rf"Max open files +{files} ", inside("cat", f"/proc/{process}/limits"))
    streams = [await opened(connect, url, **options) for _ in range(8)]
    for port in range(8001, 8005):
        inside("systemctl", "restart", f"sse-edge@{port}")
    for stream in streams:
        goodbye = await stream.until(lambda event: event.event == "edge-close")
        assert json.loads(goodbye.data) == {"reason": "drain"}
        assert await stream.ended()
    await opened(connect, url, **options)
    assert inside("systemctl", "--failed", "--no-legend") == ""
