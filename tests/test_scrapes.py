"""One scrape for all workers of a machine: in one process, and of real workers over a rolling restart."""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from apps.edge import AUTH
from ears import until
from servers.processes import descendants, still_there
from servers.sse import StreamClient, StreamEndedError, get
from sse_edge import MemoryBackend, Publisher, SSEMiddleware
from sse_edge.cli.serving import figures
from sse_edge.figures import FIGURES
from sse_edge.status.scrapes import EVERY, SHARE
from sse_edge.status.slots import VARIABLE, Slots

CHANNELS = {"/events/me": ["user:{user}", "news"]}
COOKIES = {"session": AUTH.issue("u42")}


def samples(text):
    """Every sample of a scrape: ``(name, labels)`` → value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told(text, name, **labels):
    """One of them."""
    return samples(text)[f"sse_edge_{name}", tuple(sorted(labels.items()))]


def cookie(user="u1"):
    return {"cookie": f"session={AUTH.issue(user)}"}


@pytest.fixture
async def edge():
    """``edge(**settings)`` makes one that is stopped at the end."""
    made = []

    def make(**settings):
        settings = {"backend": MemoryBackend(), "channels": CHANNELS, "status_path": "/status", **settings}
        made.append(SSEMiddleware(auth=AUTH, **settings))
        return made[-1]

    yield make
    for each in made:
        await each.stop()


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Where workers of this process leave their figures."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "figures"))
    return tmp_path / "figures"


@pytest.fixture
def scrape(asgi):
    """``await scrape(edge)``: the text; ``await scrape(edge, by="worker")``."""

    async def ask(edge, by=None, path="/status/metrics"):
        client = asgi(edge, path, query=f"by={by}" if by else "")
        body = await client.whole()
        assert (await client.start())[0] == 200, body
        return body.decode()

    return ask


async def test_every_series_is_there_from_the_start(edge, scrape):
    """A cold worker tells a 0 of each code, reason, outcome and pattern."""
    middleware = edge()
    text = await scrape(middleware)
    for figure in FIGURES:
        suffix = {"counter": "_total", "histogram": "_count"}.get(figure.kind, "")
        for value in figure.values if figure.label else [None]:
            labels = {} if value is None else {figure.label: value}
            expected = 1 if figure.name in ("workers", "ready", "connected") else 0
            assert told(text, figure.metric + suffix, **labels) == expected, figure
    assert told(text, "pattern_streams", pattern="user:{user}") == 0


async def test_one_worker_alone(edge, scrape):
    """Without a directory a worker tells of itself, and is worker 0 where they are told apart."""
    middleware = edge()
    text = await scrape(middleware, by="worker")
    assert told(text, "workers", worker="0") == 1
    assert told(text, "refusals_total", code="origin", worker="0") == 0
    assert 'worker="' not in await scrape(middleware)


@pytest.mark.parametrize("query", ["by=pid", "by=", "by=worker&by=worker"])
async def test_what_nobody_can_be_told_apart_by(edge, asgi, query):
    """Another word than worker is refused rather than ignored."""
    client = asgi(edge(), "/status/metrics", query=query)
    assert b"?by=worker" in await client.whole()
    assert (await client.start())[0] == 400


async def test_edges_of_one_process_are_told_as_one_if_they_are_the_same(edge, asgi, scrape, directory):
    """Two workers of one edge are told together by each of them, and an edge at another place apart."""
    first, second, other = edge(), edge(), edge(status_path="/other")
    for middleware, count in ((first, 1), (second, 2), (other, 4)):
        for _ in range(count):
            await asgi(middleware, "/events/me", headers=cookie()).wait_for(b"\nid: ")
        await scrape(middleware, path=middleware._status._path + "/metrics")
    for middleware in (first, second):
        text = await scrape(middleware)
        assert (told(text, "streams"), told(text, "workers")) == (3, 2)
        text = await scrape(middleware, by="worker")
        assert [told(text, "streams", worker=str(n)) for n in range(2)] == [1, 2]
    assert told(await scrape(other, path="/other/metrics"), "streams") == 4


async def test_an_edge_that_is_stopped_leaves_what_it_counted(edge, asgi, scrape, directory):
    """Its gauges are gone, its counters stay, and it goes on with them when it is started again."""
    first, second = edge(), edge()
    await asgi(first, "/events/me", headers=cookie()).wait_for(b"\nid: ")
    await asgi(first, "/events/me").whole()
    await first.drain(0)
    await first.stop()
    text = await scrape(second)
    assert (told(text, "workers"), told(text, "streams"), told(text, "ready")) == (1, 0, 1)
    assert (told(text, "streams_opened_total"), told(text, "endings_total", reason="drain")) == (1, 1)
    assert told(text, "refusals_total", code="unauthenticated") == 1
    text = await scrape(second, by="worker")
    assert ("sse_edge_streams", (("worker", "0"),)) not in samples(text)
    assert told(text, "streams_opened_total", worker="0") == 1
    await asgi(first, "/events/me", headers=cookie()).wait_for(b"\nid: ")  # which starts it
    text = await scrape(first)
    assert (told(text, "workers"), told(text, "streams"), told(text, "streams_opened_total")) == (2, 1, 2)
    assert told(text, "refusals_total", code="unauthenticated") == 1


async def test_figures_never_go_back_in_a_process(edge, asgi):
    """Also without a directory an edge that is started anew counts on."""
    middleware = edge()
    for count in (1, 2, 3):
        await asgi(middleware, "/events/me", headers=cookie()).wait_for(b"\nid: ")
        assert middleware.figures()["opened"] == count
        await middleware.drain(0)
        await middleware.stop()
    assert (middleware.figures()["opened"], middleware.figures()["streams"]) == (3, 0)


@pytest.mark.parametrize("kind", ["open to others", "relative", "a file"])
async def test_a_directory_that_cannot_be_used(edge, scrape, tmp_path, monkeypatch, caplog, kind):
    """The worker says so, and tells of itself."""
    place = tmp_path / "figures"
    if kind == "open to others":
        place.mkdir(0o755)
    elif kind == "a file":
        place.write_text("")
    monkeypatch.setenv(VARIABLE, "figures" if kind == "relative" else str(place))
    text = await scrape(edge())
    assert told(text, "workers") == 1
    assert "SSE_EDGE_FIGURES: must be" in caplog.text
    assert "this worker's metrics are its own alone" in caplog.text


async def test_a_directory_that_is_full(edge, asgi, scrape, directory, caplog, monkeypatch):
    """A worker that cannot write goes on telling its own figures, says so once, and writes again later."""
    middleware = edge()
    await scrape(middleware)
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", _full)
    await asgi(middleware, "/events/me", headers=cookie()).wait_for(b"\nid: ")
    for _ in range(2):
        assert told(await scrape(middleware), "streams") == 1
    assert caplog.text.count("cannot be written to SSE_EDGE_FIGURES: No space left on device") == 1
    monkeypatch.setattr(Path, "replace", replace)
    await scrape(middleware)
    assert [each.figures["streams"] for each in Slots(str(directory), "/events /status").told()] == [1]


def _full(*_, **__):
    raise OSError(28, "No space left on device")


async def test_a_directory_that_is_gone(edge, scrape, directory):
    """Somebody removed it: the worker tells of itself, and does not end."""
    middleware = edge()
    await scrape(middleware)
    for each in directory.iterdir():
        each.unlink()
    directory.rmdir()
    assert told(await scrape(middleware), "workers") == 1


async def test_no_file_can_be_opened(edge, asgi, scrape, directory, monkeypatch):
    """There is no answer then, rather than one without the others; and one again later."""
    first, second = edge(), edge()
    await scrape(first)
    await asgi(second, "/events/me", headers=cookie()).wait_for(b"\nid: ")
    assert told(await scrape(second), "streams_opened_total") == 1
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", _no_more)
        client = asgi(first, "/status/metrics")
        assert b"Too many open files" in await client.whole()
        assert (await client.start())[0] == 503
    assert told(await scrape(first), "streams_opened_total") == 1


def _no_more(*_, **__):
    raise OSError(24, "Too many open files")


async def test_a_directory_that_is_made_again(edge, asgi, scrape, directory, caplog):
    """Its workers find together again, whether all of it was removed or its locks, and each says so once."""
    first, second = edge(), edge()
    for count, middleware in enumerate((first, second), 1):
        for _ in range(count):
            await asgi(middleware, "/events/me", headers=cookie()).wait_for(b"\nid: ")
    for each in directory.glob("*.lock"):
        each.unlink()
    third = edge()
    await scrape(third)
    for middleware in (first, second, third):
        await scrape(middleware)
    for middleware in (first, second, third):
        text = await scrape(middleware)
        assert (told(text, "workers"), told(text, "streams"), told(text, "streams_opened_total")) == (3, 3, 3)
    shutil.rmtree(directory)
    directory.mkdir(0o700)
    for middleware in (first, second, third):
        await scrape(middleware)
    text = await scrape(first)
    assert (told(text, "workers"), told(text, "streams"), told(text, "streams_opened_total")) == (3, 3, 3)
    assert caplog.text.count("somebody removed files of worker") == 5


async def test_old_files_are_kept(edge, scrape, directory):
    """What a worker that is gone has counted is made newer by those that are there."""
    Slots(str(directory), "/events /status").take().tell({"opened": 5})
    (file,) = directory.glob("*.json")
    other = file.with_name(file.name.replace(".0.", ".7."))
    other.write_bytes(file.read_bytes())
    os.utime(other, (0, 0))
    middleware = edge()
    assert told(await scrape(middleware), "streams_opened_total") == 10
    await until(lambda: other.stat().st_mtime > 0)


async def test_a_file_that_is_torn(edge, scrape, directory, caplog):
    """Whoever takes its slot says that it begins anew, and all else is told."""
    slots = Slots(str(directory), "/events /status")
    slots.take().tell({"opened": 5})
    slot = slots.take()
    slot.tell({"opened": 3})
    (directory / f"{slots._name}.0.json").write_text('{"figures": {"ope')
    slot.free()
    middleware = edge()
    assert told(await scrape(middleware), "workers") == 1
    assert "what worker 0 of SSE_EDGE_FIGURES counted before cannot be read" in caplog.text


async def test_a_thousand_scrapes_at_once(edge, scrape):
    """Many who ask share a few answers, each of which is newer than the question."""
    middleware = edge()
    made = []
    made_by = middleware._status._scrapes._rows

    async def counted(**options):
        made.append(options)
        return await made_by(**options)

    middleware._status._scrapes._rows = counted
    texts = await asyncio.gather(*[scrape(middleware) for _ in range(1000)])
    assert len(set(texts)) <= len(made) <= 20
    await scrape(middleware, by="worker")
    assert made[-1] == {"by_worker": True}


async def test_who_does_not_wait_for_an_answer(edge, scrape):
    """Others do who asked at the same time, and have it."""
    scrapes = edge()._status._scrapes
    one, other = (asyncio.create_task(scrapes.text(by_worker=False)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert b"sse_edge_streams" in await other
    assert one.cancelled()


async def test_scrapes_have_a_share_of_the_time(edge, monkeypatch):
    """However many ask, a worker is busy with one answer at a time, and not for long together."""
    scrapes, made, busy = edge()._status._scrapes, [], []
    loop = asyncio.get_running_loop()

    async def rows(*, by_worker):
        assert not busy
        busy.append(by_worker)
        began = loop.time()
        await asyncio.sleep(0.02)
        made.append((began, loop.time()))
        busy.clear()
        return []

    monkeypatch.setattr(scrapes, "_rows", rows)
    asked = []
    for number in range(8):
        asked.append(asyncio.create_task(scrapes.text(by_worker=number % 2 == 0)))
        await asyncio.sleep(0.01)
    await asyncio.gather(*asked)
    assert 2 <= len(made) < 8
    for (began, ended), (next_began, _) in pairwise(made):
        assert next_began - ended >= 0.9 * min(EVERY, (ended - began) / SHARE)


async def test_figures_are_written_without_being_asked_for(edge, asgi, directory, monkeypatch):
    """Once a second, also after a failure, until the worker stops."""
    monkeypatch.setattr("sse_edge.status.scrapes.EVERY", 0.01)
    middleware = edge()
    await middleware.start()
    slots = Slots(str(directory), "/events /status")

    async def told(streams):
        async with asyncio.timeout(10):
            while [each.figures["streams"] for each in slots.told()] != [streams]:
                await asyncio.sleep(0.01)

    await asgi(middleware, "/events/me", headers=cookie()).wait_for(b"\nid: ")
    await told(1)
    scrapes, figures = middleware._status._scrapes, middleware.figures
    failed = asyncio.Event()

    def fail():
        scrapes._figures = figures
        failed.set()
        raise ValueError

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    scrapes._figures = fail
    await failed.wait()
    await asgi(middleware, "/events/me", headers=cookie()).wait_for(b"\nid: ")
    await told(2)
    timer = scrapes._timer
    await middleware.stop()
    assert timer.cancelled()


async def test_metrics_answer_without_redis(edge, scrape, redis_server):
    """While Redis is away a scrape is answered at once, and says so."""
    middleware = edge(backend="redis://127.0.0.1:1")
    text = await scrape(middleware)
    assert (told(text, "connected"), told(text, "ready")) == (0, 0)
    before = told(text, "position_age_seconds")
    await until(lambda: middleware.figures()["position_age"] > before)


# ---- sse-edge serve


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """What is /dev/shm otherwise."""
    monkeypatch.setattr(figures, "MEMORY", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def test_the_directory_lasts_as_long_as_its_server(memory):
    """It is made, named to whoever is started, and removed with all that is in it."""
    with figures.shared():
        directory = Path(os.environ[VARIABLE])
        assert directory.parent == memory
        Slots(str(directory), "edge").take().tell({"opened": 1})
    assert list(memory.iterdir()) == []
    assert VARIABLE not in os.environ


def test_a_directory_of_the_operator_s_is_left_alone(memory, monkeypatch):
    """What the environment names already is used, and stays."""
    monkeypatch.setenv(VARIABLE, str(memory / "mine"))
    with figures.shared():
        assert os.environ[VARIABLE] == str(memory / "mine")
    assert os.environ[VARIABLE] == str(memory / "mine")


def test_no_place_for_a_directory(memory, monkeypatch, caplog):
    """Where none can be made the server runs, and each worker tells of itself."""
    monkeypatch.setattr(figures.tempfile, "mkdtemp", _full)
    with figures.shared():
        assert VARIABLE not in os.environ
    assert "each worker's metrics are its own" in caplog.text


def test_what_a_killed_server_left(memory):
    """It is removed by the next one, unless a worker lives on there, or it may just be begun."""
    old, used, new = (memory / f"{figures.PREFIX}{name}" for name in ("old", "used", "new"))
    slots = [Slots(str(path), "edge").take() for path in (old, used, new)]
    slots[0].free()
    slots[2].free()
    for path in (old, used):
        os.utime(path, (time.time() - 100,) * 2)
    with figures.shared():
        assert sorted(each.name for each in memory.glob("*")) == sorted(
            [used.name, new.name, Path(os.environ[VARIABLE]).name]
        )


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
