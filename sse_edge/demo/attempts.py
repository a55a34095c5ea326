"""Requests for a stream that are refused, made over HTTP to the demo's own server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ..admission.cookies import SignedCookie
from .people import Person, other_than

TIMEOUT = 5.0
MOST = 65_536


class Attempt(NamedTuple):
    """What is asked for, and the headers it is asked with."""

    path: str
    headers: dict[str, str]


class Attempts:
    """Makes the attempts.  ``max_age`` is how many seconds a cookie is valid."""

    def __init__(self, auth: SignedCookie, max_age: float) -> None:
        self._auth = auth
        self._max_age = max_age
        self._made: dict[str, Callable[[Person], Attempt]] = {
            "no-cookie": lambda person: Attempt(_own(person), {}),
            "tampered": lambda person: Attempt(_own(person), _cookie(_tampered(self._issue(person)))),
            "expired": lambda person: Attempt(_own(person), _cookie(self._issue(person, expired=True))),
            "other-order": lambda person: Attempt(_own(other_than(person)), _cookie(self._issue(person))),
            "foreign-page": lambda person: Attempt(
                _own(person), {"Origin": "https://elsewhere.example", **_cookie(self._issue(person))}
            ),
            "unknown-path": lambda person: Attempt("/events/nowhere", _cookie(self._issue(person))),
        }

    def make(self, name: str, person: Person) -> Attempt | None:
        """The attempt of that name, as ``person`` would make it; None if there is none."""
        made = self._made.get(name)
        return None if made is None else made(person)

    def _issue(self, person: Person, *, expired: bool = False) -> str:
        return self._auth.issue(person.user, now=time.time() - (2 * self._max_age if expired else 0))


async def send(attempt: Attempt, host: str, port: int) -> dict[str, Any]:
    """Make the request; what was asked and what came back.  Raises OSError or TimeoutError."""
    headers = {"Host": f"[{host}]:{port}" if ":" in host else f"{host}:{port}", **attempt.headers}
    lines = [f"GET {attempt.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            # A refusal is one short body; a stream, should it ever be one, is not read.
            body = await reader.read(MOST) if status != 200 else b"{}"
        finally:
            writer.close()
    answer = json.loads(body)
    return {
        "request": [_shortened(line) for line in lines],
        "status": status,
        "code": answer.get("error", "stream"),
        "detail": answer.get("detail", ""),
    }


def _own(person: Person) -> str:
    return f"/events/orders/{person.order}"


def _cookie(value: str) -> dict[str, str]:
    return {"Cookie": f"session={value}"}


def _tampered(value: str) -> str:
    """The value with one character of its content changed, signature and all else as it was."""
    at = 5
    return value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]


def _shortened(line: str) -> str:
    return line if len(line) <= 60 else f"{line[:36]}…{line[-12:]}"
