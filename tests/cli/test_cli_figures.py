"""The directory that ``sse-edge serve`` has its workers write their figures to."""

import os
import time
from pathlib import Path

import pytest

from sse_edge.cli.serving import figures
from sse_edge.status.slots import VARIABLE, Slots


def _full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """What is /dev/shm otherwise."""
    monkeypatch.setattr(figures, "MEMORY", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def test_the_directory_lasts_as_long_as_its_server(memory):
    """It is made, named to whoever is started, and removed with all that is in it."""
    with figures.shared():
        directory = Path(os.environ[VARIABLE])
        assert directory.parent == memory
        Slots(str(directory), "edge").take().tell({"opened": 1})
    assert list(memory.iterdir()) == []
    assert VARIABLE not in os.environ


def test_a_directory_of_the_operator_s_is_left_alone(memory, monkeypatch):
    """What the environment names already is used, and stays."""
    monkeypatch.setenv(VARIABLE, str(memory / "mine"))
    with figures.shared():
        assert os.environ[VARIABLE] == str(memory / "mine")
    assert os.environ[VARIABLE] == str(memory / "mine")


def test_no_place_for_a_directory(memory, monkeypatch, caplog):
    """Where none can be made the server runs, and each worker tells of itself."""
    monkeypatch.setattr(figures.tempfile, "mkdtemp", _full)
    with figures.shared():
        assert VARIABLE not in os.environ
    assert "each worker's metrics are its own" in caplog.text


def test_what_a_killed_server_left(memory):
    """It is removed by the next one, unless a worker lives on there, or it may just be begun."""
    old, used, new = (memory / f"{figures.PREFIX}{name}" for name in ("old", "used", "new"))
    slots = [Slots(str(path), "edge").take() for path in (old, used, new)]
    slots[0].free()
    slots[2].free()
    for path in (old, used):
        os.utime(path, (time.time() - 100,) * 2)
    with figures.shared():
        assert sorted(each.name for each in memory.glob("*")) == sorted(
            [used.name, new.name, Path(os.environ[VARIABLE]).name]
        )
