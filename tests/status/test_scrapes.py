"""One scrape for all workers of a machine, within one process: what it says, and what can be wrong."""

import asyncio
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from apps.edge import AUTH
from parts.ears import until
from parts.scraped import samples
from sse_edge import MemoryBackend, SSEMiddleware
from sse_edge.figures import FIGURES
from sse_edge.status.scrapes import EVERY, SHARE
from sse_edge.status.slots import VARIABLE, Slots

CHANNELS = {"/events/me": ["user:{user}", "news"]}


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
    await middleware.stop()
    await asyncio.sleep(0.05)  # a timer that was left would have rung, and set another
    assert scrapes._timer is None


async def test_metrics_answer_without_redis(edge, scrape, redis_server):
    """While Redis is away a scrape is answered at once, and says so."""
    middleware = edge(backend="redis://127.0.0.1:1")
    text = await scrape(middleware)
    assert (told(text, "connected"), told(text, "ready")) == (0, 0)
    before = told(text, "position_age_seconds")
    await until(lambda: middleware.figures()["position_age"] > before)
