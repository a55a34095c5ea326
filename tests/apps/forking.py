"""A program that forks: ``python -m apps.forking CASE URL`` exits with 0 if all went well.

Children end as a server's workers do: through the interpreter's own end, garbage collection included.
"""

import asyncio
import gc
import os
import sys
import threading
import time
import traceback
import warnings

import redis

from sse_edge import Publisher, RedisBackend, SyncPublisher

warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)


def fork(work):
    """Run ``work`` in a child; its process id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        gc.collect()
    except BaseException:  # noqa: BLE001 - said, and the child ends
        traceback.print_exc()
        sys.exit(1)
    sys.exit(0)


def wait(*children):
    """Until all have ended well."""
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


class LoopThread:
    """An event loop in a thread, as an application's own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)


def used(url):
    """Both kinds of publisher, used before and after by parent and children."""
    sync, events, loop = SyncPublisher(url), Publisher(url), LoopThread()

    def publish():
        sync.publish("c", "x")
        asyncio.run(publish_async())

    async def publish_async():
        async with events:
            await events.publish("c", "x")

    for _ in range(3):
        sync.publish("c", "x")
        loop.run(events.publish("c", "x"))
        wait(fork(publish), fork(publish), fork(lambda: None))
        sync.publish("c", "x")
        loop.run(events.publish("c", "x"))
    expect(url, "c", 3 * (2 + 4 + 2))


def listening(url):
    """A worker that listens goes on listening, with the connection that it had."""
    backend, loop, heard = RedisBackend(url), LoopThread(), []

    class Ear:
        def deliver(self, channel, id, frame, except_user=None):
            heard.append(frame)

        def flush(self):
            pass

    subscriber = backend.subscriber(Ear())
    loop.run(subscriber.start())
    loop.run(subscriber.subscribe(["c"]))
    for n in range(3):
        wait(fork(lambda: SyncPublisher(backend).publish("c", "x")))
        loop.run(Publisher(backend).publish("c", "x"))
        until(lambda n=n: len(heard) == 2 * (n + 1))
    assert subscriber.generation == 1
    loop.run(subscriber.close())


def preloaded(url):
    """Made before the fork, used only after it."""
    sync = SyncPublisher(url)
    wait(*(fork(lambda: sync.publish("c", "x")) for _ in range(4)))
    sync.publish("c", "x")
    expect(url, "c", 5)


def counting(url):
    """Slots that the backend of a parent counts, taken by its children one after another and by itself."""
    leases = RedisBackend(url).leases()
    (told, tell), (wait_for, go) = os.pipe(), os.pipe()

    async def take(then=lambda: None):
        await leases.start()
        answers = [await leases.acquire([("user:u", 6)]) for _ in range(4)]
        os.write(tell, bytes([answers.count(None)]))
        then()  # the slots are held meanwhile
        await leases.close()

    children = []
    granted = []
    for _ in range(2):
        children.append(fork(lambda: asyncio.run(take(lambda: os.read(wait_for, 1)))))
        granted += os.read(told, 1)
    asyncio.run(take())
    granted += os.read(told, 1)
    assert granted == [4, 2, 0], granted
    os.write(go, b"xx")
    wait(*children)
    asyncio.run(take())
    assert os.read(told, 1) == b"\4"


def busy(url):
    """Forks while other threads are publishing."""
    sync, stop, ids = SyncPublisher(url), threading.Event(), []

    def publish():
        while not stop.is_set():
            ids.append(sync.publish("c", "x"))

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = 0
    for n in range(10):
        until(lambda n=n: len(ids) > 20 * n)
        wait(fork(lambda: sync.publish("c", "x")), fork(lambda: [sync.publish("c", "x") for _ in range(9)]))
        children += 10
    stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(set(ids)) == len(ids)
    expect(url, "c", len(ids) + children)


def locked(url):
    """Forks while another thread is just about to begin the background thread."""
    backend = RedisBackend(url)
    with backend._background._lock:
        child = fork(lambda: SyncPublisher(backend).publish("c", "x"))
    wait(child)


def closed(url):
    """What the parent closes is closed, also while a child lives on."""
    sync, events, loop = SyncPublisher(url), Publisher(url), LoopThread()
    sync.publish("c", "x")
    loop.run(events.publish("c", "x"))
    read, write = os.pipe()
    child = fork(lambda: (os.close(write), os.read(read, 1)))
    with redis.Redis.from_url(url) as admin:
        until(lambda: len(admin.client_list()) == 3)
        sync.close()
        loop.run(events.aclose())
        until(lambda: len(admin.client_list()) == 1)
    os.close(write)
    wait(child)


def writing(url):
    """A parent goes on writing; a child writes with what it inherited, and stops its parent."""
    sync, events, loop = SyncPublisher(url), Publisher(url), LoopThread()

    async def endless():
        while True:
            yield "x"
            await asyncio.sleep(0.005)

    parent = asyncio.run_coroutine_threadsafe(events.write("parent", endless()), loop.loop)
    until(lambda: sync.recent("parent", 1))

    async def write():
        async with events:
            return await events.write("child", iter("xyz"))

    def child():
        assert asyncio.run(write()).reason == "complete"
        assert sync.stop("parent")

    for _ in range(2):
        wait(fork(lambda: None))
    assert not parent.done()
    wait(fork(child))
    assert parent.result(10).reason == "stopped"
    assert [event.data for event in sync.recent("child", 9)] == ["xyz", "complete"]


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def expect(url, channel, count):
    """So many events were numbered."""
    with redis.Redis.from_url(url) as admin:
        (stream,) = admin.keys(f"*history*{channel}")
        assert admin.xinfo_stream(stream)["entries-added"] == count


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
