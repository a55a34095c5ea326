"""Somebody who follows a page to the letter, in an empty directory: files, commands, and what they print."""

import os
import re
import signal
import subprocess
import sys
from importlib import metadata
from typing import NamedTuple

import pytest

from .pages import blocks

_NAMED = re.compile(r"# ([\w/]+\.py)\n")
_SERVES = re.compile(r"^(?!.*&$).*\b(?:sse-edge serve|gunicorn|uvicorn|manage\.py runserver)\b", re.MULTILINE)
_INSTALLS = re.compile(r"\b(?:pip install|apt-get install|-m venv)\b")
_KEPT = ("export ", ". ")
"""What a terminal remembers of the commands before."""


class Step(NamedTuple):
    """A block of a page: its language, its text, and for commands what is shown as their output."""

    language: str
    text: str
    prints: str | None = None

    @property
    def file(self):
        """The name in its first line, of a block that is a file."""
        named = _NAMED.match(self.text) if self.language == "python" else None
        return named and named[1]

    @property
    def installs(self):
        """Whether it brings programs onto the machine, which a test has already."""
        return self.language == "sh" and _INSTALLS.search(self.text) is not None

    @property
    def serves(self):
        """Whether it runs until somebody stops it."""
        return self.language == "sh" and not self.installs and _SERVES.search(self.text) is not None


def steps(page):
    """What a page asks for, in order."""
    found = []
    for block in blocks(page):
        if block.language == "text" and found and found[-1].language == "sh":
            found[-1] = found[-1]._replace(prints=block.text)
        else:
            found.append(Step(block.language, block.text))
    return found


def files(page):
    """The files that a page has one write: name → text, the last of each."""
    return {step.file: step.text for step in steps(page) if step.file}


class Reader:
    """Follows a page: what it shows is written and run as it stands there, but that ports are free ones
    and Redis is the tests' (``instead``: text → what stands for it).  ``serve`` is the fixture.
    """

    def __init__(self, page, directory, serve, *, instead):
        self.page = page
        self.directory = directory
        self._serve = serve
        self._instead = instead
        self._kept = []
        self._servers = {}
        (directory / ".venv").symlink_to(sys.prefix)
        self._kept.append(". .venv/bin/activate\n")

    def follow(self, step):
        """Do what one block says."""
        if step.file:
            path = self.directory / step.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.put(step.text))
        elif step.serves:
            self._start(step)
        elif step.installs:
            self._look(step)
        elif step.language == "sh":
            self._run(step)
        else:
            pytest.fail(f"nobody can follow this: {step}", pytrace=False)

    def close(self):
        """Ctrl-C in every terminal."""
        for port in list(self._servers):
            self._stop(port)

    def put(self, text):
        """A text of the page, with what stands for some of it here."""
        for shown, real in self._instead.items():
            text = text.replace(shown, real)
        return text

    def _look(self, step):
        """Whether what a page has one install is there: packages, and extras of ours."""
        words = [word for line in step.text.splitlines() for word in line.partition(" # ")[0].split()]
        asked = re.search(r"\[([\w,]+)\]", step.text)[1].split(",")
        packages = [word for word in words[words.index("install") + 1 :] if word.isalpha()]
        assert set(asked) <= set(metadata.metadata("sse_edge").get_all("Provides-Extra"))
        assert all(metadata.version(name) for name in packages)

    def _script(self, step):
        script = "".join(self._kept) + self.put(step.text)
        self._kept += [f"{line}\n" for line in self.put(step.text).splitlines() if line.startswith(_KEPT)]
        return script

    def _start(self, step):
        ports = [real for shown, real in self._instead.items() if shown.isdigit() and shown in step.text]
        port = int(ports[0] if ports else self._instead["8000"])
        self._stop(port)
        env = {"SSE_EDGE_SERVE_PORT": self._instead["8000"]}
        command = ["bash", "-c", self._script(step)]
        self._servers[port] = self._serve(command, port=port, env=env, cwd=self.directory)

    def _stop(self, port):
        if server := self._servers.pop(port, None):
            os.killpg(server.pid, signal.SIGINT)
            server.wait()

    def _run(self, step):
        done = subprocess.run(
            ["bash", "-c", self._script(step)],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
            # Whoever installs what the page says has pytest, and not all the plugins that are here.
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
        said = f"{self.page.name}:\n{step.text}\n{done.stdout}\n{done.stderr}"
        if step.prints is None:
            assert done.returncode == 0, said
        else:
            parts = self.put(step.prints).strip().split("…")
            expected = r".*?".join(re.escape(part) for part in parts)
            assert re.fullmatch(expected, done.stdout.strip(), re.DOTALL), f"{said}\nexpected:\n{step.prints}"
