"""What sse_edge is made of and given out as: dependency ranges, and the files of a release."""

import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import PurePath
from threading import Thread

import pytest
import yaml
from packaging.requirements import Requirement

from parts.programs import BIN, PROJECT, run
from servers.processes import TESTS, command
from sse_edge.status.report import Reporter
from sse_edge.tune.files import DEPLOY
from sse_edge.tune.template import SHIPPED

ROOT = TESTS.parent
pytestmark = pytest.mark.timeout(300)  # a release is built twice

CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
EXTRAS = ("server", "metrics", "doctor")
"""What a deployment installs."""
SERVED = (*EXTRAS, "jwt", "orjson", "otel")
"""The extras that are good without a checkout."""


def requirements(*extras):
    """What pip installs with these extras, without those of others."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    every = [Requirement(text) for each in lists for text in each]
    return [each for each in every if each.name != "sse_edge"]


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
    for path in (*(directory / ".ci").iterdir(), *(directory / "tests").iterdir()):
        if path.is_file() and path.read_bytes().startswith(b"#!"):
            path.chmod(0o755)
    for arguments in (["init", "--quiet"], ["add", "--all"], [*GIT, "commit", "--quiet", "--message", "all"]):
        subprocess.run([command("git"), *arguments], cwd=directory, env=os.environ | DATES, check=True)
    return directory


def build(directory, index, *, umask=0o022, zone="UTC"):
    """The exit code of .ci/release and what it said; the package index is ``index``."""
    env = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(directory),
        "TZ": zone,
        "UV_NO_CACHE": "1",
        "UV_DEFAULT_INDEX": index.url,
        "PIP_INDEX_URL": index.url,
        "PIP_NO_CACHE_DIR": "1",
    }
    return run(directory / ".ci/release", "dist", timeout=140, env=env, cwd=directory, umask=umask)


def released(directory, index, **differently):
    """The files that .ci/release makes, by name."""
    code, said = build(directory, index, **differently)
    assert code == 0, said
    return {path.name: path for path in (directory / "dist").iterdir()}


LICENCE = {"License-Expression": "MIT OR Apache-2.0"}


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
                about = {"Metadata-Version": "2.4", "Name": each.name, "Version": lowest} | LICENCE
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
    """Two releases of one commit, made in different places, with other times, another umask and time zone."""
    first = committed(tmp_path_factory.mktemp("release") / "a")
    (first / "notes.txt").write_text("not committed")
    second = committed(tmp_path_factory.mktemp("release") / "a longer name")
    for path in second.rglob("*.py"):
        os.utime(path, (1, 1_600_000_000))
    return released(first, index), released(second, index, umask=0o077, zone="Pacific/Kiritimati")


def test_a_commit_makes_the_same_files(release):
    """Wheel and sdist of one commit are the same to the byte, wherever and whenever they are made."""
    first, second = release
    built = [name for name in first if name.endswith((".whl", ".tar.gz"))]
    assert len(built) == 2
    for name in built:
        assert first[name].read_bytes() == second[name].read_bytes()


STEM = f"sse_edge-{PROJECT['version']}"

KINDS = {
    "page/*.*": "sse_edge/demo",
    "*.py": "",
    "py.typed": "sse_edge",
    "*.lua": "sse_edge/backends/redis",
    "*.js": "sse_edge/client",
    "*.d.ts": "sse_edge/client",
}
"""What files the package is made of, and the only folder for each kind."""

CONFIGURATION = {*SHIPPED, *DEPLOY.values()}
"""What `sse-edge tune` writes: in a wheel below sse_edge/tune."""


def tracked(release):
    """All files of the commit that was released."""
    tree = next(iter(release[0].values())).parent.parent
    listed = subprocess.run(
        [command("git"), "ls-files"], cwd=tree, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.splitlines())


def test_the_sdist(release):
    """It has every file that the commit has, what a builder adds, and nothing that only lies about."""
    first, _ = release
    with tarfile.open(first[f"{STEM}.tar.gz"]) as sdist:
        names = sdist.getnames()
    assert len(names) == len(set(names))
    assert {name.removeprefix(f"{STEM}/") for name in names} == tracked(release) | {"PKG-INFO"}


def test_the_wheel(release):
    """It has the package, the configuration that `sse-edge tune` writes, and what describes it: no tests, no
    figures, and no kind of file that has no place here."""
    first, _ = release
    with zipfile.ZipFile(first[f"{STEM}-py3-none-any.whl"]) as wheel:
        names = wheel.namelist()
        for name in CONFIGURATION:  # byte for byte, where `tune` looks for it
            assert wheel.read(f"sse_edge/tune/{name}") == (ROOT / name).read_bytes(), name
    package = {name for name in tracked(release) if name.startswith("sse_edge/")}
    configuration = {f"sse_edge/tune/{name}" for name in CONFIGURATION}
    about = {
        f"{STEM}.dist-info/{name}"
        for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    assert sorted(names) == sorted(package | configuration | about)
    for name in package:
        kinds = [folder for kind, folder in KINDS.items() if PurePath(name).match(kind)]
        assert kinds, f"{name}: what kind of file is this?"
        assert name.startswith(kinds[0]), name
        assert not PurePath(name).match("test_*.py"), name
    for kind in KINDS:
        assert any(PurePath(name).match(kind) for name in package), kind


CHECKS = ("bare", "metrics", "orjson", "jwt", "otel")
"""What `make release` tries in environments of their own: besides, with --heavy, beside all that is here."""


@pytest.mark.parametrize(
    "check", ["server", *(pytest.param(each, marks=pytest.mark.heavy) for each in CHECKS)]
)
def test_the_wheel_works(release, tmp_path, check):
    """Unpacked beside the dependencies it does what `make release` tries in empty environments: every module
    is there, an event is heard, files are written, and the demo has a page and a stream."""
    first, _ = release
    with zipfile.ZipFile(first[f"{STEM}-py3-none-any.whl"]) as wheel:
        wheel.extractall(tmp_path / "wheel")
    env = os.environ | {"PYTHONPATH": str(tmp_path / "wheel")}
    code, said = run(sys.executable, "-P", ROOT / ".ci/smoke.py", check, timeout=140, cwd=tmp_path, env=env)
    assert code == 0, said


def test_an_extra_says_for_whom_it_is():
    """In pyproject.toml those that want a checkout stand below the line that says so, the others above it."""
    text = (ROOT / "pyproject.toml").read_text()
    table = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    above, line, below = table.partition("# Only in a checkout")
    assert line, "pyproject.toml says no more which extras are only for a checkout"
    assert sorted(re.findall(r"^(\w+) = ", above, re.MULTILINE)) == sorted(SERVED)
    assert sorted(re.findall(r"^(\w+) = ", below, re.MULTILINE)) == [
        "bench",
        "dev",
        "docs",
        "fuzz",
        "loadtest",
    ]


def test_the_smoke_has_every_extra():
    """.ci/smoke tries each extra alone, and sees that those for the source tree can be installed."""
    said = (ROOT / ".ci/smoke").read_text()
    names = " ".join(re.findall(r"^for extra in (.+); do$", said, re.MULTILINE)).split()
    assert sorted([*names, "doctor"]) == sorted(PROJECT["optional-dependencies"])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (f"## {PROJECT['version']} (", "## 9.9.9 (", f"no sections of {PROJECT['version']}"),
        (r"(?m)^## [\d.]+ \(.*\)$", f"## {PROJECT['version']} (unreleased)", "and not"),
        (r"(?m)^## [\d.]+ \(.*\)$", f"## {PROJECT['version']}", "and not"),
        (r"(?m)^(## [\d.]+) \(.*\)$", r"\1 (2026-02-30)", "CHANGELOG.md dates"),
        (r"(?m)^(## [\d.]+) \(.*\)$", r"\1 (2026-13-01)", "month must be in"),
        (r"(?m)^(## [\d.]+ .*)$", r"\1\n\nUnreleased.", "says “unreleased”"),
        (r"(?ms)^(## [\d.]+ .*?)$.*", r"\1\n", "empty"),
        (r"\Z", f"\n## {PROJECT['version']} (2026-01-01)\n\nAgain.\n", "2 sections"),
    ],
)
def test_no_release_without_its_notes(tmp_path, old, new, why):
    """Nothing is built where CHANGELOG.md has not the version once, with a date and something to say."""
    text, count = re.subn(old.replace("(", r"\(") if old.startswith("## ") else old, new, CHANGELOG, count=1)
    assert count == 1
    (tmp_path / "CHANGELOG.md").write_text(text)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code, said = run(sys.executable, ROOT / ".ci/notes.py", cwd=tmp_path)
    assert code == 1
    assert why in said


def targets(page):
    """What the links and the pictures of a page lead to."""
    return re.findall(r"\]\(([^)\s]+)\)", page)


def test_the_notes(release):
    """They have title and day, how to install and check the files, and all that CHANGELOG.md says of this
    version and nothing of others, without a link that leads nowhere."""
    first, _ = release
    notes = first["NOTES.md"].read_text()
    heading, said = re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1].split("\n", 1)
    day = heading.partition("(")[2].rstrip(")")
    assert notes.startswith(f"# sse_edge {PROJECT['version']}\n\nReleased {day}.\n\n")
    assert "sha256sum --check SHA256SUMS" in notes
    assert f"{STEM}-py3-none-any.whl[server]" in notes
    assert [each for each in targets(notes) if not each.startswith("https://")] == []
    heads = re.findall(r"^##(#+ .+)$", said, re.MULTILINE)
    assert re.findall(r"^##+ .+$", notes, re.MULTILINE) == [
        "## Install and check",
        *(f"#{head}" for head in heads),
    ]
    assert notes.count("\n- ") == said.count("\n- ")
    for line in said.replace("`", "").splitlines():
        for words in re.split(r"\[.*|.*\)", line):
            assert words.strip().lstrip("#- ") in notes.replace("`", ""), words


def test_the_notes_are_not_wrapped(release):
    """A paragraph or an item is one line: where they are read each end of a line shows."""
    first, _ = release
    outside_code = re.sub(r"^```.*?^```", "", first["NOTES.md"].read_text(), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"\S\n *(?!- |#)\S.*", outside_code) == []


def test_the_description_of_the_wheel(release):
    """It is README.md, without a link or a picture that leads nowhere on PyPI; the sdist's is the same."""
    first, _ = release
    with zipfile.ZipFile(first[f"{STEM}-py3-none-any.whl"]) as wheel:
        metadata = wheel.read(f"{STEM}.dist-info/METADATA").decode()
    with tarfile.open(first[f"{STEM}.tar.gz"]) as sdist:
        assert sdist.extractfile(f"{STEM}/PKG-INFO").read().decode() == metadata
    _, description = metadata.split("\n\n", 1)
    assert description.startswith("# sse_edge\n")
    assert re.findall(r"^## .+$", description, re.MULTILINE) == re.findall(
        r"^## .+$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert [each for each in targets(description) if not each.startswith("https://")] == []


PLACES = """See [the client](docs/CLIENT.md#polling), [`nginx.conf`](nginx.conf),
[`a.txt`](b/a.txt), [`c/`](c/README.md), [below](#below) and [SSE](https://example.com/sse).

![A page](d/page.png)

```
[not](a link)
```
"""


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        (
            {},
            """See the client (`docs/CLIENT.md`), `nginx.conf`,
`b/a.txt`, `c/`, below and [SSE](https://example.com/sse).

*A page* (`d/page.png`)
""",
        ),
        (
            {"Source": "https://github.com/a/b/"},
            """See [the client](https://github.com/a/b/blob/v1.2/docs/CLIENT.md#polling), \
[`nginx.conf`](https://github.com/a/b/blob/v1.2/nginx.conf),
[`a.txt`](https://github.com/a/b/blob/v1.2/b/a.txt), [`c/`](https://github.com/a/b/blob/v1.2/c/README.md), \
below and [SSE](https://example.com/sse).

![A page](https://github.com/a/b/raw/v1.2/d/page.png)
""",
        ),
    ],
    ids=["nowhere", "somewhere"],
)
def test_a_page_outside_the_repository(urls, said):
    """A link is its text and the file's name, or with an address the file at the tag; code stays as it is."""
    outside = runpy.run_path(str(ROOT / ".ci/readme.py"))["outside"]
    assert outside(PLACES, {"version": "1.2", "urls": urls}) == f"{said}\n```\n[not](a link)\n```\n"


def test_the_notes_with_an_address(tmp_path):
    """Once pyproject.toml says where the source is, the notes link there, and say how to ask who built it."""
    address = "https://github.com/a/b"
    table = f'\n[project.urls]\nSource = "{address}"\n'
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + table)
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    code, said = run(sys.executable, ROOT / ".ci/notes.py", cwd=tmp_path)
    assert code == 0, said
    assert f"({address}/blob/v{PROJECT['version']}/deploy/METRICS.md)" in said
    assert "gh attestation verify FILE --repo a/b" in said


def test_no_release_under_another_name(release, index, tmp_path):
    """A commit that is tagged as another version is not built."""
    origin, tree = next(iter(release[0].values())).parent.parent, tmp_path / "tree"
    subprocess.run([command("git"), "clone", "--quiet", origin, tree], check=True)
    subprocess.run([command("git"), "tag", "v9.9.9"], cwd=tree, check=True)
    code, said = build(tree, index)
    assert code == 1
    assert "v9.9.9" in said
    assert not (tree / "dist").exists()


def test_no_second_release_of_a_version(release, index, tmp_path):
    """A version that another commit is tagged as is not built again; and what is not committed is counted."""
    origin, tree = next(iter(release[0].values())).parent.parent, tmp_path / "tree"
    subprocess.run([command("git"), "clone", "--quiet", origin, tree], check=True)
    subprocess.run([command("git"), "tag", f"v{PROJECT['version']}"], cwd=tree, check=True)
    nothing = [*GIT, "commit", "--quiet", "--allow-empty", "--message", "more"]
    subprocess.run([command("git"), *nothing], cwd=tree, env=os.environ | DATES, check=True)
    (tree / "README.md").write_text("changed")
    (tree / "new").mkdir()
    (tree / "new/one.txt").write_text("new")
    (tree / "new/two.txt").write_text("new")
    code, said = build(tree, index)
    assert code == 1
    assert f"v{PROJECT['version']} is released already" in said
    assert "not committed is not in it; files: 3" in said
    assert not (tree / "dist").exists()


def test_no_release_of_what_is_only_written(release, index, tmp_path):
    """Whoever has dated CHANGELOG.md and not committed it reads that the commit counts."""
    origin, tree = next(iter(release[0].values())).parent.parent, tmp_path / "tree"
    subprocess.run([command("git"), "clone", "--quiet", origin, tree], check=True)
    (tree / "CHANGELOG.md").write_text(re.sub(r"(?m)^(## [\d.]+) .*$", r"\1", CHANGELOG, count=1))
    undated = [*GIT, "commit", "--quiet", "--all", "--message", "undated"]
    subprocess.run([command("git"), *undated], cwd=tree, env=os.environ | DATES, check=True)
    (tree / "CHANGELOG.md").write_text(CHANGELOG)
    code, said = build(tree, index)
    assert code == 1
    assert "and not" in said
    assert "Of the files as they are committed" in said
    assert "files: 1" in said


def test_a_release_that_fails_leaves_nothing(release, index, tmp_path):
    """What goes wrong in the middle, here the licences, leaves no folder that looks finished; nor is one that
    is there already touched."""
    origin, tree = next(iter(release[0].values())).parent.parent, tmp_path / "tree"
    subprocess.run([command("git"), "clone", "--quiet", origin, tree], check=True)
    (tree / ".ci/licences.py").write_text("raise SystemExit('no licence')")
    broken = [*GIT, "commit", "--quiet", "--all", "--message", "broken"]
    subprocess.run([command("git"), *broken], cwd=tree, env=os.environ | DATES, check=True)
    code, said = build(tree, index)
    assert code == 1
    assert "no licence" in said
    assert not (tree / "dist").exists()
    (tree / "dist").mkdir()
    code, said = build(tree, index)
    assert code == 1
    assert "is there already" in said
    assert list((tree / "dist").iterdir()) == []


def test_the_checksums(release):
    """SHA256SUMS has every other file, and sha256sum finds them as they are."""
    first, _ = release
    sums = first["SHA256SUMS"]
    assert {line.split()[1] for line in sums.read_text().splitlines()} == set(first) - {"SHA256SUMS"}
    assert run("sha256sum", "--check", "--strict", sums.name, cwd=sums.parent)[0] == 0


def test_the_sbom(release, index):
    """The SBOM is CycloneDX, and has every dependency of whoever has no checkout, with each extra, with its
    version, its licence, and the hash of each of its files."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - every process would load it, for seconds
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    first, _ = release
    text = first[f"{STEM}.cdx.json"].read_text()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    bom = json.loads(text)
    broken = json.dumps(bom | {"components": [{"name": "a"}]})
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(broken) is not None
    itself = bom["metadata"]["component"]
    assert (itself["version"], itself["licenses"]) == (PROJECT["version"], [{"expression": "MIT"}])
    hashes = {
        component["name"]: one["content"]
        for component in bom["components"]
        for file in component["externalReferences"]
        for one in file["hashes"]
    }
    assert hashes == {each.name: index.hashes[each.name] for each in requirements(*SERVED)}
    for component in bom["components"]:
        assert component["version"], component["name"]
        assert component["licenses"] == [{"expression": LICENCE["License-Expression"]}], component["name"]


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (
            "License-Expression: MIT\nClassifier: License :: OSI Approved :: BSD License",
            [{"expression": "MIT"}],
        ),
        (
            "Classifier: License :: OSI Approved :: MIT License\nLicense: see COPYING",
            [{"license": {"name": "MIT License"}}],
        ),
        ("License: Apache 2\n        All of the text", [{"license": {"name": "Apache 2"}}]),
        ("Classifier: Programming Language :: Python", None),
    ],
)
def test_a_licence(tmp_path, metadata, said):
    """It is taken as the package says it, by an expression, classifiers or words; none is an error."""
    with zipfile.ZipFile(wheel := tmp_path / "Some_thing-1-py3-none-any.whl", "w") as archive:
        about = f"Metadata-Version: 2.4\nName: Some.thing\nVersion: 1\n{metadata}\n"
        archive.writestr("Some_thing-1.dist-info/METADATA", about)
    component = {"name": "some-thing", "version": "1"}
    bom = tmp_path / "bom.json"
    bom.write_text(json.dumps({"metadata": {"component": component}, "components": [component]}))
    code, why = run(sys.executable, ROOT / ".ci/licences.py", bom, "add", wheel)
    if said is None:
        assert code == 1
        assert "some-thing 1" in why
    else:
        assert code == 0, why
        assert json.loads(bom.read_text())["components"][0]["licenses"] == said


# ---- the version


def test_everything_says_the_same_version():
    """What is installed, the command, a worker's report, the description of the API and the changelog."""
    said = {
        "installed": version("sse_edge"),
        "command": run(BIN / "sse-edge", "--version")[1].split()[-1],
        "report": Reporter("/events", {}, dict)._worker["version"],
        "openapi": yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())["info"]["version"],
        "changelog": re.search(r"^## (\S+)", CHANGELOG, re.MULTILINE)[1],
    }
    assert said == dict.fromkeys(said, PROJECT["version"])


def test_what_to_pin():
    """The pages name the pin of this minor version, and the one that may change things."""
    major, minor, _ = PROJECT["version"].split(".")
    for page in ("docs/START.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text()
        assert re.findall(r"sse_edge~=([\d.]+)", text) == [f"{major}.{minor}.0"], page
        (after,) = re.findall(r"sse_edge~=[\d.]+`[^.]*?(?:and|to) (\d+\.\d+)", text, re.DOTALL)
        assert after == f"{major}.{int(minor) + 1}", page


def test_the_version_is_in_one_place():
    """The package itself has it nowhere."""
    for path in (ROOT / "sse_edge").rglob("*.py"):
        assert f'"{PROJECT["version"]}"' not in path.read_text(), path
