"""The directory in which several workers leave their figures for each other."""

import errno
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from sse_edge import ConfigError
from sse_edge.figures import together
from sse_edge.status.slots import MOST, Slots, is_held

EDGE = "/events /status"


@pytest.fixture
def slots(tmp_path):
    """Those of a directory that is made for them."""
    return Slots(str(tmp_path / "figures"), EDGE)


def opened(slots):
    """Number, whether somebody lives there, and how many streams were opened there, of each slot."""
    return [(told.number, told.lives, told.figures["opened"]) for told in slots.told()]


def test_the_directory_is_its_user_s_alone(slots, tmp_path):
    """It is made where it is not there, and what is in it nobody else may read."""
    slot = slots.take()
    slot.tell({"opened": 1})
    assert stat.S_IMODE((tmp_path / "figures").stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "figures").iterdir()} == {0o600}


def test_a_file_that_is_in_use_is_no_old_one(slots, tmp_path):
    """What tidies up goes by when a file was touched: the lock is, with each word."""
    slot = slots.take()
    (lock,) = (tmp_path / "figures").glob("*.lock")
    os.utime(lock, (1, 1))
    slot.tell({})
    assert lock.stat().st_mtime > time.time() - 60


def test_what_is_given_back_is_not_written(slots):
    """It may be another's by now."""
    slot = slots.take()
    slot.tell({"opened": 1})
    slot.free()
    assert slot.tell({"opened": 2})["opened"] == 2
    assert opened(slots) == [(0, False, 1)]


def test_each_has_the_lowest_that_is_free(slots):
    """Two edges of one process have two, and what is given back is taken again."""
    assert not slots.take().torn
    first, second, third = slots.take(), slots.take(), slots.take()
    assert (first.number, second.number, third.number) == (0, 1, 2)
    second.free()
    assert slots.take().number == 1


def test_no_counter_goes_back(slots):
    """Who takes a slot goes on with what was counted there, and with gauges of its own."""
    slots.take().tell({"opened": 5, "streams": 4})  # and is gone with its object
    assert opened(slots) == [(0, False, 5)]
    slot = slots.take()
    slot.tell({"opened": 2, "streams": 1})
    slot.tell({"opened": 3, "streams": 2})
    (told,) = slots.told()
    assert (told.lives, told.figures["opened"], told.figures["streams"]) == (True, 8, 2)


def test_who_says_that_it_goes_does_not_live(slots):
    """Its gauges are over when it says so, and its counters stay."""
    slot = slots.take()
    slot.tell({"opened": 1}, over=True)
    assert opened(slots) == [(0, False, 1)]


def test_one_that_took_a_slot_and_has_told_nothing_yet(slots):
    """It is not told of before it has written what it is."""
    slot = slots.take()
    assert opened(slots) == []
    slot.tell({})
    assert opened(slots) == [(0, True, 0)]


def test_edges_do_not_mix(slots, tmp_path):
    """Different edges of an application share a directory and nothing else; the same ones are one."""
    other, same = Slots(str(tmp_path / "figures"), "/feed /other"), Slots(str(tmp_path / "figures"), EDGE)
    held = [each.take() for each in (slots, other, same)]
    assert [each.number for each in held] == [0, 0, 1]
    for count, each in enumerate(held, 1):
        each.tell({"opened": count})
    assert opened(slots) == opened(same) == [(0, True, 1), (1, True, 3)]
    assert opened(other) == [(0, True, 2)]


CHILD = """
import sys, time
from sse_edge.status.slots import Slots
slot = Slots(sys.argv[1], sys.argv[2]).take()
slot.tell({"opened": 7, "streams": 3})
print(slot.number, flush=True)
time.sleep(60)
"""


def test_one_that_is_killed(slots, tmp_path):
    """The slot of a process that was killed is free, its gauges are gone and what it last told is not."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "figures"), EDGE], stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"0\n"
        assert opened(slots) == [(0, True, 7)]
        second = slots.take()
        assert second.number == 1
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert opened(slots) == [(0, False, 7)]
        third = slots.take()
        third.tell({"opened": 1})
        assert third.number == 0
        assert opened(slots) == [(0, True, 8)]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


FORKS = CHILD.replace("print(slot.number", "import os; child = os.fork(); child and print(child")


def test_a_child_of_the_worker_does_not_keep_its_slot(slots, tmp_path):
    """What a worker forks may live on: the slot ends with the worker all the same."""
    worker = subprocess.Popen(
        [sys.executable, "-c", FORKS, str(tmp_path / "figures"), EDGE], stdout=subprocess.PIPE
    )
    child = int(worker.stdout.readline())
    try:
        assert opened(slots) == [(0, True, 7)]
        worker.kill()
        worker.wait()
        os.kill(child, 0)  # it is there
        deadline = time.monotonic() + 10
        while opened(slots) != [(0, False, 7)]:  # as soon as it has had its first turn
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(child, signal.SIGKILL)
        worker.kill()
        worker.wait()
        worker.stdout.close()


GOOD = {"opened": 4, "unsent": {"counts": [1, 0, 0, 0, 2], "sum": 9.0}, "endings": {"slow": 2}}


@pytest.mark.parametrize(
    ("text", "count", "torn"),
    [
        (json.dumps({"figures": GOOD}), 4, False),
        (json.dumps({"figures": {**GOOD, "unsent": {"counts": [1], "sum": 1}}}), 4, False),  # other buckets
        (json.dumps({"figures": {**GOOD, "another": 1}}), 4, False),  # of another release
        (json.dumps({"figures": {**GOOD, "endings": {"slow": "many"}}}), 4, False),
        (json.dumps({"figures": {**GOOD, "opened": "4"}}), 0, False),
        ('{"figures": {"opened": NaN}}', 0, False),
        ('{"figures": {"opened": 1e999}}', 0, False),
        (json.dumps({"figures": {"opened": 10**400}}), 0, False),
        ('{"figures": [1]}', 0, False),
        (json.dumps({"figures": GOOD})[:-20], 0, True),
        ("", 0, True),
        ("null", 0, True),
        ("[" * 100_000, 0, True),
        ("\x00\xff", 0, True),
    ],
)
def test_what_is_no_file_of_ours(slots, tmp_path, text, count, torn):
    """Of what is torn or foreign nothing is taken, and of what another release wrote what is the same."""
    slots.take().tell({})
    (file,) = (tmp_path / "figures").glob("*.json")
    file.write_bytes(text.encode("latin-1"))
    assert opened(slots) == [(0, False, count)]
    slot = slots.take()
    assert slot.torn is torn
    slot.tell({"opened": 1})
    assert opened(slots) == [(0, True, count + 1)]


def test_no_file_can_be_opened(slots, monkeypatch):
    """A process that has as many open as it may says so: as nothing at all, counters would go back."""
    slot = slots.take()
    slot.tell({"opened": 1})

    def full(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="Too many open files"):
        opened(slots)
    monkeypatch.undo()
    assert opened(slots) == [(0, True, 1)]


def test_files_of_others_are_left_alone(slots, tmp_path):
    """What has another name is neither read nor touched, and a link is not followed."""
    directory = tmp_path / "figures"
    (directory / "notes.json").write_text("{}")
    slots.take().tell({"opened": 1})
    (file,) = directory.glob("*.0.json")
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert opened(slots) == [(0, False, 0)]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(0o755), "nobody else may enter"),
        (lambda path: path.mkdir(0o710), "nobody else may enter"),
        (lambda path: path.write_text(""), "must be a directory"),
        (lambda path: path.symlink_to(path.parent), "must be a directory"),
    ],
)
def test_a_directory_that_is_none(tmp_path, make, why):
    """What others could read or exchange is refused by name."""
    path = tmp_path / "figures"
    make(path)
    with pytest.raises(ConfigError, match=f"SSE_EDGE_FIGURES: .*{why}"):
        Slots(str(path), EDGE)


def test_a_directory_of_another_user(tmp_path, monkeypatch):
    """It is refused, whatever its mode."""
    (tmp_path / "figures").mkdir(0o700)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(ConfigError, match="nobody else may enter"):
        Slots(str(tmp_path / "figures"), EDGE)


@pytest.mark.parametrize("path", ["figures", "/nowhere/at/all/figures", "/proc/figures"])
def test_a_place_where_none_can_be(path):
    """A relative path, and one that cannot be made, are refused by name."""
    with pytest.raises(ConfigError, match="SSE_EDGE_FIGURES: "):
        Slots(path, EDGE)


def wipe(directory, *patterns):
    """Somebody removes files."""
    for pattern in patterns:
        for file in directory.glob(pattern):
            file.unlink()


def anew(directory):
    """Somebody removes the directory and makes it again."""
    wipe(directory, "*")
    directory.rmdir()
    directory.mkdir(0o700)


@pytest.mark.parametrize(
    "remove",
    [
        lambda directory: wipe(directory, "*.lock"),
        lambda directory: wipe(directory, "*"),
        anew,
        lambda directory: (wipe(directory, "*"), directory.rmdir()),
    ],
    ids=["locks", "files", "made again", "directory"],
)
def test_a_slot_whose_files_were_removed(slots, tmp_path, remove):
    """Whoever had it notices, takes it anew and goes on with all that was counted there."""
    slots.take().tell({"opened": 5})
    held = [slots.take(), slots.take()]
    for slot in held:
        slot.tell({"opened": 2, "streams": 1})
    assert not any(slot.lost for slot in held)
    remove(tmp_path / "figures")
    assert all(slot.lost for slot in held)
    held = [slots.take_anew(slot) for slot in reversed(held)]
    for slot in held:
        slot.tell({"opened": 3, "streams": 1})
    assert [slot.number for slot in held] == [1, 0]
    assert not any(slot.lost for slot in held)
    assert opened(slots) == [(0, True, 8), (1, True, 3)]


@pytest.mark.parametrize("gone", [False, True])
def test_a_slot_that_somebody_else_has_by_now(slots, tmp_path, gone):
    """Each of the two has one of its own then, and nothing is counted twice or lost."""
    first = slots.take()
    first.tell({"opened": 5, "unsent": {"counts": [4, 0, 0, 0, 1], "sum": 9}, "endings": {"slow": 3}})
    anew(tmp_path / "figures") if gone else wipe(tmp_path / "figures", "*.lock")
    second = slots.take()
    second.tell({"opened": 1})
    assert second.number == 0
    slot = slots.take_anew(first)
    slot.tell({"opened": 6, "unsent": {"counts": [4, 0, 0, 0, 2], "sum": 19}, "endings": {"slow": 4}})
    assert slot.number == 1
    assert [(told.number, told.lives) for told in slots.told()] == [(0, True), (1, True)]
    all = together(told.figures for told in slots.told())
    assert (all["opened"], all["endings"]["slow"]) == (7, 4)
    assert all["unsent"] == {"counts": [4, 0, 0, 0, 2], "sum": 19}


def test_files_of_slots_that_nobody_has_are_kept_new(slots, tmp_path):
    """What removes old files leaves what was counted, and nothing else is made newer."""
    directory = tmp_path / "figures"
    slots.take().tell({"opened": 1})
    (directory / "notes.json").write_text("{}")
    for file in directory.iterdir():
        os.utime(file, (0, 0))
    slots.touch()
    assert {file.name for file in directory.iterdir() if file.stat().st_mtime == 0} == {"notes.json"}


def test_no_slot_is_left(slots, monkeypatch):
    """More workers than there are slots for are told so."""
    monkeypatch.setattr("sse_edge.status.slots.MOST", 3)
    held = [slots.take() for _ in range(3)]
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError, match="has room for 3 workers"):
        slots.take()
    assert len(held) == 3 < MOST
    assert len(os.listdir("/proc/self/fd")) == files


def test_looks_do_not_take_slots(slots):
    """Whoever looks whether a slot is held does not make the next worker take another one."""
    stop = multiprocessing.get_context("spawn").Event()
    watcher = multiprocessing.get_context("spawn").Process(target=_watch, args=(slots._path(0, "lock"), stop))
    watcher.start()
    try:
        for _ in range(300):
            slot = slots.take()
            assert slot.number == 0
            slot.free()
    finally:
        stop.set()
        watcher.join()
        watcher.close()


def _watch(lock, stop):
    while not stop.is_set():
        is_held(lock)
