"""What only memory can be asked: time to the millisecond, and threads that publish meanwhile."""

import threading

import pytest

from parts.ears import Ear, end, out, reopening, said
from sse_edge import MemoryBackend, PublishError, Retention
from sse_edge.event import Place


@pytest.fixture
def clock():
    return [1_000.0]


@pytest.fixture
def backend(clock):
    return MemoryBackend(
        history=5,
        history_ttl=10,
        retention={"short:*": Retention(5, 2), "long:*": Retention(5, 60)},
        clock=lambda: clock[0],
    )


def publish(backend, *events):
    return [Place.parse(place) for place in backend.wait(backend.publish(list(events)))]


@pytest.mark.parametrize(("channel", "seconds"), [("short:a", 2), ("a", 10), ("long:a", 60)])
def test_each_channel_is_forgotten_in_its_own_time(backend, clock, channel, seconds):
    """Until then it is finished, its keys are known and its events given; and not for a moment longer."""
    clock[0] = 2_000.0
    (before,) = publish(backend, out("long:other", "0"))
    ids = publish(backend, out(channel, "1", "one"), end(channel, "2", "two"))
    clock[0] += seconds
    assert backend.store.finished([channel]) == ids[1]
    assert publish(backend, out(channel, "1", "one"), end(channel, "2", "two")) == ids
    with pytest.raises(PublishError):
        publish(backend, out(channel, "3"))
    assert said(backend.store.read([channel], before)) == ["1", "2"]
    assert said(backend.store.read([channel], None, {channel: 9})) == ["1", "2"]
    clock[0] += 0.001
    assert backend.store.finished([channel]) is None
    assert said(backend.store.read([channel], None, {channel: 9})) == []
    assert [reset.reason for reset in backend.store.read([channel], before).resets] == ["expired"]
    assert publish(backend, reopening(channel)) == [Place(backend.store.now(), backend.store.tag)]
    again = publish(backend, out(channel, "1", "one"))
    assert again > ids
    assert said(backend.store.read([channel], None, {channel: 9})) == ["1"]


def test_the_clock_may_step_back(backend, clock):
    """What is kept does not come back by it, and nothing is kept for longer."""
    clock[0] = 2_000.0
    (last,) = publish(backend, end("a", "1"))
    clock[0] = 1_900.0
    assert backend.store.finished(["a"]) == last
    clock[0] = 2_010.001
    assert backend.store.finished(["a"]) is None
    clock[0] = 2_005.0
    assert backend.store.finished(["a"]) is None


def test_a_log_of_many_channels_is_let_go_of(backend, clock):
    """What nobody can be given any more takes no room once the longest time has passed."""
    for n in range(100):
        publish(backend, out(f"short:{n}", "x", "key"), end(f"long:{n}", "x", "key"))
    clock[0] += 60.002
    publish(backend, out("a", "1"))
    assert list(backend.store._logs) == ["a"]
    assert not backend.store._keys


async def test_no_channel_is_finished_before_it_is_heard(backend):
    """Another thread has published the last event, and the loop has not come to it yet."""
    ear = Ear()
    subscriber = backend.subscriber(ear)
    await subscriber.start()
    await subscriber.subscribe(["a", "b"])
    (first,) = publish(backend, end("a", "1"))
    thread = threading.Thread(target=publish, args=(backend, end("b", "2")))
    thread.start()
    thread.join()
    assert ear.data == ["1"]
    assert subscriber.finished(["a"]) == first
    assert subscriber.finished(["a", "b"]) is None
    await ear.wait(2)
    assert subscriber.finished(["a", "b"]) is not None
    await subscriber.close()
