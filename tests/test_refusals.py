"""Which refusals have a line in the log, and how the others are told."""

import asyncio
import logging

import pytest

from sse_edge.outcome import BACKEND_DOWN, CONNECT_RATE, NOT_FOUND, ORIGIN
from sse_edge.refusals import KNOWN, LINES, OF_ONE, WINDOW, Failures, LeftOut, RefusalLog, Sample, logger


@pytest.fixture
def sample():
    return Sample()


def refuse(sample, *asked, code="origin"):
    """How many of ``(seconds, address)`` have a line."""
    return sum(sample.takes(code, address, now) for now, address in asked)


def test_the_first_have_a_line(sample):
    """So many of each code, and no more of one address than leaves room for others."""
    assert refuse(sample, *[(0.0, "a")] * 100) == OF_ONE
    assert refuse(sample, *[(0.0, f"b{n}") for n in range(100)]) == LINES - OF_ONE
    assert refuse(sample, (0.0, "a"), code="not-found") == 1


def test_the_others_are_told_once(sample):
    """How many they were, from how many addresses, and whose most of them were."""
    refuse(sample, *[(0.0, "a")] * (OF_ONE + 3), *[(1.0, "b")] * (OF_ONE + 1))
    assert sample.due == WINDOW
    assert sample.left_out(WINDOW - 0.1) == []
    assert sample.left_out(WINDOW) == [LeftOut("origin", 4, 2, "a", 3, WINDOW)]
    assert sample.left_out(WINDOW) == []
    assert sample.due is None


def test_after_that_it_begins_anew(sample):
    """The next refusals have lines again, whether something was left out or not."""
    assert refuse(sample, *[(0.0, "a")] * 9, *[(WINDOW, "a")] * 9) == OF_ONE  # not told yet
    sample.left_out(WINDOW)
    assert refuse(sample, *[(WINDOW, "a")] * 9) == OF_ONE
    assert refuse(sample, *[(0.0, "a")] * 4, *[(WINDOW, "a")] * 4, code="method") == 8


def test_early(sample):
    """At the end what is left is told at once."""
    refuse(sample, *[(0.0, "a")] * (OF_ONE + 1))
    assert sample.left_out(2.0, early=True) == [LeftOut("origin", 1, 1, "a", 1, 2.0)]


def test_memory(sample):
    """However many addresses ask, no more than so many are told apart, and all are counted."""
    refuse(sample, *[(0.0, f"a{n}") for n in range(10 * KNOWN)])
    (left,) = sample.left_out(WINDOW)
    assert (left.number, left.addresses) == (10 * KNOWN - LINES, KNOWN)


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "sse_edge.access")
    return lambda: [record.getMessage() for record in caplog.records]


async def test_lines(lines):
    """Who was refused, from where, for what and why, in the form of a stream's last line."""
    log = RefusalLog(asyncio.get_running_loop())
    log.tell("GET", "/events/me", ORIGIN.because("origin 'https://x user=a' is none"), "192.0.2.1")
    log.tell("GET", '/events/x" user=admin', NOT_FOUND.of("a address=1.2.3.4"), "192.0.2.1")
    log.tell("GET", "/events/me", BACKEND_DOWN.of("u42", "Redis: no answer in time"), "unix")
    log.close()
    assert lines() == [
        "\"GET /events/me\" refused: origin (origin 'https://x user%3Da' is none), user=- address=192.0.2.1",
        '"GET /events/x%22%20user%3Dadmin" refused: not-found (there is no stream at this path), '
        "user=a%20address%3D1.2.3.4 address=192.0.2.1",
        '"GET /events/me" refused: backend-down (the event source cannot be reached at the moment: '
        "Redis: no answer in time), user=u42 address=unix",
    ]


async def test_left_out_lines(lines, monkeypatch):
    """A flood is some lines, and one that says how many there were, by itself and at the end."""
    monkeypatch.setattr("sse_edge.refusals.WINDOW", 0.05)
    log = RefusalLog(asyncio.get_running_loop())
    for _ in range(OF_ONE + 20):
        log.tell("GET", "/events/me", CONNECT_RATE, "192.0.2.1")
    async with asyncio.timeout(5):
        while len(lines()) == OF_ONE:
            await asyncio.sleep(0.01)
    assert lines()[OF_ONE:] == [
        "refused: connect-rate, 20 more in 0 s from 1 address, 20 of them address=192.0.2.1"
    ]
    for number in range(KNOWN + LINES):
        log.tell("GET", "/events/me", CONNECT_RATE, f"a{number}")
    log.close()
    told = f"{KNOWN} more in 0 s from {KNOWN} or more addresses, 1 of them address=a{LINES}"
    assert lines()[-1] == f"refused: connect-rate, {told}"
    assert len(lines()) == OF_ONE + 1 + LINES + 1


async def test_nobody_reads_it(caplog):
    """Where the level is above INFO nothing is counted either."""
    caplog.set_level(logging.WARNING, "sse_edge.access")
    log = RefusalLog(asyncio.get_running_loop())
    for _ in range(100):
        log.tell("GET", "/events/me", CONNECT_RATE, "192.0.2.1")
    assert log._sample.due is None


class Loop:
    """A clock that the test sets."""

    now = 0.0
    closed = False

    def time(self):
        return self.now

    def is_closed(self):
        return self.closed


def test_failures(caplog):
    """Of each kind of failure some tracebacks are in the log, and then how many more there were."""
    loop = Loop()
    failures = Failures(loop)

    def fail(times, message="authorize failed, user=%s", *args):
        for number in range(times):
            try:
                raise OSError("away")
            except OSError:
                logger.exception(message, *(args or (number,)))

    failures.begin()
    try:
        fail(OF_ONE + 20)
        fail(1, "auth failed to identify a request for %s", "/events/me")
        logger.warning("something else")
        loop.now = WINDOW
        fail(OF_ONE + 1)
    finally:
        failures.end()
    fail(OF_ONE + 1)
    said = [record.getMessage() for record in caplog.records]
    assert said[OF_ONE : OF_ONE + 4] == [
        "auth failed to identify a request for /events/me",
        "something else",
        f"authorize failed, 20 more times in {WINDOW:.0f} s",
        "authorize failed, user=0",
    ]
    assert said[2 * OF_ONE + 3] == "authorize failed, 1 more times in 0 s"
    assert len(said) == OF_ONE + 3 + OF_ONE + 1 + OF_ONE + 1


def test_failures_of_a_loop_that_is_gone(caplog):
    """A worker that was never stopped leaves nothing behind that would hide another one's failures."""
    loop = Loop()
    left, other = Failures(loop), Failures(Loop())
    left.begin()
    loop.closed = True
    for _ in range(2 * OF_ONE):
        logger.error("it failed", exc_info=OSError("away"))
    assert len(caplog.records) == 2 * OF_ONE
    other.begin()
    assert left not in logger.filters
    other.end()
