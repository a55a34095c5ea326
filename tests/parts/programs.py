"""Parts for tests of what is built and given out: programs that run to their end, and what we say we are."""

import subprocess
import sys
import tomllib
from pathlib import Path

from servers.processes import TESTS

BIN = Path(sys.executable).parent
"""Where the programs of this environment are."""
PROJECT = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]


def run(*arguments, timeout=50, **options):
    """A program's exit code and everything it said."""
    done = subprocess.run(
        list(map(str, arguments)), capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    return done.returncode, done.stdout + done.stderr
