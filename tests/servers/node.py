"""Modules for node, beside the front ends that the examples are shown with."""

import contextlib
import json
import subprocess

import pytest

from .examples import EXAMPLES
from .processes import TESTS, command


@contextlib.contextmanager
def module(script, *arguments, input=b""):
    """Run a JavaScript module that can import from examples/node_modules; what it prints, lines of JSON.

    It has ended well when the block has; the test fails otherwise.
    """
    package("ai")
    run = [command("node"), "--no-warnings", "--input-type=module", "--eval", script, "--", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(run, cwd=EXAMPLES, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            process.stdin.write(input)
            process.stdin.close()
            yield map(json.loads, process.stdout)
            assert process.wait(10) == 0, process.stderr.read().decode()
        finally:
            process.kill()


def package(name):
    """Where an npm package is; the test fails when it is missing."""
    path = EXAMPLES / "node_modules" / name
    if not path.exists():
        pytest.fail(f"{path} is not there: make examples/node_modules/.package-lock.json", pytrace=False)
    return path


def made(source):
    """What ``make client`` makes of a module."""
    run = [TESTS / "clients" / "minify"]
    return subprocess.run(run, input=source.read_bytes(), capture_output=True, check=True).stdout
