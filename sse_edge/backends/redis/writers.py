"""Who writes to which channel, over all workers, in Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import BackendError
from ...event import EventId
from ..base import Outgoing, check_kept
from ..writers import DOUBT, HOLDS, LIFE, LOST, Begun, Writing
from .call import Argument
from .scripts import BEGIN, EXPIRED, RENEW, STOP, Script

if TYPE_CHECKING:
    from .partition import Partition

ANSWER = 1.0
"""Seconds that a partition has to answer a renewal: the others' writers wait for it."""

LOOK = 1000
"""Writers that are looked at in one call at most, if they have not said that they live."""

SOME = 500
"""Those of them that are taken over."""

LIFE_MS, DOUBT_MS = round(1000 * LIFE), round(1000 * DOUBT)


class RedisWriters:
    """See ``Writers``; each partition has its own, by its own server's clock.

    A writer's own word is what is true, unless another has the channel, or it is finished: so what Redis
    loses of it comes back with the next renewal.
    """

    def __init__(self, partitions: Sequence[Partition], partition: Callable[[str], Partition]) -> None:
        self._partitions = partitions
        self._partition = partition

    async def begin(self, writing: Writing, *, reopen: bool = False) -> Begun:
        """See ``Writers.begin``."""
        partition = self._partition(writing.channel)

        def arguments() -> list[Argument]:
            check_kept([Outgoing(writing.channel, writing.last)], numbered=partition.kept.numbered)
            kept = partition.kept.of(writing.channel)
            return [writing.channel, writing.token, LIFE_MS, kept.ms, int(reopen), writing.last]

        keys = [*self._keys(partition), partition.names.stream(writing.channel)]
        refused, after = await partition.agreed(BEGIN, keys, arguments)
        kept = partition.kept.of(writing.channel).events
        return Begun(refused.decode(), EventId.parse(after.decode()), kept)

    async def renew(self, writings: Sequence[Writing]) -> list[str | None]:
        """See ``Writers.renew``."""
        by_partition: dict[Partition, list[Writing]] = {}
        for writing in writings:
            by_partition.setdefault(self._partition(writing.channel), []).append(writing)
        answers = await asyncio.gather(*(self._renew(*each) for each in by_partition.items()))
        known = {writing: said for answer in answers for writing, said in answer.items()}
        return [known.get(writing) for writing in writings]

    async def _renew(self, partition: Partition, writings: Sequence[Writing]) -> dict[Writing, str]:
        known: dict[Writing, str] = {}
        try:
            async with asyncio.timeout(ANSWER):
                named = [text for writing in writings for text in (writing.channel, writing.token)]
                answer = await self._run(partition, RENEW, LIFE_MS, *named)
                for writing, said in zip(writings, answer, strict=True):
                    if said == b"absent":
                        known[writing] = LOST if (await self.begin(writing)).refused else HOLDS
                    else:
                        known[writing] = said.decode()
        except (BackendError, TimeoutError):
            pass  # of the others nothing is known
        return known

    async def end(self, writing: Writing) -> None:
        """See ``Writers.end``."""
        await self._run(self._partition(writing.channel), RENEW, 0, writing.channel, writing.token)

    async def stop(self, channel: str) -> bool:
        """See ``Writers.stop``."""
        return bool(await self._run(self._partition(channel), STOP, channel))

    async def standing(self, channel: str) -> str:
        """See ``Writers.standing``."""
        return (await self.begin(Writing(channel, "", b""))).refused

    async def expired(self) -> list[Writing]:
        """See ``Writers.expired``."""
        answers = await asyncio.gather(*map(self._expired, self._partitions), return_exceptions=True)
        taken = [writing for answer in answers if isinstance(answer, list) for writing in answer]
        for answer in answers:
            if isinstance(answer, BaseException) and not taken:
                raise answer
        return taken

    async def _expired(self, partition: Partition) -> list[Writing]:
        token = secrets.token_hex(8)
        try:
            async with asyncio.timeout(ANSWER):
                answer = await self._run(partition, EXPIRED, token, LIFE_MS, DOUBT_MS, LOOK, SOME)
        except TimeoutError as error:
            raise BackendError("Redis: no answer in time") from error
        return [
            Writing(channel.decode(errors="replace"), token, last)
            for channel, last in zip(answer[::2], answer[1::2], strict=True)
        ]

    async def _run(self, partition: Partition, script: Script, *arguments: Argument) -> Any:
        return await partition.run(script, self._keys(partition), arguments)

    def _keys(self, partition: Partition) -> list[str]:
        return [partition.names.writers, partition.names.writing, partition.names.dead]
