"""After a fork the child has connections of its own and hurts nobody's."""

import subprocess
import sys

import pytest

from servers.processes import TESTS

CASES = {
    "used": "a publisher works on in parent and children, whichever kind it is",
    "listening": "a child that comes and goes does not disturb what its parent listens to",
    "preloaded": "a publisher that was made before a fork works in every child",
    "counting": "children of one process are workers of their own, and share each user's slots",
    "busy": "children work, and nothing is lost or mixed up, where other threads publish meanwhile",
    "locked": "a child does not wait for a lock that a thread of its parent held",
    "writing": "a writer goes on in its parent, children write too, and one of them stops it",
    "closed": "what the parent closes is closed, while its child lives on",
}


@pytest.mark.parametrize("case", CASES)
def test_a_fork(private_redis, case):
    """Each case of ``apps.forking`` goes well: a parent and its children, which end as workers do."""
    arguments = [sys.executable, "-X", "dev", "-W", "ignore", "-m", "apps.forking", case, private_redis().url]
    done = subprocess.run(
        arguments, cwd=TESTS, capture_output=True, text=True, timeout=50, check=False,
        env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "PYTHONFAULTHANDLER": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
