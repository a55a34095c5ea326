"""``sse_edge.testing.recorder``: what an app publishes, in order and with ids."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sse_edge import (
    ConfigError,
    Event,
    MemoryBackend,
    Publisher,
    PublishError,
    RedisBackend,
    SignedCookie,
    SSEMiddleware,
    SyncPublisher,
)
from sse_edge.testing import Published, recorder


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.live)])
async def backend(request):
    """One of each kind."""
    if request.param == "memory":
        yield MemoryBackend()
        return
    backend = RedisBackend(request.getfixturevalue("redis_url"))
    yield backend
    await backend.close()


async def everything(events):
    """Publish in every way that there is; the ids."""
    ids = [await events.publish("a", "text", event="status")]
    ids += await events.publish_many([("b", "1"), ("a", Event(json={"n": 2}, retry=5))])
    ids.append(await events.publish("a", "keyed", dedupe_key="k", except_user="u1"))
    assert await events.publish("a", "keyed", dedupe_key="k", except_user="u1") == ids[-1]
    ids.append(await events.finish("b", "end", event="complete"))
    return ids


async def test_everything_that_is_published_is_recorded(backend):
    """With its id, in order, an event that was repeated by its key once."""
    events = Publisher(backend)
    with recorder() as published:
        ids = await everything(events)
    assert list(published) == [
        Published("a", "text", "status", ids[0]),
        Published("b", "1", "message", ids[1]),
        Published("a", '{"n":2}', "message", ids[2]),
        Published("a", "keyed", "message", ids[3], dedupe_key="k", except_user="u1"),
        Published("b", "end", "complete", ids[4], finishes=True),
    ]
    assert len(published) == 5
    assert published[2].json() == {"n": 2}
    assert [event.data for event in published.on("b")] == ["1", "end"]
    assert [event.data for event in published[-2:]] == ["keyed", "end"]
    assert published[0] in published
    assert "5 published" in repr(published)
    await events.publish("a", "later")
    assert len(published) == 5
    published.clear()
    assert not published


async def test_orders_are_kept_apart(backend):
    """Who was disconnected, whose session was revoked, and which channels go on."""
    events = Publisher(backend)
    with recorder() as published:
        await events.disconnect(user="u1")
        await events.disconnect(channel="order:1")
        await events.disconnect(session="s0")
        await events.revoke("s1")
        await events.reopen("a")
    assert published.disconnected == [{"user": "u1"}, {"channel": "order:1"}, {"session": "s0"}]
    assert (published.revoked, published.reopened, list(published)) == (["s1"], ["a"], [])


async def test_what_a_writer_writes(backend):
    """Its pieces, and its end."""

    async def pieces():
        yield "one "
        yield "two"
        yield Event("named", event="note")

    with recorder() as published:
        await Publisher(backend).write("answer", pieces(), complete="done")
    assert "".join(event.data for event in published if event.event == "token") == "one two"
    assert [(event.event, event.data) for event in published][-2:] == [
        ("note", "named"),
        ("complete", "done"),
    ]
    assert published[-1].finishes


async def test_what_is_refused_is_not_recorded(backend):
    """Only what the backend took."""
    events = Publisher(backend)
    await events.finish("over", "end")
    with recorder() as published:
        with pytest.raises(PublishError):
            await events.publish("over", "more")
        with pytest.raises(PublishError):
            await events.publish_many([("a", "1"), ("over", "2"), ("a", "3")])
    assert all(event.channel == "a" for event in published)
    assert len(published) == len(await events.recent("a", 9))


def test_sync_publishers_in_threads():
    """Whatever thread they are in."""
    with recorder() as published, ThreadPoolExecutor(4) as pool:
        events = SyncPublisher("memory://recorder-threads")
        ids = list(pool.map(lambda n: events.publish("a", str(n)), range(100)))
    assert {event.id for event in published} == set(ids)
    assert [event.id for event in published] == [event.id for event in events.recent("a", 100)]


async def test_targets():
    """A recorder that is told whose events records those alone."""
    app = SSEMiddleware(
        None,
        backend=MemoryBackend(),
        auth=SignedCookie("1b7e5f3c9a2d48e6b0c4f8a1d5e97263"),
        channels={"/events/me": "user:{user}"},
    )
    url = "memory://recorder-targets"
    mine, other = Publisher(url), SyncPublisher(MemoryBackend())
    with (
        recorder(app) as of_app,
        recorder(mine) as of_mine,
        recorder(url, other) as of_both,
        recorder() as of_all,
    ):
        await Publisher(app.backend).publish("a", "app")
        await mine.publish("a", "mine")
        other.publish("a", "other")
    said = [[event.data for event in one] for one in (of_app, of_mine, of_both, of_all)]
    assert said == [["app"], ["mine"], ["mine", "other"], ["app", "mine", "other"]]


async def test_a_backend_of_its_own():
    """For code that is given a publisher: recorded from the beginning, and heard like any other."""
    published = recorder()
    events = Publisher(published.backend)
    id = await events.publish("a", "one")
    assert published.backend is published.backend
    assert list(published) == [Published("a", "one", "message", id)]
    assert [event.data for event in await events.recent("a", 1)] == ["one"]
    SyncPublisher(published.backend).publish("a", "two")
    with published, recorder() as all_of_it:
        await events.publish("a", "three")
    assert [event.data for event in published] == ["one", "two", "three"]
    assert [event.data for event in all_of_it] == ["three"]


async def test_recorders_leave_nothing_behind():
    """However they overlap, the backends' publish is what it was when the last one is over."""

    class Own(MemoryBackend):
        pass

    before = MemoryBackend.publish, RedisBackend.publish
    own = Own()
    first, second = recorder(), recorder(own)
    first.__enter__()
    second.__enter__()
    await Publisher(own).publish("a", "1")
    first.__exit__(None, None, None)
    await Publisher(own).publish("a", "2")
    second.__exit__(None, None, None)
    await Publisher(own).publish("a", "3")
    assert [event.data for event in first] == ["1"]
    assert [event.data for event in second] == ["1", "2"]
    assert (MemoryBackend.publish, RedisBackend.publish) == before
    assert "publish" not in vars(Own)
    assert threading.active_count() >= 1


@pytest.mark.parametrize("target", ["redis://127.0.0.1:6379/0", object(), None, 5])
def test_targets_that_publish_nothing(target):
    """They are refused where they are given."""
    with pytest.raises(ConfigError, match="^recorder: "):
        recorder(target)
