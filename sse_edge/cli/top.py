"""``sse-edge top``: the workers, their streams and their Redis, in a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from ..backends.redis import RedisBackend
from ..errors import BackendError
from ..redaction import redacted
from ..top.model import Picture, filtered
from ..top.reading import Reader, trouble
from ..top.screen import State, page, press, screen
from ..top.table import SECTIONS, Line
from .failure import Failure, Misuse
from .options import partitions_option, prefix_option, redis_option

if TYPE_CHECKING:
    from ..top.terminal import Terminal

COLUMNS = 100
"""Of a pipe, unless COLUMNS says it."""

SORTS = sorted({each.key for section in SECTIONS for each in section.columns} - {"meaning", "channels"})
STYLES = {"good": "green", "warn": "yellow", "bad": "red"}


@click.command(
    short_help="Watch workers, streams and slow clients.",
    epilog="Keys: q quit, ? help, s sort, / filter, 1-5 and tab sections, p pause.",
)
@redis_option("top", "The application's Redis: workers report there every five seconds.")
@prefix_option()
@partitions_option()
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, show_envvar=True,
    metavar="SECONDS", help="Between looks.",
)  # fmt: skip
@click.option(
    "--sort", type=click.Choice(SORTS), default=None, show_envvar=True, metavar="COLUMN",
    help="To rank by, where there is one: streams, events, refused, waits, unsent, user and so on.",
)  # fmt: skip
@click.option(
    "--filter", "pattern", metavar="TEXT", default="", envvar="SSE_EDGE_TOP_FILTER", show_envvar=True,
    help="Only what has this in user, address, path, channel or worker; * and ? stand for any text.",
)  # fmt: skip
@click.option(
    "--count", type=click.IntRange(1, 1000), default=20, show_default=True, show_envvar=True,
    help="Rows of each section at most.",
)  # fmt: skip
@click.option("--channel", multiple=True, show_envvar=True, help="Also show how many streams it has.")
@click.option("--user", multiple=True, show_envvar=True, help="Also show how many streams the user has.")
@click.option(
    "--json", "as_json", is_flag=True, envvar="SSE_EDGE_TOP_JSON", show_envvar=True,
    help="For programs: an object on a line of its own, again after each interval.",
)  # fmt: skip
@click.option("--once", is_flag=True, show_envvar=True, help="Look once, as into a pipe.")
def top(
    redis: str,
    prefix: str,
    partitions: int,
    interval: float,
    sort: str | None,
    pattern: str,
    count: int,
    channel: tuple[str, ...],
    user: tuple[str, ...],
    as_json: bool,
    once: bool,
) -> None:
    """Show the workers that report to a Redis, what they do, and which of their clients are slow.

    It asks Redis alone, and works from any machine that reaches it.  Rates are known from a worker's second
    report on, which comes after five seconds.

    \b
    sse-edge top --redis redis://10.0.0.5
    sse-edge top --filter 'order:*' --sort waits
    sse-edge top --once --channel order:7 --user u42
    sse-edge top --json | jq .totals
    """
    backend = RedisBackend(redis, prefix=prefix, partitions=partitions)
    reader = Reader(backend, prefix, channels=channel, users=user)
    state = State(sort=sort or "", filter=pattern, count=count)
    where = f"{redacted(redis)}  {prefix}"
    drawn = not once and not as_json and sys.stdout.isatty() and sys.stdin.isatty() and _can_draw()
    look = Look(reader, state, interval, where, prefix)
    try:
        if drawn:
            asyncio.run(_closing(backend, look.live()))
        else:
            asyncio.run(_closing(backend, look.told(as_json=as_json, once=once or not as_json)))
    except BackendError as error:
        raise Failure(f"{redacted(redis)}: {trouble(error, prefix)}") from error
    except BrokenPipeError:
        # Whoever read it has had enough; Python would say so once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _can_draw() -> bool:
    try:
        from ..top.terminal import can_draw  # noqa: PLC0415 - not every Python has curses
    except ImportError as error:
        raise Misuse(f"this Python is built without curses ({error.name}): use --once or --json") from error
    return can_draw()


async def _closing(backend: RedisBackend, work: Awaitable[None]) -> None:
    try:
        await work
    finally:
        await backend.close()


class Look:
    """Looks again and again, and shows what it sees."""

    def __init__(self, reader: Reader, state: State, interval: float, where: str, prefix: str) -> None:
        self._reader = reader
        self._state = state
        self._interval = interval
        self._where = where
        self._prefix = prefix
        self._picture: Picture | None = None
        self._ascii = not (sys.stdout.encoding or "").lower().startswith("utf")
        self._plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self._over = asyncio.Event()

    async def told(self, *, as_json: bool, once: bool) -> None:
        """Write it.  Raises BackendError, but not while it goes on."""
        while True:
            try:
                picture = await self._reader.read()
            except BackendError as error:
                if as_json:
                    click.echo(json.dumps({"at": time.time(), "error": self._trouble(error)}))
                if once:
                    raise
            else:
                click.echo(self._text(picture, as_json=as_json))
            if once:
                return
            await asyncio.sleep(self._interval)

    def _trouble(self, error: BackendError) -> str:
        return redacted(trouble(error, self._prefix))

    def _text(self, picture: Picture, *, as_json: bool) -> str:
        if as_json:
            return json.dumps(filtered(picture, self._state.filter).record())
        columns = shutil.get_terminal_size((COLUMNS, 24)).columns
        lines = page(picture, self._state, columns, self._where, ascii=self._ascii)
        return "\n".join(_text(line) if self._plain else _styled(line) for line in lines)

    async def live(self) -> None:
        """Draw it until somebody has seen enough.  Raises BackendError if Redis says no at once."""
        from ..top.terminal import Terminal  # noqa: PLC0415

        try:
            self._picture = await self._reader.read()
        except BackendError as error:
            if getattr(error, "answered", False):
                raise
            self._state = replace(self._state, away=self._trouble(error))
        loop = asyncio.get_running_loop()
        with Terminal(colour=not self._plain) as terminal:
            reading = loop.create_task(self._read(terminal))
            loop.add_reader(sys.stdin.fileno(), self._press, terminal)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._over.set)
            loop.add_signal_handler(signal.SIGWINCH, self._resize, terminal)
            over = loop.create_task(self._over.wait())
            try:
                self._draw(terminal)
                await asyncio.wait([reading, over], return_when=asyncio.FIRST_COMPLETED)
            finally:
                loop.remove_reader(sys.stdin.fileno())
                over.cancel()
                reading.cancel()
                await asyncio.wait([reading])
        if not reading.cancelled():
            reading.result()

    async def _read(self, terminal: Terminal) -> None:
        while True:
            await asyncio.sleep(self._interval)
            if self._state.paused:
                continue
            try:
                self._picture = await self._reader.read()
                away = ""
            except BackendError as error:
                away = self._trouble(error)
            self._state = replace(self._state, away=away)
            self._draw(terminal)

    def _press(self, terminal: Terminal) -> None:
        keys = terminal.keys()
        if not keys and not os.isatty(sys.stdin.fileno()):  # it was closed
            self._over.set()
        for key in keys:
            state = press(self._state, key)
            if state is None:
                self._over.set()
                return
            self._state = state
        self._draw(terminal)

    def _resize(self, terminal: Terminal) -> None:
        terminal.resize()
        self._draw(terminal)

    def _draw(self, terminal: Terminal) -> None:
        self._state = replace(self._state, now=time.time())
        ascii = self._ascii or terminal.ascii
        terminal.draw(screen(self._picture, self._state, terminal.room, self._where, ascii=ascii))


def _text(line: Line) -> str:
    return "".join(text for text, _ in line).rstrip()


def _styled(line: Line) -> str:
    left = len(_text(line))
    spans = []
    for text, style in line:
        spans.append(_span(text[:left], style))
        left -= min(left, len(text))
    return "".join(spans)


def _span(text: str, style: str) -> str:
    if style == "head":
        return click.style(text, bold=True) if text else ""
    return click.style(text, fg=STYLES[style]) if style in STYLES else text
