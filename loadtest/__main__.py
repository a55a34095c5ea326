"""``python -m loadtest SCENARIO``: see ``loadtest/run/command.py``."""

import sys

import locust  # noqa: F401 - before all else: it has gevent replace sockets and processes

from .run.command import main
from .site import programs

if __name__ == "__main__":
    sys.exit(programs.interruptible(main))
