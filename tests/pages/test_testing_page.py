"""docs/TESTING.md: whatever it shows runs."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

from servers.pages import programs
from sse_edge import testing

PAGE = Path(__file__).parents[2] / "docs" / "TESTING.md"

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings =
    error
    ignore:Using `httpx` with `starlette.testclient` is deprecated
"""


def run(directory, *plugins):
    """pytest there, with these plugins and ours, and no others that happen to be installed."""
    path = os.pathsep.join([str(PAGE.parents[1]), str(directory)])
    env = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = [f"-p{name}" for name in (*plugins, "sse_edge.testing.plugin", "no:cacheprovider")]
    command = [sys.executable, "-X", "dev", "-m", "pytest", "-q", "-ra", *options]
    return subprocess.run(
        command, check=False, cwd=directory, env=env, text=True, capture_output=True, timeout=50
    )


def test_every_block_of_the_page_passes(tmp_path):
    """As one project, with warnings as errors: pytest-asyncio, anyio, unittest, and without async."""
    shown = programs(PAGE)
    for name, code in shown.items():
        (tmp_path / name).write_text(code)
    (tmp_path / "pytest.ini").write_text(INI)
    done = run(tmp_path, "pytest_asyncio.plugin", "anyio")
    tests = sum(name.startswith("test_") for name in shown)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{tests} passed" in done.stdout, done.stdout


WITHOUT = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_async(sse_client, sse_recorder):
    from shop import edge, events
    async with sse_client(edge, user="u1") as c, c.stream("/events/me") as stream:
        await events.publish("user:u1", "hello")
        assert (await stream.next()).id == sse_recorder[0].id

def test_sync(sse_sync_client, sse_recorder):
    from shop import edge, events
    with sse_sync_client(edge, user="u1") as c, c.stream("/events/me") as stream:
        c.wait(events.publish("user:u1", "hello"))
        assert stream.next().data == sse_recorder[0].data

def test_which_app(sse_client):
    with pytest.raises(pytest.fail.Exception, match="have a fixture sse_app"):
        sse_client()
"""


def test_the_plugin_without_pytest_asyncio(tmp_path):
    """Its fixtures are not async, so nothing is needed for them; without an app they say what is missing."""
    (tmp_path / "shop.py").write_text(programs(PAGE)["shop.py"])
    (tmp_path / "test_it.py").write_text(WITHOUT)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    done = run(tmp_path, "anyio")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout, done.stdout


def test_the_plugin_is_what_is_installed():
    """The entry point names the module that has the fixtures."""
    project = tomllib.loads((PAGE.parents[1] / "pyproject.toml").read_text())["project"]
    module = import_module(project["entry-points"]["pytest11"]["sse_edge"])
    assert {"sse_app", "sse_client", "sse_sync_client", "sse_recorder"} <= set(dir(module))


def test_what_the_page_names_is_there():
    """Whatever the package gives is on the page, under its name."""
    text = PAGE.read_text()
    named = [name for name in testing.__all__ if name[0].islower() or name.endswith("Error")]
    assert named
    assert [name for name in named if name not in text] == []
    assert all(getattr(testing, name).__doc__ for name in testing.__all__)
