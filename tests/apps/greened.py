"""A program whose threads are greenlets: ``python -m apps.greened CASE URL`` ends with 0 if all is well."""

import sys

from gevent import monkey

monkey.patch_all()

import asyncio  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

from sse_edge import PublishError, RedisBackend, SyncPublisher  # noqa: E402
from sse_edge.errors import EventError  # noqa: E402


class Ticking:
    """A greenlet that wants to run every few milliseconds: the longest that it had to wait."""

    def __init__(self):
        self.longest = 0.0
        self._greenlet = gevent.spawn(self._tick)

    def _tick(self):
        last = time.monotonic()
        while True:
            gevent.sleep(0.002)
            self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()

    def stop(self):
        self._greenlet.kill()
        return self.longest


def all_of(*greenlets):
    """What each of them returned."""
    gevent.joinall(greenlets, timeout=20, raise_error=True)
    return [greenlet.value for greenlet in greenlets]


def many(events):
    """Hundreds of greenlets publish at once, and the first is answered like the last."""
    ids = all_of(*(gevent.spawn(events.publish, "c", str(n)) for n in range(300)))
    assert len(set(ids)) == 300
    assert len(events.publish_many([("c", "x")] * 3)) == 3
    for bad in ("", None):
        try:
            events.publish(bad, "x")
        except EventError:
            continue
        raise AssertionError(bad)
    events.close()
    events.publish("c", "again")


def asyncio_beside(events):
    """Another greenlet's asyncio works before, beside and after it."""

    async def work():
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(0.05)
        return asyncio.get_running_loop().time() - before

    def publish():
        return [events.publish("c", "x") for _ in range(50)]

    for _ in range(3):
        assert asyncio.run(work()) >= 0.05
        took, ids = all_of(gevent.spawn(asyncio.run, work()), gevent.spawn(publish))
        assert took >= 0.05
        assert len(set(ids)) == 50


def others_go_on(events):
    """While one greenlet waits for a Redis that says nothing, the others run."""
    with gevent.socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        ticking = Ticking()
        try:
            SyncPublisher(RedisBackend(url, timeout=1)).publish("c", "x")
        except PublishError as error:
            may_have_happened = error.may_have_happened
    assert not may_have_happened
    assert ticking.stop() < 0.5


def killed(events):
    """A greenlet that is killed while it waits does no harm to the others."""
    events.publish("c", "x")
    for n in range(60):
        victim = gevent.spawn(events.publish, "c", "x")
        gevent.sleep(n / 20_000)
        victim.kill()
        events.publish("c", "x")


def forked(events):
    """After a fork both publish on."""
    events.publish("c", "x")
    child = os.fork()
    events.publish("c", "x")
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    events.publish("c", "x")


if __name__ == "__main__":
    with SyncPublisher(sys.argv[2]) as publisher:
        globals()[sys.argv[1]](publisher)
