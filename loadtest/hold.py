"""Streams on a deployment that runs already, through its proxy and TLS: are they there, and is anything lost?

    SSE_EDGE_SECRET=... python -m loadtest.hold https://localhost/events/me --streams 10000 --cacert root.pem

Every stream is a user of its own, with a cookie signed here.  To an address of this machine (127.0.0.1)
they come from many (127.1.0.0 and on), so that the caps per address stay as they are.  Once all are
open, numbered events are published to a channel that all of them carry; each stream must get every one.
Exits with 1 when a stream was refused or ended, or an event was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import asyncio.sslproto
import contextlib
import ipaddress
import multiprocessing
import os
import resource
import socket
import ssl
import sys
import time
from array import array
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

from sse_edge import Publisher, SignedCookie

from .checker import payload, read_payload

PER_ADDRESS = 80
"""Streams from one address, below the shipped Limits(per_ip=100)."""

AT_ONCE = 50
"""Connections that one process makes at a time."""

FILES = 200
"""Open files besides the streams'."""

TLS_BYTES = 16 * 1024
"""Buffer of one TLS connection."""

LATE = 10.0
"""Seconds after the last event for it to arrive."""

IMPATIENCE = 30.0
"""Seconds that a stream may take to open."""


def source(number: int, address: str) -> str | None:
    """Where the stream of this number comes from; None: wherever the kernel says."""
    if not ipaddress.ip_address(address).is_loopback or ":" in address:
        return None
    return str(ipaddress.IPv4Address("127.1.0.1") + number // PER_ADDRESS)


class Share:
    """The streams of one process."""

    def __init__(self, options: argparse.Namespace, numbers: range, address: str) -> None:
        self.options = options
        self.numbers = numbers
        self.address = address
        self.url = urlsplit(options.url)
        self.cookies = SignedCookie(options.secret, name=options.name)
        self.tls = ssl.create_default_context(cafile=options.cacert) if self.url.scheme == "https" else None
        self.slots = asyncio.Semaphore(AT_ONCE)
        self.seen: Counter[str] = Counter()
        self.delays = array("d")
        self.open = 0

    async def stream(self, number: int) -> None:
        """One stream, to its end."""
        place = source(number, self.address)
        name = self.url.hostname
        writer = None
        try:
            async with self.slots, asyncio.timeout(IMPATIENCE):
                reader, writer = await asyncio.open_connection(
                    self.address,
                    self.url.port or (443 if self.tls else 80),
                    ssl=self.tls,
                    server_hostname=name if self.tls else None,
                    local_addr=(place, 0) if place else None,
                )
                cookie = f"{self.options.name}={self.cookies.issue(f'hold-{number}')}"
                writer.write(
                    f"GET {self.url.path} HTTP/1.1\r\nHost: {self.url.netloc}\r\nCookie: {cookie}\r\n"
                    "Accept: text/event-stream\r\n\r\n".encode()
                )
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if " 200 " not in head.partition("\r\n")[0]:
                    self.seen[f"refused: {head.partition(chr(13))[0]}"] += 1
                    return
                while not (line := await reader.readline()).startswith(b"id:"):
                    # The proxy's own answer while the app is away or a limit is reached has no id.
                    if not line or line.startswith(b"event: edge-refused"):
                        self.seen["refused with a retry: (caps, or the app is away)"] += 1
                        return
            self.open += 1
            try:
                await self.read(reader)
            finally:
                self.open -= 1
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.seen[f"{type(error).__name__}: {error}"] += 1
        finally:
            if writer is not None:
                writer.transport.abort()

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Note the events until the stream ends."""
        async for line in reader:
            if line.startswith(b"data: {") and b'"at"' in line:
                _, _, at = read_payload(line[6:].decode())
                self.delays.append(time.time() - at)
        self.seen["ended"] += 1

    async def run(self, pipe: Connection) -> None:
        """Open all, say so, and answer once when asked what was seen."""
        tasks = [asyncio.create_task(self.stream(number)) for number in self.numbers]
        while self.open + sum(task.done() for task in tasks) < len(tasks):  # noqa: ASYNC110 - thousands
            await asyncio.sleep(0.1)
        await asyncio.gather(*(task for task in tasks if task.done()))
        pipe.send(self.open)
        opened = self.open
        await asyncio.to_thread(pipe.recv)
        deadline = time.monotonic() + LATE
        while len(self.delays) < opened * self.options.events and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        seen, delays = dict(self.seen), self.delays
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        pipe.send((seen, delays))


def share_process(pipe: Connection, options: argparse.Namespace, numbers: range, address: str) -> None:
    """Hold a share of the streams."""
    # asyncio takes 256 KiB for each TLS connection; an event needs one record.
    asyncio.sslproto.SSLProtocol.max_size = TLS_BYTES
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_share(pipe, options, numbers, address))


async def _share(pipe: Connection, options: argparse.Namespace, numbers: range, address: str) -> None:
    await Share(options, numbers, address).run(pipe)


async def publish(options: argparse.Namespace) -> None:
    """The events, spread evenly over the time."""
    pause = options.seconds / (options.events + 1)
    async with Publisher(options.redis) as events:
        for number in range(1, options.events + 1):
            await asyncio.sleep(pause)
            await events.publish(options.channel, payload(options.channel, number, time.time()))
    await asyncio.sleep(pause)


def hold(options: argparse.Namespace) -> bool:
    """Open, publish, and tell; whether all was well."""
    url = urlsplit(options.url)
    address = str(socket.getaddrinfo(url.hostname, url.port or 443, socket.AF_INET)[0][4][0])
    spawn = multiprocessing.get_context("spawn")
    children = []
    began = time.monotonic()
    try:
        for share in range(options.processes):
            here, there = spawn.Pipe()
            numbers = range(share, options.streams, options.processes)
            child = spawn.Process(target=share_process, args=(there, options, numbers, address), daemon=True)
            child.start()
            there.close()
            children.append((child, here))
        opened = sum(pipe.recv() for _, pipe in children)
        print(
            f"open            {opened:,} of {options.streams:,} after {time.monotonic() - began:.0f} s",
            flush=True,
        )
        asyncio.run(publish(options))
        seen, delays = _collect([pipe for _, pipe in children])
    finally:
        for child, _ in children:
            child.terminate()
            child.join()
    print(f"refused, ended  {dict(seen) or 'none'}")
    print(
        f"events          {options.events} published, {len(delays):,} of {opened * options.events:,} arrived"
    )
    if delays:
        p50, p99 = (delays[int(len(delays) * share)] for share in (0.5, 0.99))
        print(
            f"delay           p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, last {delays[-1] * 1e3:.0f} ms"
        )
    return opened == options.streams and not seen and len(delays) == opened * options.events


def _collect(pipes: list[Connection]) -> tuple[Counter[str], list[float]]:
    seen, delays = Counter[str](), []
    for pipe in pipes:
        pipe.send(None)
    for pipe in pipes:
        others, own = pipe.recv()
        seen.update(others)
        delays.extend(own)
    return seen, sorted(delays)


def main(arguments: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.hold", description=__doc__.partition("\n")[0])
    parser.add_argument("url", help="a stream that carries --channel, as https://localhost/events/me")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to hold them")
    parser.add_argument("--events", type=int, default=20, help="published meanwhile, each to all streams")
    parser.add_argument("--channel", default="news")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/0")
    parser.add_argument("--secret", default=os.environ.get("SSE_EDGE_SECRET"), help="or SSE_EDGE_SECRET")
    parser.add_argument("--name", default="session", help="the cookie's name")
    parser.add_argument("--cacert", help="certificate of a private authority")
    parser.add_argument("--processes", type=int, default=2, help="of clients")
    options: Any = parser.parse_args(arguments)
    if not options.secret:
        parser.error("no secret: give --secret, or set SSE_EDGE_SECRET")
    if urlsplit(options.url).scheme not in ("http", "https") or not urlsplit(options.url).hostname:
        parser.error(f"{options.url!r} is no http(s) URL")
    if min(options.streams, options.events, options.processes) < 1:
        parser.error("--streams, --events and --processes must be 1 or more")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    each = -(-options.streams // options.processes) + FILES
    if hard != resource.RLIM_INFINITY and each > hard:
        parser.error(
            f"{each:,} open files for each process, and the hard limit is {hard:,}: more --processes"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 0 if hold(options) else 1


if __name__ == "__main__":
    sys.exit(main())
