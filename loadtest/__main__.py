"""``python -m loadtest SCENARIO``: see ``loadtest/run/command.py``."""

import sys

import locust  # noqa: F401 - before all else: it has gevent replace sockets and processes

from . import programs
from .run.command import main

if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
