"""One run of a script: what is sent, and whether Redis may have executed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError

from .failure import CommandError
from .scripts import Script

PACE = 0.005
"""Seconds at least between the beginnings of calls in which requests travel together.  A call costs the
worker far more than one request more in it: who comes alone does not wait, hundreds per second share."""

Argument = str | bytes | int


class Call:
    """One run of a script; ``sent`` is whether Redis may have executed it, and ``why`` what has kept it from
    being sent so far, where that is known.
    """

    def __init__(self, script: Script, keys: Sequence[str] = (), arguments: Sequence[Argument] = ()) -> None:
        self.script = script
        self.keys = keys
        self.arguments = arguments
        self.sent = False
        self.why: Exception | None = None

    def prepare(self) -> None:
        """Called when there is a connection, just before it is sent, and sent again."""

    def late(self) -> CommandError:
        """That its time is over."""
        cause = TimeoutError() if self.sent or self.why is None else self.why
        error = CommandError(cause, sent=self.sent)
        error.__cause__ = cause
        return error


async def evaluate(connection: Any, call: Call, *, asking: bool) -> Any:
    """The script's answer; the script itself is sent where Redis does not know it by its hash.

    ``asking``: a node of a Cluster is to answer though the slot is still on its way to it.
    """
    keys = call.keys
    for command, name in (("EVALSHA", call.script.hash), ("EVAL", call.script.text)):
        if asking:
            await connection.send_command("ASKING")
            await connection.read_response()
        await connection.send_packed_command(_packed(command, name, len(keys), *keys, *call.arguments))
        try:
            return await connection.read_response()
        except NoScriptError:
            if command == "EVAL":
                raise
    raise AssertionError("unreachable")


def _packed(*parts: Argument) -> bytes:
    """A command as it is sent; redis-py packs one of hundreds of parts by copying it hundreds of times."""
    pieces = [b"*%d\r\n" % len(parts)]
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(pieces)
