"""The Dockerfile and compose: each passes its checker, and what they say is there."""

import json
import os
import pwd
import re
import shutil
import signal
import sys
import tomllib
from pathlib import Path

import pytest
import redis
import yaml

from parts.shipped import DEPLOY, ROOT, SECRET, cookies, run
from servers.processes import BIN, command, free_port
from sse_edge.tune.template import render, shipped


def lint(dockerfile):
    return run(BIN / "hadolint", "--no-color", dockerfile)


def test_dockerfile(broken):
    """The linter finds nothing in the Dockerfile, and finds a fault in a broken one."""
    assert lint(DEPLOY / "Dockerfile") == (0, "")
    assert "DL3000" in lint(broken("Dockerfile", "WORKDIR /srv/app", "WORKDIR srv/app"))[1]


def test_what_the_dockerfile_copies_and_runs():
    """Each path it copies is there, the extras exist, and the command is one that `sse-edge` has."""
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = re.search(r'"\.\[([\w,]+)\]"', text)[1].split(",")
    assert set(extras) <= set(project["project"]["optional-dependencies"])
    forced = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    copied = " ".join(re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)).split()
    assert {path.split("/")[0] for path in forced} <= set(copied)
    assert json.loads(re.search(r"^CMD (\[.+)$", text, re.MULTILINE)[1])[:2] == ["sse-edge", "serve"]


def test_what_the_image_is_built_from(tmp_path):
    """The paths that the Dockerfile copies are enough to build the package."""
    source = tmp_path / "src"
    for line in re.findall(r"^COPY (?!--from)(.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)[:4]:
        *paths, _ = line.split()
        for path in paths:
            if (ROOT / path).is_dir():
                shutil.copytree(ROOT / path, source / path)
            else:
                source.mkdir(exist_ok=True)
                shutil.copy(ROOT / path, source)
    build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    code, said = run(*build, "--no-build-isolation", "--wheel-dir", tmp_path / "out", source)
    assert code == 0, said
    assert list((tmp_path / "out").glob("sse_edge-*.whl"))


def services():
    """Name → service of compose."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def compose_check(path):
    return run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)


def test_compose(broken):
    """The compose file fits the specification's schema, and a misspelt key does not."""
    assert compose_check(DEPLOY / "compose.yaml")[0] == 0
    code, said = compose_check(broken("compose.yaml", "stop_grace_period:", "stop_grace_time:"))
    assert code == 1
    assert "stop_grace_time" in said


def test_what_compose_mounts():
    """The files that compose mounts and builds from are there, or are said to be made first."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert (DEPLOY / compose["services"]["app1"]["build"]["context"] / "deploy/Dockerfile").exists()
    made = {"./nginx-compose.conf", "./tls"}
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or source in made or (DEPLOY / source).exists(), source


def test_the_password_of_redis_in_compose(tmp_path, serve):
    """As compose starts it, Redis lets in who has the secret and nobody else, and no process shows it.

    It is the process itself that hears SIGTERM, no shell in front of it.
    """
    service = services()["redis"]
    assert set(service["environment"]) == {"REDIS_PASSWORD"}
    port = free_port()
    config = tmp_path / "redis.conf"
    config.write_text((DEPLOY / "redis.conf").read_text().replace("port 6379", f"port {port}"))
    places = {
        "/usr/local/etc/redis/redis.conf": config, "--bind 0.0.0.0": "--bind 127.0.0.1",
        "--dir /data": f"--dir {tmp_path} --supervised no", "$$": "$",
    }  # fmt: skip
    shell, *arguments = service["command"]
    for old, new in places.items():
        assert old in arguments[-1]
        arguments[-1] = arguments[-1].replace(old, str(new))
    process = serve([shell, *arguments], port=port, env={"REDIS_PASSWORD": "f00d" * 8})
    shown = Path(f"/proc/{process.pid}/cmdline").read_text()
    assert shown.startswith("redis-server")
    assert "f00d" not in shown + Path(f"/proc/{process.pid}/environ").read_text()
    with redis.Redis(port=port) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()
    with redis.Redis(port=port, password="f00d" * 8) as app:
        assert app.ping()
    assert process.terminate() == 0


def test_nothing_is_copied_into_a_read_only_container():
    """Compose copies secrets and configurations that are no files into a container before it starts it, and
    Docker refuses that where the root is read-only: such a service never starts.
    """
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for name, service in services().items():
        for kind in ("secrets", "configs"):
            copied = [each for each in service.get(kind, []) if "file" not in compose[kind][each]]
            assert not (service.get("read_only") and copied), name


# What a container has of the machine: its programs, to read.
SEALED = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "--die-with-parent"]


def first(process):
    """The process that bwrap started, and what the kernel says of it."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    said = Path(f"/proc/{child}/status").read_text()
    return int(child), dict(re.findall(r"^(\w+):\s+(.*)$", said, re.MULTILINE))


async def test_the_image_runs(serve, connect, redis_url):
    """The image's command, as its user, with compose's open files, without capabilities, on a root that is
    read-only and as process 1: its health check passes, it streams, and a stop drains it in time.
    """
    text = (DEPLOY / "Dockerfile").read_text()
    service = services()["app1"]
    user = re.search(r"^USER (\d+)$", text, re.MULTILINE)[1]
    run_as = ["--unshare-user", "--uid", user, "--gid", user, "--cap-drop", "ALL", "--as-pid-1"]
    files = f"--nofile={service['ulimits']['nofile']}"
    port = free_port()

    def here(instruction):
        found = json.loads(re.search(rf"{instruction} (\[.+)$", text, re.MULTILINE)[1])
        program, *arguments = [each.replace("8000", str(port)) for each in found]
        return [BIN / program, *arguments]

    env = {"REDIS": redis_url, "SESSION_SECRET": SECRET, "SSE_EDGE_SERVE_GRACE": "25"}
    assert "SSE_EDGE_SERVE_GRACE=25" in text
    process = serve(
        ["prlimit", files, command("bwrap"), *SEALED, *run_as, *here("\nCMD")], port=port, env=env, cwd=DEPLOY
    )
    assert run(*here("    CMD"))[0] == 0
    stream = await connect(f"http://127.0.0.1:{port}/events/me", cookies=cookies())
    assert "Open files are limited to 16384" in process.log
    child, status = first(process)
    assert (status["NSpid"].split()[-1], int(status["CapEff"], 16), status["NoNewPrivs"]) == ("1", 0, "1")
    os.kill(child, signal.SIGTERM)
    assert (await stream.until(lambda event: event.event == "edge-close")).data == '{"reason": "drain"}'
    assert await process.exited(int(service["stop_grace_period"].removesuffix("s"))) == 0
    assert run(*here("    CMD"))[0] != 0


def test_nginx_starts_in_its_image(tmp_path, certificate):
    """nginx takes the file where nothing is of Debian's package, and paths are as in the official image: its
    log files lead to the container's output, and of /var/lib/nginx nothing is there.
    """
    (config := tmp_path / "nginx.conf").write_text(
        render(shipped("nginx.conf"), {
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "certificate": str(certificate[0]), "certificate_key": str(certificate[1]),
        })
    )  # fmt: skip
    image = [
        *SEALED, "--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "ALL", "--unshare-net",
        "--tmpfs", "/var/lib", "--tmpfs", "/var/cache", "--tmpfs", "/run", "--tmpfs", "/var/log", "--dir",
        "/var/log/nginx", "--symlink", "/dev/stdout", "/var/log/nginx/access.log", "--symlink", "/dev/stderr",
        "/var/log/nginx/error.log", "--ro-bind", tmp_path.parents[1], tmp_path.parents[1],
    ]  # fmt: skip
    code, said = run(command("bwrap"), *image, command("nginx"), "-t", "-c", config)
    assert code == 0, said


def test_redis_is_alone_with_the_apps_in_compose():
    """Redis is in a network of its own with the apps, which leads nowhere; nginx is not in it."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert compose["networks"]["data"] == {"internal": True}
    there = {name for name, each in compose["services"].items() if "data" in each["networks"]}
    assert there == {"app1", "app2", "redis"}
    assert compose["services"]["redis"]["networks"] == ["data"]
    assert all("ports" not in each for name, each in compose["services"].items() if name != "nginx")
