"""What sse_edge is made of and given out as: dependency ranges, workflows, and the files of a release."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import pytest
import yaml
from packaging.requirements import Requirement

from servers.processes import TESTS, command

ROOT = TESTS.parent
WORKFLOWS = ROOT / ".github/workflows"
BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("server", "metrics", "doctor")
"""What a deployment installs."""


def requirements(*extras):
    """What pip installs with these extras, without those of others."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    every = [Requirement(text) for each in lists for text in each]
    return [each for each in every if each.name != "sse_edge"]


def run(*arguments, **options):
    """A program's exit code and everything it said."""
    done = subprocess.run(
        list(map(str, arguments)), capture_output=True, text=True, timeout=50, check=False, **options
    )
    return done.returncode, done.stdout + done.stderr


# ---- dependencies


@pytest.mark.parametrize("extra", [None, *EXTRAS, "loadtest"])
def test_every_dependency_has_a_lowest_version(extra):
    """What users install has one lower bound, which `make test DEPS=lowest` installs."""
    for each in requirements(*filter(None, [extra])):
        assert [one.operator for one in each.specifier if one.operator != "<"] == [">="], str(each)


def test_upper_bounds_are_few():
    """Only what we build on the insides of has an upper bound: any other would shut out somebody's app."""
    bounded = {
        each.name
        for each in requirements(*EXTRAS, "loadtest")
        if any(o.operator == "<" for o in each.specifier)
    }
    assert bounded == {"redis", "limits", "itsdangerous"}


def test_the_installed_versions_are_in_range():
    """What these tests run on is what pyproject.toml allows."""
    for each in requirements(*EXTRAS, "loadtest"):
        assert each.specifier.contains(version(each.name)), f"{each.name} {version(each.name)}"


# ---- workflows


def checked(path, schema="vendor.github-workflows"):
    return run(BIN / "check-jsonschema", "--builtin-schema", schema, path)


def audited(path):
    return run(BIN / "zizmor", "--offline", "--no-progress", "--format=plain", path)


def workflow(name):
    """A workflow; YAML takes its key `on` for a boolean."""
    return yaml.safe_load((WORKFLOWS / name).read_text())


@pytest.mark.parametrize("name", ["tests.yml", "release.yml"])
def test_workflows(tmp_path, name):
    """Each workflow fits GitHub's schema, and a misspelt key does not."""
    assert checked(WORKFLOWS / name)[0] == 0
    broken = tmp_path / name
    broken.write_text((WORKFLOWS / name).read_text().replace("runs-on:", "runs_on:", 1))
    assert checked(broken)[0] == 1


def test_dependabot():
    """The pins are renewed by a configuration that fits its schema."""
    assert checked(ROOT / ".github/dependabot.yml", "vendor.dependabot")[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (r"(checkout)@\w+ # v7.0.1", r"\1@v7", "unpinned-uses"),
        ("contents: read", "contents: write", "excessive-permissions"),
        ("persist-credentials: false", "fetch-depth: 1", "artipacked"),
        ("  pull_request:", "  pull_request_target:", "dangerous-triggers"),
        ("run: make test", "run: make test ARGS='${{ github.head_ref }}'", "template-injection"),
    ],
)
def test_workflows_are_audited(tmp_path, old, new, why):
    """zizmor sees each of the ways to lose a workflow to others, and none of them in ours."""
    assert audited(ROOT / ".github")[0] == 0
    text, count = re.subn(old, new, (WORKFLOWS / "tests.yml").read_text(), count=1)
    assert count == 1
    broken = tmp_path / "tests.yml"
    broken.write_text(text)
    code, said = audited(broken)
    assert code != 0
    assert why in said


def test_workflows_have_no_secrets():
    """No workflow asks for a secret, and all may but read."""
    for path in WORKFLOWS.iterdir():
        assert "secrets" not in path.read_text()
        assert workflow(path.name)["permissions"] == {"contents": "read"}
        assert not any("permissions" in job for job in workflow(path.name)["jobs"].values())


def test_every_python_is_tested():
    """The matrix has each Python that pyproject.toml names, and the oldest dependencies meet the oldest."""
    names = [
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text) for text in PROJECT["classifiers"]
    ]
    pythons = [name[1] for name in names if name]
    jobs = workflow("tests.yml")["jobs"]
    assert jobs["newest"]["strategy"]["matrix"]["python"] == pythons
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert jobs["lowest"]["container"] == f"python:{pythons[0]}-bookworm"


def test_workflows_run_what_there_is():
    """What the workflows run are targets of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = re.findall(r"run: (.+)$", "".join(path.read_text() for path in WORKFLOWS.iterdir()), re.MULTILINE)
    assert {"make test", "make test DEPS=lowest", "make beside", "make release"} == set(lines)
    assert {line.split()[1] for line in lines} <= targets


# ---- the files of a release


GIT = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
DATES = {"GIT_AUTHOR_DATE": "@1700000000 +0000", "GIT_COMMITTER_DATE": "@1700000000 +0000"}


def committed(directory):
    """A copy of this tree with all of it in one commit, always of the same time."""
    away = (
        ".git",
        ".venv*",
        "__pycache__",
        ".*_cache",
        "dist",
        "loadtest-runs",
        ".hypothesis",
        "node_modules",
    )
    shutil.copytree(ROOT, directory, ignore=shutil.ignore_patterns(*away), copy_function=shutil.copyfile)
    for script in (".ci/release", "tests/debian-packages", ".ci/run"):
        (directory / script).chmod(0o755)
    for arguments in (["init", "--quiet"], ["add", "--all"], [*GIT, "commit", "--quiet", "--message", "all"]):
        subprocess.run([command("git"), *arguments], cwd=directory, env=os.environ | DATES, check=True)
    return directory


def released(directory, index, *, umask):
    """The files that .ci/release makes, by name; the package index is ``index``."""
    env = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(directory),
        "UV_NO_CACHE": "1",
        "UV_DEFAULT_INDEX": index.url,
    }
    code, said = run(directory / ".ci/release", "dist", env=env, cwd=directory, umask=umask)
    assert code == 0, said
    return {path.name: path for path in (directory / "dist").iterdir()}


class Index(ThreadingHTTPServer):
    """A package index on loopback (PEP 503) with an empty wheel of each dependency of each extra."""

    request_queue_size = 128  # uv asks for all of them at once

    def __init__(self, directory):
        self.hashes = {}
        for each in requirements(*PROJECT["optional-dependencies"]):
            lowest = next((one.version for one in each.specifier if one.operator in (">=", "==")), "1")
            stem = f"{each.name.replace('-', '_')}-{lowest}"
            page = directory / each.name
            page.mkdir(exist_ok=True)
            with zipfile.ZipFile(wheel := page / f"{stem}-py3-none-any.whl", "w") as archive:
                about = {"Metadata-Version": "2.1", "Name": each.name, "Version": lowest}
                fields = [*about.items(), *(("Provides-Extra", extra) for extra in each.extras)]
                archive.writestr(f"{stem}.dist-info/METADATA", "".join(f"{k}: {v}\n" for k, v in fields))
                archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            self.hashes[each.name] = digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            with (page / "index.html").open("a") as links:
                links.write(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>\n')
        super().__init__(("127.0.0.1", 0), partial(QuietHandler, directory=directory))
        self.url = f"http://127.0.0.1:{self.server_port}/"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing."""


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A running Index."""
    with Index(tmp_path_factory.mktemp("index")) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def release(index, tmp_path_factory):
    """Two releases of one commit, made in different places, with other times and another umask."""
    first = committed(tmp_path_factory.mktemp("release") / "a")
    (first / "notes.txt").write_text("not committed")
    second = committed(tmp_path_factory.mktemp("release") / "a longer name")
    for path in second.rglob("*.py"):
        os.utime(path, (1, 1_600_000_000))
    return released(first, index, umask=0o022), released(second, index, umask=0o077)


def test_a_commit_makes_the_same_files(release):
    """Wheel and sdist of one commit are the same to the byte, wherever and whenever they are made."""
    first, second = release
    built = [name for name in first if name.endswith((".whl", ".tar.gz"))]
    assert len(built) == 2
    for name in built:
        assert first[name].read_bytes() == second[name].read_bytes()


def test_what_is_not_committed_is_not_given_out(release):
    """The sdist has what the commit has, and the wheel the package and its pytest plugin."""
    first, _ = release
    stem = f"sse_edge-{PROJECT['version']}"
    with tarfile.open(first[f"{stem}.tar.gz"]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert "notes.txt" not in names
    assert {"pyproject.toml", "LICENSE", "sse_edge/py.typed", "tests/test_supply.py", "PKG-INFO"} <= names
    with zipfile.ZipFile(first[f"{stem}-py3-none-any.whl"]) as wheel:
        roots = {name.split("/")[0] for name in wheel.namelist()}
        assert roots == {"sse_edge", f"{stem}.dist-info"}


def test_the_checksums(release):
    """SHA256SUMS has every other file, and sha256sum finds them as they are."""
    first, _ = release
    sums = first["SHA256SUMS"]
    assert {line.split()[1] for line in sums.read_text().splitlines()} == set(first) - {"SHA256SUMS"}
    assert run("sha256sum", "--check", "--strict", sums.name, cwd=sums.parent)[0] == 0


def test_the_sbom(release, index):
    """The SBOM has every dependency of a deployment, with the hash of each of its files."""
    first, _ = release
    bom = json.loads(first[f"sse_edge-{PROJECT['version']}.cdx.json"].read_text())
    assert bom["bomFormat"] == "CycloneDX"
    assert bom["metadata"]["component"]["version"] == PROJECT["version"]
    hashes = {
        component["name"]: one["content"]
        for component in bom["components"]
        for file in component["externalReferences"]
        for one in file["hashes"]
    }
    assert hashes == {each.name: index.hashes[each.name] for each in requirements(*EXTRAS)}
