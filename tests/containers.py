"""deploy/compose.yaml on a real Docker: ``make containers``.  Every day it is test_deploy_containers.py.

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

from servers.processes import free_port
from servers.sse import get
from shipped import ROOT
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
        self.cookies = {"__Host-session": SignedCookie(self.secret, "__Host-session").issue("u42")}
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


async def opened(deployment, connect, timeout=20):
    """A stream, as soon as there is one."""
    async with asyncio.timeout(timeout):
        while True:
            with contextlib.suppress(
                OSError
            ):  # nginx is not there yet, and what Docker has in front of it is
                stream = await connect(deployment.url, ssl=deployment.ssl, cookies=deployment.cookies)
                while not stream.over and not stream.last_event_id:
                    await asyncio.sleep(0.02)
                if stream.last_event_id:
                    return stream
            await asyncio.sleep(0.2)


async def test_all_of_it_starts(deployment, connect):
    """Every container runs, the apps are healthy, and a stream opens through nginx."""
    await opened(deployment, connect)
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
        await opened(deployment, connect)
    finally:
        docker("rm", "--force", "sse-edge-test-other")
        deployment.compose("start", "app2")


async def test_a_stop_drains(deployment, connect):
    """``docker compose stop`` ends streams with a reason, and the process by itself, in time."""
    deployment.compose("stop", "app1")
    stream = await opened(deployment, connect)
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
