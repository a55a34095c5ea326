"""Try every server, measure it, and write both down; two minutes, and it wants a quiet machine."""

import argparse
import asyncio
import contextlib
import subprocess
import tempfile
from pathlib import Path

from loadtest.measure.machine import raise_descriptors
from servers.processes import Processes, packaged

from .footprint import STREAMS, footprint
from .page import results, save
from .promises import survey
from .rows import DEPENDENCIES, OTHERS, ROWS


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m survey", description=__doc__)
    parser.add_argument(
        "part", nargs="?", choices=["promises", "footprint"], help="only that, and keep the rest"
    )
    part = parser.parse_args().part
    raise_descriptors(2 * STREAMS)
    found = results()
    with tempfile.TemporaryDirectory(prefix="sse-edge-survey-") as directory:
        for row in [*ROWS, *OTHERS]:
            entry = found.setdefault(row.name, {})
            entry["versions"] = row.versions
            python = environment(Path(directory), row.other) if row.other and part != "footprint" else None
            if part != "footprint":
                with servers() as serve_app:
                    entry["cells"] = asyncio.run(survey(row, serve_app, python=python))
            if part != "promises" and row.other is None:
                with servers() as serve_app:
                    process = row.start(serve_app, PER_USER="2")
                    entry["footprint"] = asyncio.run(footprint(process, http2=row.http2))
            print(row.name, entry, flush=True)
    save(found, [row.name for row in [*ROWS, *OTHERS]])


@contextlib.contextmanager
def servers():
    """Starts servers, and ends them."""
    processes = Processes()
    try:
        yield processes.serve_app
    finally:
        for process in processes.started:
            process.close()


def environment(directory, version):
    """The Python of an environment with another uvicorn."""
    place = directory / version
    if not place.exists():
        uv = packaged("uv")
        subprocess.run([uv, "venv", "--quiet", place], check=True)
        wanted = [f"uvicorn=={version}", *DEPENDENCIES]
        command = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--system-certs",
            "--python",
            place / "bin/python",
            *wanted,
        ]
        subprocess.run(command, check=True)
    return place / "bin/python"


if __name__ == "__main__":
    main()
