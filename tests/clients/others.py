"""The rows of clients for other languages: Python's, which the tests try, and those that are recorded."""

import asyncio
import contextlib
import datetime
import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version

import pytest

from .listening import Program
from .scene import HERE

BUILT = HERE / "go" / "built"
"""Where the program of Go's clients is put."""


def _python(name, driver, package=None, *, lines=True):
    """A row whose driver is a Python program, of this environment; ``lines`` where they change a cell."""
    run = (sys.executable, str(HERE / "python" / driver))
    return Program(name, version(package or name), lines=lines, command=run)


PYTHON = {
    "httpx-sse": lambda name, _: _python(name, "with_httpx_sse.py"),
    "requests-sse": lambda name, _: _python(name, "with_requests_sse.py", lines=False),
    "sseclient": lambda name, _: _python(name, "with_sseclient.py", lines=False),
    "sseclient-py": lambda name, _: _python(name, "with_sseclient_py.py"),
    "aiohttp-sse-client": lambda name, _: _python(name, "with_aiohttp_sse_client.py"),
    "launchdarkly-eventsource, Python": lambda name, _: _python(
        name, "with_launchdarkly.py", "launchdarkly-eventsource"
    ),
}


@dataclass(frozen=True)
class Few(Program):
    """A driver that takes long to start, so that only some run at the same time."""

    turn: asyncio.Semaphore | None = None

    @contextlib.asynccontextmanager
    async def listening(self, argument):
        """See ``Program``."""
        async with self.turn, super().listening(argument) as listener:
            yield listener


def _tool(*places):
    """A program of a toolchain; the test fails when it is missing."""
    for place in places:
        if found := shutil.which(place):
            return found
    return pytest.fail(f"{places[0]} is not installed", pytrace=False)


def _run(*command, cwd):
    """Run it, and what it says."""
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=600).stdout


def _recorded(number, *built_with):
    """What the page says of a version that only this run has tried."""
    return f"{number.removeprefix('v')} ({', '.join(built_with)}; {datetime.date.today()})"


@functools.cache
def _go():
    """Build the clients of Go; the compiler's version, and those of the modules."""
    go = _tool("go", "/usr/local/go/bin/go")
    _run(go, "build", "-o", str(BUILT), ".", cwd=HERE / "go")
    modules = _run(go, "list", "-m", "-f", "{{.Path}} {{.Version}}", "all", cwd=HERE / "go")
    pairs = (line.split(" ") for line in modules.splitlines())
    return _run(go, "env", "GOVERSION", cwd=HERE).strip().replace("go", "Go "), dict(pairs)


def _go_client(name, client, module):
    compiler, modules = _go()
    number = re.sub(r"^v0\.0\.0-(\d{8}).*", r"\1", modules[module])  # one that was never released, by its day
    return Program(name, _recorded(number, compiler), lines=True, command=(str(BUILT), client))


GO = {
    "r3labs/sse, Go": lambda name, _: _go_client(name, "r3labs", "github.com/r3labs/sse/v2"),
    "tmaxmax/go-sse, Go": lambda name, _: _go_client(name, "go-sse", "github.com/tmaxmax/go-sse"),
    "launchdarkly/eventsource, Go": lambda name, _: _go_client(
        name, "launchdarkly", "github.com/launchdarkly/eventsource"
    ),
    "donovanhide/eventsource, Go": lambda name, _: _go_client(
        name, "donovanhide", "github.com/donovanhide/eventsource"
    ),
}


@functools.cache
def _java():
    """Build the clients of Java; the version of Java, and those of the packages."""
    maven = _tool("mvn")
    goals = ("compile", "dependency:copy-dependencies", "-DoutputDirectory=target/lib")
    _run(maven, "--quiet", "--batch-mode", *goals, cwd=HERE / "java")
    jars = [file.stem.rpartition("-") for file in (HERE / "java" / "target" / "lib").glob("*.jar")]
    release = _run(_tool("java"), "--version", cwd=HERE).split()[1]
    return f"Java {release}", {package: number for package, _, number in jars}


def _java_client(name, main, package):
    release, packages = _java()
    java = HERE / "java" / "target"
    # What starts quickly, and not what runs fast for long.
    flags = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
    run = (_tool("java"), *flags, "-cp", f"{java}/classes{os.pathsep}{java}/lib/*", main)
    okhttp = f"okhttp {packages['okhttp-jvm']}"
    number = _recorded(packages[package], *dict.fromkeys([release, okhttp]))
    return Few(name, number, lines=True, command=run, turn=asyncio.Semaphore(2))


JAVA = {
    "okhttp-sse, Java": lambda name, _: _java_client(name, "OkHttpSse", "okhttp-sse"),
    "okhttp-eventsource, Java": lambda name, _: _java_client(name, "OkHttpEventSource", "okhttp-eventsource"),
}
