"""The process of ``apps.locusts``, as a test sees it.

Importing Locust lets gevent replace sockets, threads and processes, which is not to happen to pytest.
"""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PATIENCE = 30


class Locusts:
    """Plays one case after another."""

    def __init__(self):
        self._process = None

    def _start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "apps.locusts"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}"},
        )

    def play(self, case, /, *args, **options):
        """What the case found.  A case that fails, or has broken its swarm's loop, is an AssertionError."""
        if self._process is None:
            self._start()
        self._process.stdin.write(json.dumps([case, args, options]) + "\n")
        self._process.stdin.flush()
        there, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        line = self._process.stdout.readline() if there else ""
        if not line:
            self.close()  # the next case has another
        assert line, f"{case} does not end, or has ended the process"
        answer = json.loads(line)
        assert "error" not in answer, f"{case}:\n{answer['error']}"
        return answer["found"]

    def close(self):
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
