"""One scrape for all workers of a machine: real ones, over a rolling restart, and when they are killed."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from apps.edge import AUTH
from parts.ears import until
from parts.scraped import samples
from servers.processes import descendants, still_there
from servers.sse import StreamClient, StreamEndedError, get
from sse_edge import Publisher
from sse_edge.cli.serving import figures
from sse_edge.status.slots import VARIABLE

COOKIES = {"session": AUTH.issue("u42")}


class Visitors:
    """Clients that come, stay for a moment and leave, and count what they were told."""

    def __init__(self, url):
        self.url = url
        self.opened = self.refused = 0
        self.open = set()
        self.going = True

    async def come(self):
        """One comes; None if it was not let in."""
        try:
            client = await StreamClient.connect(f"{self.url}/events/me", cookies=COOKIES)
        except (OSError, StreamEndedError):  # a worker that stops has closed it unheard
            return None
        self.open.add(client)
        with contextlib.suppress(StreamEndedError):
            async with asyncio.timeout(10):
                while not client.raw and not client.over:
                    await asyncio.sleep(0.005)
        if b"edge-refused" in client.raw:
            self.refused += 1
        elif b": stream open" in client.raw:
            self.opened += 1
            return client
        await self.leave(client)
        return None

    async def leave(self, client):
        self.open.discard(client)
        client.abort()
        await client.aclose()

    async def come_and_go(self):
        while self.going:
            client = await self.come()
            await asyncio.sleep(0.02)
            if client is not None:
                await self.leave(client)


class Scraper:
    """Scrapes again and again, and holds each counter against what it was before."""

    def __init__(self, url):
        self.url = url
        self.last = {False: {}, True: {}}
        self.count = 0
        self.back = []
        self._turn = asyncio.Lock()

    async def scrape(self, by_worker=False):
        async with self._turn:  # of two at once the one that was asked first may be answered last
            return await self._scrape(by_worker)

    async def _scrape(self, by_worker):
        answer = await get(f"{self.url}/status/metrics" + ("?by=worker" if by_worker else ""))
        assert answer.status == 200
        now, before = samples(answer.body.decode()), self.last[by_worker]
        counters = {key for key in before if key[0].endswith(("_total", "_count", "_sum", "_bucket"))}
        self.back += [(key, before[key], now.get(key)) for key in counters if now.get(key, -1) < before[key]]
        self.last[by_worker] = now
        self.count += 1
        return now

    async def go_on(self):
        while True:
            for by_worker in (False, True):
                with contextlib.suppress(OSError, StreamEndedError):  # a worker that stops has closed it
                    await self.scrape(by_worker)
            await asyncio.sleep(0.01)

    def total(self, name, by_worker=False, **labels):
        """The sum of what was told last of all workers."""
        wanted = set(labels.items())
        found = self.last[by_worker]
        return sum(
            value for (each, of), value in found.items() if each == f"sse_edge_{name}" and wanted <= {*of}
        )

    async def until(self, name, value, timeout=15, **labels):
        """Scrape until so many are told, together and by worker."""
        async with asyncio.timeout(timeout):
            while True:
                await self.scrape()
                await self.scrape(by_worker=True)
                if self.total(name, **labels) == self.total(name, by_worker=True, **labels) == value:
                    return
                assert self.total(name, **labels) <= value or not name.endswith("_total")
                await asyncio.sleep(0.05)


def workers(server):
    """The processes that serve."""
    found = set()
    for pid, _ in descendants(server.pid):
        with contextlib.suppress(OSError):  # it has just ended
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


@pytest.mark.heavy
@pytest.mark.timeout(180)
async def test_a_rolling_restart_of_four_workers(serve_app, redis_url):
    """Whoever is asked tells of all four: no counter goes back while each is restarted, streams come and go
    and one is killed, and in the end the sums are what the clients saw."""
    env = {"BACKEND": redis_url, "STATUS": "/status", "TRUSTED": ""}
    server = serve_app("apps.edge:edge", server="sse-edge serve", workers=4, env=env)
    scraper, visitors = Scraper(server.url), Visitors(server.url)
    await scraper.until("workers", 4)
    before = workers(server)
    scraping = asyncio.create_task(scraper.go_on())
    coming = [asyncio.create_task(visitors.come_and_go()) for _ in range(4)]
    server.signal(signal.SIGHUP)
    async with asyncio.timeout(60):
        while len(workers(server) - before) < 4:
            await asyncio.sleep(0.05)
    await scraper.until("workers", 4)
    visitors.going = False
    await asyncio.gather(*coming)
    await scraper.until("streams", 0)
    opened = visitors.opened
    await scraper.until("streams_opened_total", opened)
    await scraper.until("endings_total", opened)
    await scraper.until("refusals_total", visitors.refused)
    await scraper.until("admission_seconds_count", opened, outcome="accepted")
    assert scraper.back == []
    scraping.cancel()
    await asyncio.wait([scraping])
    assert scraping.cancelled()

    stay = [client for client in [await visitors.come() for _ in range(20)] if client is not None]
    async with Publisher(redis_url) as events:
        delivered = scraper.total("events_delivered_total")
        for n in range(10):
            await events.publish("news", str(n))
    for client in stay:
        await client.until(lambda event: event.data == "9")
    await scraper.until("events_delivered_total", delivered + 10 * len(stay))
    await scraper.until("pattern_events_total", 10 * len(stay), pattern="news")
    await scraper.until("streams_opened_total", opened + len(stay))

    os.kill(victim := max(workers(server)), signal.SIGKILL)
    async with asyncio.timeout(30):
        while victim in workers(server):
            await asyncio.sleep(0.05)
    await scraper.until("workers", 4)
    await scraper.until("streams_opened_total", opened + len(stay))
    for client in stay:
        await visitors.leave(client)
    await scraper.until("streams", 0)
    assert scraper.back == []
    assert scraper.count > 50
    # The first new worker begins before the first old one ends.
    assert {dict(of)["worker"] for _, of in scraper.last[True] if of} <= {"0", "1", "2", "3", "4"}
    place = Path(_environment(max(workers(server)))[VARIABLE])
    assert server.terminate(30) == 0
    assert not is_there(place)


def is_there(path):
    """Whether a directory is."""
    return path.is_dir()


def _environment(pid):
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


async def test_a_supervisor_that_is_killed(serve_app, redis_url):
    """Its workers live on and tell of each other; what is left behind the next server removes."""
    env = {"BACKEND": redis_url, "STATUS": "/status"}
    server = serve_app("apps.edge:edge", server="sse-edge serve", workers=2, env=env)
    scraper = Scraper(server.url)
    await scraper.until("workers", 2)
    orphans, began = workers(server), descendants(server.pid)
    place = Path(_environment(max(orphans))[VARIABLE])
    try:
        os.kill(server.pid, signal.SIGKILL)
        while server.alive:
            await asyncio.sleep(0.02)
        await scraper.until("workers", 2)
        os.utime(place, (0, 0))
        figures._sweep(place.parent)
        assert is_there(place)
    finally:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    await until(lambda: not still_there(began))
    os.utime(place, (0, 0))
    figures._sweep(place.parent)
    assert not is_there(place)


async def test_another_server_with_a_directory_of_the_operator_s(serve_app, redis_url, tmp_path):
    """Where the environment names a directory it is the same under gunicorn."""
    env = {"BACKEND": redis_url, "STATUS": "/status", VARIABLE: str(tmp_path / "figures")}
    options = ["-k", "uvicorn_worker.UvicornWorker"]
    server = serve_app("apps.edge:edge", server="gunicorn", workers=2, options=options, env=env)
    scraper, visitors = Scraper(server.url), Visitors(server.url)
    await scraper.until("workers", 2)
    stay = [await visitors.come() for _ in range(5)]
    await scraper.until("streams", 5)
    for client in stay:
        await visitors.leave(client)
    await scraper.until("endings_total", 5)
    assert scraper.back == []
