"""Clients of a few kinds: those that stay and come back, those that are refused, those that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import random
from collections.abc import Callable, Mapping, Sequence

from ..client.loop import in_asyncio
from ..client.swarm import Swarm
from ..client.target import Target, source
from .app import AUTH, SECRET, TOKENS

ROOMS = ("room:*", "price:*")

AWAY = (OSError, http.client.HTTPException)
"""The worker has gone, or was not there."""


class Places(Target):
    """Each client's own path, on any of these ports of 127.0.0.1."""

    rooms = ROOMS

    def __init__(self, ports: Sequence[int], path: Callable[[int], str]) -> None:
        super().__init__([f"http://localhost:{port}/" for port in ports], SECRET)
        self._choose = path

    def path(self, number: int) -> str:
        """See ``Target``."""
        return self._choose(number)

    def address(self, number: int) -> tuple[str, int]:
        """Any of them, as a proxy would choose."""
        return random.choice(self.addresses)


class Crowd:
    """Clients, each a user of its own, who come back whenever their stream ends; ``path`` is what each hears.

    Made within the event loop that they are in.
    """

    def __init__(self, ports: Sequence[int], path: Callable[[int], str]) -> None:
        self._ports = ports
        self._swarm = Swarm(Places(ports, path), 0, put=in_asyncio)

    def join(self, count: int) -> None:
        """So many more."""
        self._swarm.add(count)

    def cut(self) -> None:
        """Every stream at once, as when a proxy is restarted."""
        self._swarm.drop()

    def leave(self) -> None:
        """All of them.  Raises what has gone wrong with them."""
        self._swarm.close()
        if self._swarm.loop.failure is not None:
            raise self._swarm.loop.failure

    async def doze(self, count: int, path: str, seconds: float) -> None:
        """So many clients open a stream and read nothing of it."""
        target = Places(self._ports, lambda number: path)
        target.receive_buffer = 4096
        swarm = Swarm(target, 1, put=in_asyncio)
        swarm.add(count)
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            swarm.stall(1.0)  # whoever is in by now
            await asyncio.sleep(0.05)
        swarm.close()

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
        fields = {
            "Host": "localhost",
            "Connection": "close",
            "Accept": "text/event-stream",
            "Sec-Fetch-Site": "same-origin",
            "Cookie": f"session={AUTH.issue(f'u{number}', ROOMS)}",
            **({"Content-Type": "application/json"} if body else {}),
            **(headers or {}),
        }
        given = {name: value for name, value in fields.items() if value}

        def answered() -> int:
            connection = http.client.HTTPConnection(
                "127.0.0.1", random.choice(self._ports), timeout=30, source_address=(source(number), 0)
            )
            with contextlib.closing(connection):
                connection.request(method, path, body or None, given)
                with connection.getresponse() as answer:
                    return answer.status

        return await asyncio.to_thread(answered)

    async def publish(self, channel: str, data: str, token: str = "") -> int:
        """A POST to ``publish_path``; its status."""
        body = json.dumps({"channel": channel, "data": data}).encode()
        bearer = f"Bearer {token or TOKENS.issue(['*'])}"
        program = {"Cookie": "", "Sec-Fetch-Site": "", "Authorization": bearer}
        return await self.ask("/publish", method="POST", body=body, headers=program)
