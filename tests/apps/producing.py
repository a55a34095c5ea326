"""A producer: ``python -m apps.producing URL CHANNEL FILE PIECES [join|sync]`` writes numbers, 200 a second.

Whatever it gives is in ``FILE`` as well, one piece on a line, and ``finally`` when its iterator is closed.
What came of it is printed.
"""

import asyncio
import sys
import time
from pathlib import Path

from sse_edge import Publisher, PublishError, RedisBackend

EVERY = 0.005


class Diary:
    """What was given, in a file."""

    def __init__(self, path):
        self._path = Path(path)

    def note(self, line):
        with self._path.open("a") as file:
            file.write(f"{line}\n")


async def pieces(count, diary):
    """Numbers, and a blank behind each."""
    try:
        for number in range(count):
            diary.note(number)
            yield f"{number} "
            await asyncio.sleep(EVERY)
    finally:
        await asyncio.sleep(0.05)
        diary.note("finally")


def blocking_pieces(count, diary):
    """The same, of an iterator that blocks."""
    try:
        for number in range(count):
            diary.note(number)
            yield f"{number} "
            time.sleep(EVERY)
    finally:
        diary.note("finally")


async def main(url, channel, path, count, how=""):
    """Write, and say how it ended."""
    made = (blocking_pieces if how == "sync" else pieces)(int(count), Diary(path))
    async with Publisher(RedisBackend(url, timeout=1.0)) as events:
        try:
            written = await events.write(channel, made, join=how == "join")
        except PublishError as error:
            print("refused", error.reason, flush=True)
        else:
            print("ended", *written, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
