"""Faults on purpose: a TCP proxy in front of Redis."""

import asyncio
import contextlib
import random


def frame_end(data, at=0):
    """Where the RESP2 value that begins at ``at`` ends, or None while it is incomplete."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return None
    kind, end = data[at : at + 1], line + 2
    if kind in (b"+", b"-", b":"):
        return end
    count = int(data[at + 1 : line])
    if kind == b"$":
        end += count + 2 if count >= 0 else 0
        return end if end <= len(data) else None
    assert kind == b"*", f"not RESP2: {bytes(data[at : at + 40])}"
    for _ in range(max(count, 0)):
        end = frame_end(data, end)
        if end is None:
            return None
    return end


class Proxy:
    """A TCP proxy on a loopback port in front of a Redis, which cuts, stalls and drops as it is told.

    ``await proxy.stalled.wait()`` returns once a stall holds something back, ``proxy.dropped`` counts
    the messages that were dropped.
    """

    def __init__(self, target):
        self.target = target
        self.port = None
        self.dropped = 0
        self.accepted = 0
        self.refused = 0
        self.refusing = False
        self.delay = 0.0
        """Seconds by which a piece comes later, at most: each by chance."""
        self.stalled = asyncio.Event()
        self._server = None
        self._pairs = set()
        self._drops = []
        self._flow = {"requests": asyncio.Event(), "replies": asyncio.Event()}
        self.resume()

    @property
    def url(self):
        """What to give to a RedisBackend."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self):
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self):
        """Stop, and cut what is left."""
        self._server.close()
        self.refusing = True
        self.resume()
        while self._pairs:
            self.cut()
            await asyncio.wait([task for pair in self._pairs for task in pair.tasks], timeout=5)
        await self._server.wait_closed()

    def cut(self, *, pubsub=True, commands=True):
        """Reset open connections: those that subscribe, those that do not, or all of them."""
        for pair in self._pairs:
            if pubsub if pair.pubsub else commands:
                pair.abort()

    def stall(self, *, requests=False, replies=False):
        """Pass nothing on in one direction or both, and keep connections open."""
        self.stalled.clear()
        if requests:
            self._flow["requests"].clear()
        if replies:
            self._flow["replies"].clear()

    def resume(self):
        """End ``stall``; what was held back follows."""
        for flow in self._flow.values():
            flow.set()

    def strand(self):
        """Leave open connections as they are and pass nothing on any more, as when a route is gone."""
        for pair in self._pairs:
            pair.stranded = True

    def drop(self, channel, *, skip=0, count=1, prefix="sse:"):
        """Let ``count`` announcements on ``channel`` vanish, after ``skip`` that do not."""
        name = (prefix + channel).encode()
        head = b"*3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n" % (len(name), name)
        self._drops.append([head, skip, count])

    def keep(self):
        """End ``drop``."""
        self._drops.clear()

    async def _accept(self, reader, writer):
        self.accepted += 1
        if self.refusing:
            self.refused += 1
            writer.transport.abort()
            return
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, other_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as group:
                pair.tasks = [
                    group.create_task(self._pump(pair, "requests", reader, other_writer)),
                    group.create_task(self._pump(pair, "replies", other_reader, writer)),
                ]
        finally:
            pair.abort()
            self._pairs.discard(pair)

    async def _pump(self, pair, direction, reader, writer):
        buffer = bytearray()
        # Either side may be reset at any moment: that is what a proxy under test is for.
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not self._flow[direction].is_set():
                    self.stalled.set()
                    await self._flow[direction].wait()
                if self.delay:
                    await asyncio.sleep(random.uniform(0.0, self.delay))
                if pair.stranded:
                    continue
                if direction == "requests":
                    pair.pubsub = pair.pubsub or b"\r\nSUBSCRIBE\r\n" in data
                    writer.write(data)
                else:
                    buffer += data
                    writer.write(self._passed(buffer))
                await writer.drain()
        pair.abort()

    def _passed(self, buffer):
        """Take whole values out of ``buffer``, and leave out those to be dropped."""
        at = 0
        passed = bytearray()
        while (end := frame_end(buffer, at) if at < len(buffer) else None) is not None:
            if not self._drops or not self._is_dropped(bytes(buffer[at:end])):
                passed += buffer[at:end]
            at = end
        del buffer[:at]
        return bytes(passed)

    def _is_dropped(self, frame):
        for rule in self._drops:
            if frame.startswith(rule[0]):
                if rule[1]:
                    rule[1] -= 1
                    continue
                rule[2] -= 1
                if not rule[2]:
                    self._drops.remove(rule)
                self.dropped += 1
                return True
        return False


class _Pair:
    def __init__(self, *writers):
        self.writers = writers
        self.pubsub = False
        self.stranded = False
        self.tasks = []

    def abort(self):
        for writer in self.writers:
            writer.transport.abort()
