"""The workflows, what they may do, and the scripts that find and try Pythons."""

import os
import re
import sys

import pytest
import yaml

from parts.programs import BIN, PROJECT, run
from servers.processes import TESTS

ROOT = TESTS.parent
WORKFLOWS = ROOT / ".github/workflows"


def checked(*paths, schema="vendor.github-workflows"):
    return run(BIN / "check-jsonschema", "--builtin-schema", schema, *paths)


def audited(path):
    return run(BIN / "zizmor", "--offline", "--no-progress", "--format=plain", path)


def workflow(name):
    """A workflow; YAML takes its key `on` for a boolean."""
    return yaml.safe_load((WORKFLOWS / name).read_text())


def test_workflows(tmp_path):
    """Each workflow fits GitHub's schema, and in none of them a misspelt key does."""
    paths = sorted(WORKFLOWS.iterdir())
    assert [path.name for path in paths] == ["release.yml", "tests.yml"]
    assert checked(*paths)[0] == 0
    for path in paths:
        (tmp_path / path.name).write_text(path.read_text().replace("runs-on:", "runs_on:", 1))
    code, said = checked(*tmp_path.iterdir())
    assert code == 1
    assert all(f"{tmp_path / path.name}::" in said for path in paths), said


def test_dependabot():
    """The pins are renewed by a configuration that fits its schema."""
    assert checked(ROOT / ".github/dependabot.yml", schema="vendor.dependabot")[0] == 0


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


RIGHTS = {
    ("release.yml", "attest"): {"id-token": "write", "attestations": "write"},
    ("release.yml", "draft"): {"contents": "write"},
    ("release.yml", "pypi"): {"id-token": "write"},
}
"""The only jobs that may do more than read, and what."""


def test_workflows_have_no_secrets():
    """No workflow asks for a secret, and but for these jobs all may but read."""
    found = {}
    for path in WORKFLOWS.iterdir():
        assert "secrets" not in path.read_text()
        assert workflow(path.name)["permissions"] == {"contents": "read"}
        jobs = workflow(path.name)["jobs"].items()
        found |= {(path.name, name): job["permissions"] for name, job in jobs if "permissions" in job}
    assert found == RIGHTS


def test_who_may_write_runs_nothing_of_ours():
    """A job with more rights checks nothing out and makes nothing: another has made the files."""
    jobs = workflow("release.yml")["jobs"]
    for _, name in RIGHTS:
        assert jobs[name]["needs"] == "files"
        first, *others = jobs[name]["steps"]
        assert first["uses"].startswith("actions/download-artifact@")
        assert not any(step.get("uses", "").startswith("actions/checkout@") for step in others)
        assert not any("make" in step.get("run", "").split() for step in others)


def test_publishing_is_by_hand():
    """PyPI gets files only where somebody starts the workflow on a tag, in an environment with reviewers."""
    text = (WORKFLOWS / "release.yml").read_text()
    jobs = workflow("release.yml")["jobs"]
    assert text.count("gh-action-pypi-publish@") == 1
    assert jobs["pypi"]["if"] == "github.event_name == 'workflow_dispatch' && github.ref_type == 'tag'"
    assert jobs["pypi"]["environment"] == "pypi"
    assert "--draft" in jobs["draft"]["steps"][1]["run"].split()
    assert workflow("release.yml")[True] == {"push": {"tags": ["v*"]}, "workflow_dispatch": None}


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
    text = "".join(path.read_text() for path in WORKFLOWS.iterdir())
    lines = re.findall(r"run: (make .+)$", text, re.MULTILINE)
    assert {"make test", "make test DEPS=lowest", "make beside", "make docs", "make release"} == set(lines)
    assert {line.split()[1] for line in lines} <= targets


def test_a_python_is_found(tmp_path):
    """`make matrix` finds a Python by what it says it is: no shim of that name, none of another version."""
    ours = "{}.{}".format(*sys.version_info)
    for name, program in {"python3.98": "exit 127", f"python{ours}": "echo 3.98"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / name).chmod(0o755)
    real = tmp_path / "pyenv/versions" / f"{ours}.0/bin/python"
    real.parent.mkdir(parents=True)
    real.symlink_to(sys.executable)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYENV_ROOT": str(tmp_path / "pyenv")}
    code, found = run(ROOT / "tests/find-python", ours, env=env)
    assert code == 0
    assert run(found.strip(), "-c", "import sys; print(*sys.version_info[:2], sep='.')")[1].strip() == ours
    assert run(ROOT / "tests/find-python", "3.98", env=env) == (1, "")


def test_a_matrix(tmp_path):
    """It fails for a Python that is named and not there, or whose tests fail; and says what is not found."""
    ours = "{}.{}".format(*sys.version_info)
    env = os.environ | {"MAKE": "true"}
    code, said = run(ROOT / "tests/matrix", "fast", ours, env=env)
    assert code == 0
    assert f"{ours}  passed: Python {ours}" in said
    code, said = run(ROOT / "tests/matrix", "fast", ours, "3.98", env=env)
    assert code == 1
    assert f"{ours}  passed" in said
    assert "3.98  not found" in said
    code, said = run(ROOT / "tests/matrix", "fast", ours, env=env | {"MAKE": "false"})
    assert code == 1
    assert f"{ours}  FAILED" in said
    code, said = run(ROOT / "tests/matrix", "fast", env=env)
    assert code == 0
    names = [line.split()[0] for line in said.splitlines() if line]
    assert [f"Programming Language :: Python :: {name}" in PROJECT["classifiers"] for name in names] == [
        True
    ] * 4
