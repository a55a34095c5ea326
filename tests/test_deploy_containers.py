"""The Dockerfile and compose: each passes its checker, and what they say is there."""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import redis
import yaml

from servers.processes import BIN, free_port
from shipped import DEPLOY, ROOT, run


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
    for line in re.findall(r"^COPY (?!--from)(.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)[:3]:
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
    text = (DEPLOY / "compose.yaml").read_text()
    service = yaml.safe_load(text)["services"]["redis"]
    assert service["secrets"] == ["redis"]
    port, secret = free_port(), tmp_path / "secret"
    secret.write_text("f00d" * 8)
    config = tmp_path / "redis.conf"
    config.write_text((DEPLOY / "redis.conf").read_text().replace("port 6379", f"port {port}"))
    places = {
        "/usr/local/etc/redis/redis.conf": config, "/run/secrets/redis": secret,
        "--bind 0.0.0.0": "--bind 127.0.0.1", "--dir /data": f"--dir {tmp_path} --supervised no", "$$": "$",
    }  # fmt: skip
    shell, *arguments = service["command"]
    for old, new in places.items():
        assert old in arguments[-1]
        arguments[-1] = arguments[-1].replace(old, str(new))
    process = serve([shell, *arguments], port=port)
    shown = Path(f"/proc/{process.pid}/cmdline").read_text()
    assert shown.startswith("redis-server")
    assert "f00d" not in shown
    with redis.Redis(port=port) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()
    with redis.Redis(port=port, password="f00d" * 8) as app:
        assert app.ping()
    assert process.terminate() == 0


def test_redis_is_alone_with_the_apps_in_compose():
    """Redis is in a network of its own with the apps, which leads nowhere; nginx is not in it."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert compose["networks"]["data"] == {"internal": True}
    there = {name for name, each in compose["services"].items() if "data" in each["networks"]}
    assert there == {"app1", "app2", "redis"}
    assert compose["services"]["redis"]["networks"] == ["data"]
    assert all("ports" not in each for name, each in compose["services"].items() if name != "nginx")
