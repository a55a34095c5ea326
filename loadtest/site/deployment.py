"""What is under load, as scenarios disturb it: programs that are started here, or what runs already."""

import contextlib
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from ..measure.process import CLIENTS, open_files
from . import programs
from .programs import Program

RESTART = 1.0  # seconds until systemd starts a killed worker again (RestartSec of the shipped unit)


class Site(contextlib.ExitStack):
    """Workers, perhaps a proxy, and a Redis, until the end of a ``with``; they write to ``directory``.

    So long too whoever holds streams on them, as another part.
    """

    def __init__(self, directory: Path = Path()) -> None:
        super().__init__()
        self.directory = directory
        self.ports: list[int] = []
        """Where clients connect."""
        self.redis = ""
        """The URL of Redis."""
        self.programs: dict[str, list[Program]] = {"worker": [], "proxy": [], "Redis": [], CLIENTS: []}

    def start(self, part: str, arguments: list[str], port: int | None, **env: str) -> Program:
        """One more program of a part."""
        program = Program(arguments, port, **env)
        self.callback(program.close)
        self.programs[part].append(program)
        return program

    def start_redis(self, *options: str) -> None:
        """One that keeps nothing on disk, but as ``options`` say; the first may be its file."""
        port, directory = programs.free_port(), self.directory / "redis"
        directory.mkdir(exist_ok=True)
        own = f"--port {port} --bind 127.0.0.1 --dir {directory}".split()
        server = [programs.command("redis-server"), *(options or ("--save", "", "--appendonly", "no")), *own]
        self.start("Redis", server, port)
        self.redis = f"redis://127.0.0.1:{port}/0"

    @property
    def parts(self) -> dict[str, list[int]]:
        """The processes of each part, by their ids."""
        return {
            name: pids
            for name, several in self.programs.items()
            if (pids := [pid for program in several for pid in program.pids])
        }

    def said(self) -> list[str]:
        """The ends of what the programs have written."""
        logs = [(name, program.log[-1500:]) for name, each in self.programs.items() for program in each]
        return [f"{name}: {log}" for name, log in logs if log.strip()]

    # As scenarios see it

    @property
    def workers(self) -> int:
        """How many."""
        return len(self.programs["worker"])

    def kill(self, number: int) -> None:
        """SIGKILL, and the next one after a while."""
        worker = self.programs["worker"][number]
        worker.kill()
        timer = threading.Timer(RESTART, worker.start)
        self.callback(timer.cancel)
        timer.start()

    def restart(self, number: int) -> None:
        """SIGTERM, and the next one when it has ended."""
        worker = self.programs["worker"][number]
        if not worker.stop():
            raise RuntimeError(f"worker {number} has not ended {programs.STOPPING:g} s after SIGTERM")
        worker.start()

    def files(self) -> int:
        """Descriptors of all workers."""
        return sum(map(open_files, self.parts.get("worker", ())))


class Theirs(Site):
    """What runs already; ``command`` disturbs it."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def kill(self, number: int) -> None:
        """Run the command."""
        if not self._command:
            raise RuntimeError(
                'with --target, say how a worker is killed: --disturb "systemctl kill …", or --drop'
            )
        done = subprocess.run(shlex.split(self._command), check=False, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise RuntimeError(f"--disturb ended with {done.returncode}: {done.stderr.strip()[-300:]}")

    restart = kill  # the command restarts all workers one after another, and returns then


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """One by itself, until the end of the block; its URL."""
    with tempfile.TemporaryDirectory() as directory, Site(Path(directory)) as site:
        site.start_redis()
        yield site.redis
