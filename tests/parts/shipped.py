"""The files of deploy/: what they say, and what a checker says of them."""

import subprocess

import yaml

from servers.processes import TESTS
from sse_edge import SignedCookie

ROOT = TESTS.parent
DEPLOY = ROOT / "deploy"
SECRET = "a secret of the tests"
COOKIE = "__Host-session"


def cookies():
    """What lets u42 into the example app."""
    return {COOKIE: SignedCookie(SECRET, COOKIE).issue("u42")}


def run(*arguments, cwd=None):
    """A checker's exit code and everything it said."""
    done = subprocess.run(
        list(map(str, arguments)), capture_output=True, text=True, timeout=50, cwd=cwd, check=False
    )
    return done.returncode, done.stdout + done.stderr


def unit(text):
    """The settings of a unit: name → values."""
    found = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


KUBERNETES = DEPLOY / "kubernetes"


def every_manifest(path=None):
    """Each manifest of the file, else of all of them."""
    paths = [path] if path else sorted(KUBERNETES.glob("*.yaml"))
    return [each for one in paths for each in yaml.safe_load_all(one.read_text())]


def manifests(name="app.yaml"):
    """Kind → manifest, of one file."""
    return {
        each["kind"]: each for each in every_manifest(KUBERNETES / name) if each["kind"] != "NetworkPolicy"
    }


def named(kind):
    """Name → specification of each manifest of a kind."""
    return {each["metadata"]["name"]: each["spec"] for each in every_manifest() if each["kind"] == kind}


def pod():
    """The app's pod."""
    return manifests()["Deployment"]["spec"]["template"]["spec"]
