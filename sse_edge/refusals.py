"""What the log says of refusals and failures: of some all, and of the others how many there were."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from typing import NamedTuple

from .logline import About, about, asked_by, sentence, value
from .outcome import Refusal

logger = logging.getLogger("sse_edge")
access_log = logging.getLogger("sse_edge.access")

WINDOW = 10.0
"""Seconds after which those are told that had no line of their own."""

LINES = 10
"""Lines for each code in a window; each costs what many refusals do."""

OF_ONE = 5
"""Of those, for one address: whoever asks without end hides nobody else."""

KNOWN = 1000
"""Addresses told apart in a window."""


class LeftOut(NamedTuple):
    """Refusals without a line of their own: ``most`` of them, of ``addresses`` in all, were ``address``'s."""

    code: str
    number: int
    addresses: int
    address: str
    most: int
    seconds: float

    @property
    def whose(self) -> str:
        """From how many addresses they came, and which of them most."""
        addresses = f"{self.addresses}{' or more' if self.addresses >= KNOWN else ''} addresses"
        from_ = "1 address" if self.addresses == 1 else addresses
        return f"from {from_}, {self.most} of them address={value(self.address)}"

    def about(self, event: str, **fields: object) -> dict[str, About]:
        """The same as fields; of what has no address without whose it was."""
        if self.address:
            fields |= {"addresses": self.addresses, "address": self.address, "most": self.most}
        return about(event, count=self.number, seconds=self.seconds, **fields)


class _Window:
    """The refusals of one code since ``began``."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.lines: Counter[str] = Counter()
        self.left_out = 0
        self.by: Counter[str] = Counter()


class Sample:
    """Chooses which refusals have a line, and counts the others.  ``now`` is any clock's, in seconds."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def takes(self, code: str, address: str, now: float) -> bool:
        """Whether this refusal has a line."""
        window = self._windows.get(code)
        if window is None or (not window.left_out and now >= window.began + WINDOW):
            window = self._windows[code] = _Window(now)
        if window.lines.total() < LINES and window.lines[address] < OF_ONE:
            window.lines[address] += 1
            return True
        window.left_out += 1
        if address in window.by or len(window.by) < KNOWN:
            window.by[address] += 1
        return False

    @property
    def due(self) -> float | None:
        """When ``left_out`` has something to say; None while nothing was left out."""
        return min((each.began + WINDOW for each in self._windows.values() if each.left_out), default=None)

    def left_out(self, now: float, *, early: bool = False) -> list[LeftOut]:
        """What was left out in the windows that are over, or ``early`` in all; told once."""
        over = [
            (code, window)
            for code, window in self._windows.items()
            if window.left_out and (early or now >= window.began + WINDOW)
        ]
        told = []
        for code, window in over:
            del self._windows[code]
            ((address, most),) = window.by.most_common(1)
            told.append(LeftOut(code, window.left_out, len(window.by), address, most, now - window.began))
        return told


class RefusalLog:
    """Writes to the log what ``Sample`` chooses, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sample = Sample()
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, method: str, path: str, refusal: Refusal, address: str) -> None:
        """A request was refused."""
        if not access_log.isEnabledFor(logging.INFO):
            return
        if self._sample.takes(refusal.code, address, self._loop.time()):
            detail = f"{refusal.detail}: {refusal.cause}" if refusal.cause else refusal.detail
            access_log.info(
                '"%s %s" refused: %s (%s), user=%s address=%s',
                value(method),
                value(path),
                refusal.code,
                sentence(detail),
                value(refusal.user),
                value(address),
                extra=about(
                    "refused",
                    method=method,
                    path=path,
                    code=refusal.code,
                    detail=detail,
                    user=refusal.user,
                    address=address,
                ),
            )
        else:
            self._wait()

    def close(self) -> None:
        """Tell what is left to tell."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell_left_out(early=True)

    def _wait(self) -> None:
        if self._timer is None and self._sample.due is not None:
            self._timer = self._loop.call_at(self._sample.due, self._tell_left_out)

    def _tell_left_out(self, *, early: bool = False) -> None:
        self._timer = None
        for left in self._sample.left_out(self._loop.time(), early=early):
            access_log.info(
                "refused: %s, %d more in %.0f s %s",
                left.code,
                left.number,
                left.seconds,
                left.whose,
                extra=left.about("refusals-left-out", code=left.code),
            )
        self._wait()


class Failures(logging.Filter):
    """Lets some failures of each kind into the log: with ``authorize`` every request may fail."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._sample = Sample()

    def begin(self) -> None:
        """Look at what ``sse_edge`` logs from now on, as long as the event loop is there."""
        for each in list(logger.filters):
            if isinstance(each, Failures) and each._loop.is_closed():
                logger.removeFilter(each)
        logger.addFilter(self)

    def end(self) -> None:
        """Look away, and tell what is left to tell."""
        logger.removeFilter(self)
        self._tell(early=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging."""
        if self._loop.is_closed() or not (record.exc_info or getattr(record, "sampled", False)):
            return True
        self._tell()
        kind = _template(record).partition(",")[0].partition(" for ")[0]
        return self._sample.takes(kind, "", self._loop.time())

    def _tell(self, *, early: bool = False) -> None:
        for left in self._sample.left_out(self._loop.time(), early=early):
            extra = left.about("failures-left-out", kind=left.code)
            logger.error("%s, %d more times in %.0f s", left.code, left.number, left.seconds, extra=extra)


class LogSample(logging.Filter):
    """Lets some of uvicorn's lines into the log where any client can cause thousands in a second.

    For the loggers ``uvicorn.error`` and ``uvicorn.access``, one object for both; ``sse-edge serve`` has it.
    Of each kind ten lines in ten seconds pass, five of one address at most, and one says how many more there
    were: refused upgrades, what is no HTTP, failures of the application, answers from 400 on, and those to
    HEAD and OPTIONS.  Everything else passes, such as a line for each page.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sample = Sample()
        self._levels: dict[str, int] = {}
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging."""
        now = time.monotonic()
        self._tell(now, early=record.msg == _LAST)
        kind, address = _kind(record)
        if kind is None or self._sample.takes(kind, address, now):
            return True
        self._levels[kind] = record.levelno
        self._wait(now)
        return False

    def _tell(self, now: float, *, early: bool = False) -> None:
        for left in self._sample.left_out(now, early=early):
            whose = f" {left.whose}" if left.address else ""
            level = self._levels.pop(left.code)
            extra = left.about("lines-left-out", kind=left.code)
            text = "%s, %d more in %.0f s%s"
            _server_log.log(level, text, left.code, left.number, left.seconds, whose, extra=extra)

    def _wait(self, now: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # then the next line brings it
            return
        due = self._sample.due
        if due is not None and (self._timer is None or self._timer[0] is not loop):
            self._timer = loop, loop.call_later(due - now, self._tell_in_time)

    def _tell_in_time(self) -> None:
        self._timer = None
        now = time.monotonic()
        self._tell(now)
        self._wait(now)


_server_log = logging.getLogger("uvicorn.error")  # not uvicorn.access: its formatter takes answers alone
_LAST = "Finished server process [%d]"
_CAUSED = re.compile(r"[\\/](?:uvicorn[\\/]protocols|websockets|wsproto)[\\/]")
_BLANK = re.compile(r"%(?:\([^)]*\))?[-#0 +]*[\d*]*(?:\.[\d*]+)?[a-zA-Z%]")


def _template(record: logging.LogRecord) -> str:
    """What all lines of its kind have in common, with * where they differ."""
    text = str(record.msg)
    if not record.args:
        return text
    return _BLANK.sub(lambda blank: "%" if blank[0] == "%%" else "*", text)


def _kind(record: logging.LogRecord) -> tuple[str | None, str]:
    """What a client did for this line, if it may not be there each time, and the client's address."""
    address = ""
    if isinstance(record.args, tuple) and record.args and isinstance(record.args[0], str):
        client = record.name == "uvicorn.access" or '"WebSocket %s"' in str(record.msg)
        address = asked_by(record.args[0])[1] if client else record.args[0].rpartition(":")[0]
    match record.args:
        case (str(), str(method), str(), str(), int(status)) if record.name == "uvicorn.access":
            said = f"{method} answered" if status < 400 else "answered"
            return (f"{said} {status}" if status >= 400 or method in ("HEAD", "OPTIONS") else None), address
    text = str(record.msg)
    if record.levelno < logging.INFO or "[accepted]" in text or not _CAUSED.search(record.pathname):
        return None, address
    kind = _template(record).strip(".\n ")
    if record.exc_info and record.exc_info[0] is not None:
        kind = f"{kind} ({record.exc_info[0].__name__})"
    return kind, address
