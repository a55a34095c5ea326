"""Drivers, started, and what they say."""

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import dataclass
from itertools import count
from urllib.parse import quote

from servers.processes import guard, kill_group

_numbers = count(1)


class Listener:
    """What one driver has said so far: ``lines``; ``over`` once it has ended, and then ``why``."""

    def __init__(self):
        self.lines = []
        self.over = False
        self.why = ""
        self._changed = asyncio.Event()

    def say(self, line):
        """One more line."""
        self.lines.append(line)
        self._changed.set()

    def end(self, why=""):
        """The driver has ended."""
        self.over, self.why = True, why
        self._changed.set()

    @property
    def events(self):
        """Every event that it was given, those of the edge's own too."""
        return [line for line in self.lines if "event" in line]

    @property
    def messages(self):
        """Those that an application means: none of the edge's own."""
        return [event for event in self.events if not event["event"].startswith("edge-")]

    @property
    def raised(self):
        """Whether the client has raised."""
        return any("raised" in line for line in self.lines)

    @property
    def closed(self):
        """Whether it has said that it is over, or is."""
        return self.over or any("closed" in line for line in self.lines)

    async def until(self, condition, timeout):
        """Wait for something; whether it has come to be.  At the end of the driver too there is no more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not condition() and not self.over:
                    self._changed.clear()
                    with contextlib.suppress(TimeoutError):  # a condition may be about others too
                        await asyncio.wait_for(self._changed.wait(), 0.05)
        return condition()


@dataclass(frozen=True)
class Client:
    """One row: its name, its version, and whether its driver has lines that the page shows.

    ``listening(argument)`` is an async context manager that starts the driver, and gives a Listener.
    ``skips`` are columns that are not for it, and what they say instead.
    """

    name: str
    version: str
    lines: bool = False
    skips: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Program(Client):
    """A driver that is a program of its own."""

    command: tuple[str, ...] = ()
    cwd: str | None = None
    env: tuple[tuple[str, str], ...] = ()

    @contextlib.asynccontextmanager
    async def listening(self, argument):
        """Start it, and kill it afterwards."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self.command,
            json.dumps(argument),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            cwd=self.cwd,
            env={**os.environ, **dict(self.env)},
            start_new_session=True,
            limit=1 << 24,
        )
        guard.watch(process.pid)
        listener = Listener()
        reading = asyncio.create_task(_read(process, listener))
        try:
            yield listener
        finally:
            kill_group(process.pid)
            await process.wait()
            await reading
            guard.forget(process.pid)
        assert process.returncode in (0, -signal.SIGKILL), listener.why


async def _read(process, listener):
    errors = asyncio.create_task(process.stderr.read())
    async for line in process.stdout:
        if line.endswith(b"\n"):  # it may have been killed in the middle of one
            listener.say(json.loads(line))
    await process.wait()
    listener.end((await errors).decode(errors="replace"))


@dataclass(frozen=True)
class InPage(Client):
    """A driver that is a module of a page, in Chromium: ``browser`` is a Frames."""

    driver: str = ""
    browser: object = None

    @contextlib.asynccontextmanager
    async def listening(self, argument):
        """Open its page in a frame, from where it listens, and close it afterwards."""
        origin = "/".join(argument["url"].split("/")[:3])
        url = f"{origin}/page/{self.driver}#{quote(json.dumps(argument))}"
        listener, name = Listener(), f"frame-{next(_numbers)}"
        await self.browser.open(name, url, listener)
        try:
            yield listener
        finally:
            await self.browser.close(name)


class Frames:
    """Frames of one page, each of which tells what it hears; ``async with Frames(driver)``, selenium's."""

    _OPEN = """
    const [name, url] = arguments
    if (!window.said) {
        window.said = []
        addEventListener("message", ({data}) => said.push(data))
    }
    const frame = document.createElement("iframe")
    frame.name = frame.id = name
    frame.style = "width: 60px; height: 40px"
    frame.src = url
    document.body.append(frame)
    """

    def __init__(self, page):
        self._page = page
        self._listeners = {}
        self._turn = asyncio.Lock()
        self._writers = []
        self._over = False

    async def __aenter__(self):
        # A page from nowhere may not have frames of this machine.
        self._server = await asyncio.start_server(self._blank, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        await asyncio.to_thread(self._page.get, f"http://127.0.0.1:{port}/")
        self._asking = asyncio.create_task(self._ask())
        return self

    async def __aexit__(self, *exc):
        self._over = True
        await self._asking  # a thread that asks the browser cannot be cancelled
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def open(self, name, url, listener):
        """One more frame."""
        self._listeners[name] = listener
        await self._run(self._OPEN, name, url)

    async def close(self, name):
        """One less."""
        await self._run("document.getElementById(arguments[0]).remove()", name)
        del self._listeners[name]

    async def _ask(self):
        while not self._over:
            for name, line in await self._run("return window.said ? said.splice(0) : []"):
                if name in self._listeners:
                    self._listeners[name].say(line)
            await asyncio.sleep(0.03)

    async def _run(self, script, *arguments):
        async with self._turn:
            return await asyncio.to_thread(self._page.execute_script, script, *arguments)

    async def _blank(self, reader, writer):
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError):  # browsers also connect to ask nothing yet
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
                b"<!doctype html><body>"
            )
        writer.close()
