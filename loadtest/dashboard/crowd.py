"""Clients of a few kinds: those that stay and come back, those that are refused, those that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from ..client.addresses import source
from .app import AUTH, TOKENS

PLACE = re.compile(rb"^id: (\S+)", re.MULTILINE)

AWAY = (OSError, asyncio.IncompleteReadError)
"""The worker has gone, or was not there."""


class Crowd:
    """Clients of the workers on these ports of 127.0.0.1, any of them as a proxy would choose."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def join(self, numbers: Sequence[int], path: Callable[[int], str]) -> None:
        """Clients of these numbers, each a user of its own, who come back whenever their stream ends."""
        for number in numbers:
            task = asyncio.ensure_future(self._stay(number, path(number)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def cut(self) -> None:
        """Every stream at once, as when a proxy is restarted."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def ask(
        self,
        path: str,
        number: int = 0,
        *,
        method: str = "GET",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """One request, whatever is answered; its status.  ``headers`` replace a browser's; one that is empty
        is left out.
        """
        async with self._asked(path, number, method=method, body=body, headers=headers) as (head, reader, _):
            if b"event-stream" not in head:
                await reader.read()
            return int(head.split()[1])

    async def publish(self, channel: str, data: str, token: str = "") -> int:
        """A POST to ``publish_path``; its status."""
        body = json.dumps({"channel": channel, "data": data}).encode()
        bearer = f"Bearer {token or TOKENS.issue(['*'])}"
        program = {"Cookie": "", "Sec-Fetch-Site": "", "Authorization": bearer}
        return await self.ask("/publish", method="POST", body=body, headers=program)

    async def doze(self, path: str, number: int, seconds: float) -> None:
        """Open a stream and read nothing of it."""
        with contextlib.suppress(*AWAY):
            async with self._asked(path, number, narrow=True):
                await asyncio.sleep(seconds)

    async def leave(self) -> None:
        """All of them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stay(self, number: int, path: str) -> None:
        place = ""
        while True:
            headers = {"Last-Event-ID": place} if place else {}
            with contextlib.suppress(*AWAY):
                async with self._asked(path, number, headers=headers) as (_, reader, writer):
                    self._writers.add(writer)
                    try:
                        while data := await reader.read(65_536):
                            for each in PLACE.findall(data):
                                place = each.decode()
                    finally:
                        self._writers.discard(writer)
            await asyncio.sleep(random.uniform(0.5, 2.0))

    @contextlib.asynccontextmanager
    async def _asked(
        self,
        path: str,
        number: int,
        *,
        method: str = "GET",
        body: bytes = b"",
        narrow: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]]:
        sock = socket.socket()
        sock.setblocking(False)
        if narrow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind((source(number), 0))
        writer = None
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", random.choice(self._ports)))
            reader, writer = await asyncio.open_connection(sock=sock, limit=4096 if narrow else 65_536)
            writer.write(_request(path, number, method, body, headers or {}))
            yield await reader.readuntil(b"\r\n\r\n"), reader, writer
        finally:
            sock.close() if writer is None else writer.transport.abort()


def _request(path: str, number: int, method: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    fields = {
        "Host": "localhost",
        "Connection": "close",  # after an answer that is no stream, too
        "Accept": "text/event-stream",
        "Sec-Fetch-Site": "same-origin",
        "Cookie": f"session={AUTH.issue(f'u{number}', ['room:*', 'price:*'])}",
        **headers,
    }
    if body:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + body
