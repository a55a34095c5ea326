"""Publishers that go on, workers, and clients that come back, to see through faults.

Everything that is published and heard is written down in a ``loadtest.checker.Checker``.
"""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter

from loadtest.checker import Checker, payload, read_payload
from parts.faulty import Proxy
from servers.sse import Decoder, StreamClient, StreamEndedError
from sse_edge import Anonymous, Limits, Publisher, RedisBackend, SSEMiddleware
from sse_edge.errors import PublishError

UNLIMITED = Limits(per_user=None, per_ip=None, per_worker=None, connects_per_ip=None)


# Publishers


class Traffic:
    """One publisher: numbered events on ``channels``, in random order, until it is told to stop.

    A publish that fails is tried again with the same dedupe key until it succeeds.  ``errors`` are
    the PublishErrors on the way, ``published`` the ids in the order of publishing.
    """

    def __init__(self, checker, backend, channels, *, seed=1, pause=0.001, dedupe=True):
        self.checker = checker
        self.channels = list(channels)
        self.errors = []
        self.published = []
        self.pause = pause
        self.lock = asyncio.Lock()
        self._dedupe = dedupe
        self._publisher = Publisher(backend)
        self._random = random.Random(seed)
        self._changed = asyncio.Event()
        self._task = None

    @property
    def count(self):
        """How many events are out."""
        return len(self.published)

    def start(self):
        """Begin to publish."""
        self._task = asyncio.create_task(self._run())
        return self

    async def publish(self, channel):
        """Publish the next event of ``channel``, however often it takes."""
        at = time.monotonic()
        n = self.checker.numbering(channel).next(at)
        data = payload(channel, n, at)
        while True:
            try:
                async with self.lock:
                    id = await self._publisher.publish(
                        channel, data, dedupe_key=f"{channel}:{n}" if self._dedupe else None
                    )
            except PublishError as error:
                self.errors.append(error)
                self._changed.set()
                await asyncio.sleep(0.02)
            else:
                self.published.append((channel, n, id))
                self._changed.set()
                return id

    async def publish_some(self, count):
        """Publish ``count`` events on random channels, one after the other."""
        for _ in range(count):
            await self.publish(self._random.choice(self.channels))

    async def reach(self, more, timeout=20):
        """Wait until ``more`` events than now are out."""
        await self.until(lambda goal=self.count + more: self.count >= goal, timeout)

    async def until(self, condition, timeout=20):
        """Wait for something that publishing changes."""
        async with asyncio.timeout(timeout):
            while not condition():
                if self._task is not None and self._task.done():
                    self._task.result()
                self._changed.clear()
                await self._changed.wait()

    async def stop(self, timeout=20):
        """Publish no more; what is under way is finished."""
        task, self._task = self._task, None
        if task is not None:
            self._stopping = True
            async with asyncio.timeout(timeout):
                await task

    async def close(self):
        """Stop at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._publisher.aclose()

    async def _run(self):
        self._stopping = False
        while not self._stopping:
            await self.publish_some(1)
            await asyncio.sleep(self.pause)


# Workers and their clients


class Worker:
    """An SSEMiddleware in this process; ``/events/a,b`` is a stream on the channels a and b."""

    def __init__(self, backend, **settings):
        settings = {
            "keep_alive": 0.2,
            "limits": UNLIMITED,
            "refusals": "status",
            "max_duration": None,
            **settings,
        }
        self.edge = SSEMiddleware(
            backend=backend,
            auth=Anonymous(),
            channels={"/events/{names}": _channels},
            authorize=_yes,
            **settings,
        )
        self.subscriber = None
        """The worker's ear, once it has started."""
        self._backend = backend

    async def start(self):
        """Begin to listen to the backend, without waiting for it."""
        make = self._backend.subscriber

        def note(receiver):
            self.subscriber = make(receiver)
            return self.subscriber

        self._backend.subscriber = note
        try:
            await self.edge.start()
        finally:
            del self._backend.subscriber
        return self

    async def close(self):
        """End all streams."""
        await self.edge.stop()

    async def carry(self, listener):
        """One connection of ``listener``, from request to end."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": listener.path,
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"testserver"), *_cursor(listener.last_event_id)],
            "client": ("127.0.0.1", 50_000),
            "server": ("testserver", 80),
        }
        gone = asyncio.Event()
        asked = False

        async def receive():
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if gone.is_set():
                return
            if message["type"] == "http.response.start":
                listener.began(message["status"])
            elif listener.status == 200:
                listener.feed(message["body"])

        listener.disconnect = gone.set
        await self.edge(scope, receive, send)


class RemoteWorker:
    """A server in another process, at ``url``."""

    def __init__(self, url):
        self.url = url

    async def carry(self, listener):
        """One connection of ``listener``, over a socket of its own."""
        left = listener.left
        listener.left = None  # counted in the bytes of the connection, head and chunk sizes included

        class Connection(StreamClient):
            # Like StreamClient, but it takes only so many bytes and hands on every event at once.
            def data_received(self, data):
                nonlocal left
                if left is not None:
                    data, left = data[:left], left - len(data[:left])
                before = len(self.raw)
                super().data_received(data)
                if self.status == 200:
                    listener.feed(bytes(self.raw[before:]))
                    self.raw.clear()
                    self.events.clear()
                if left == 0:
                    self.abort()

        try:
            stream = await Connection.connect(
                self.url + listener.path, last_event_id=listener.last_event_id or None
            )
        except (OSError, StreamEndedError):
            return
        try:
            listener.disconnect = stream.abort
            listener.began(stream.status)
            if not listener.wanted:
                stream.abort()
            await stream._lost.wait()
        finally:
            stream.abort()
            await stream._lost.wait()


class Listener:
    """A client as a browser is one: it comes back after every end, with its Last-Event-ID.

    ``budget()`` says after how many bytes of each connection the client breaks it off (None: never).
    It is owed what is published after ``since``; or else after now with a cursor, and without one
    after its stream has said where it begins.
    """

    def __init__(
        self, checker, name, worker, channels, *, budget=None, last_event_id="", since=None, pause=0.01
    ):
        self.checker = checker
        self.name = name
        self.worker = worker
        self.channels = list(channels)
        self.path = "/events/" + ",".join(self.channels)
        self.budget = budget or (lambda: None)
        self.last_event_id = last_event_id
        self.pause = pause
        self.left = None
        self.status = None
        self.statuses = Counter()
        self.connections = 0
        self.comments = 0
        self.closings = []
        self.resets = []
        self.heard = []
        self.disconnect = lambda: None
        self.record = checker.client(name)
        if since is None:
            since = time.monotonic() if last_event_id else float("inf")
        for channel in self.channels:
            self.record.listen(channel, since=since)
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._changed = asyncio.Event()
        self._decoder = Decoder()
        self._task = None

    def start(self):
        """Connect, and go on doing so."""
        self._wanted.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return self

    @property
    def wanted(self):
        """Whether it is not to stay away."""
        return self._wanted.is_set()

    async def hang_up(self):
        """Disconnect, and stay away until ``start``."""
        self._wanted.clear()
        self.disconnect()
        async with asyncio.timeout(10):
            await self._idle.wait()

    async def close(self):
        """Go for good."""
        if self._task is not None:
            self._wanted.clear()
            self.disconnect()
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def opened(self, timeout=20):
        """Wait until the stream has said where it begins."""
        await self.until(lambda: self.last_event_id, timeout)

    async def level(self, timeout=20):
        """Wait until the newest event of every channel is here."""
        await self.until(lambda: self.checker.level(self.record), timeout)

    async def until(self, condition, timeout=20):
        """Wait for something that what arrives changes."""
        async with asyncio.timeout(timeout):
            while not condition():
                if self._task is not None and self._task.done():
                    self._task.result()
                self._changed.clear()
                await self._changed.wait()

    # What a worker calls

    def began(self, status):
        """The response has begun."""
        self.status = status
        self.statuses[status] += 1
        self._changed.set()

    def feed(self, data):
        """Some bytes of the body arrived; what is beyond the budget does not."""
        if self.left is not None:
            data, self.left = data[: self.left], self.left - len(data[: self.left])
        for event in self._decoder.feed(data):
            self._hear(event)
        self.comments += len(self._decoder.comments)
        self._decoder.comments.clear()
        self._decoder.commits.clear()
        if self.last_event_id != self._decoder.last_event_id:
            if not self.last_event_id:
                self._owed_from_now()
            self.last_event_id = self._decoder.last_event_id
        self._changed.set()
        if self.left == 0:
            self.disconnect()

    def _hear(self, event):
        if event.event == "edge-reset":
            fields = json.loads(event.data)
            self.resets.append((fields["channel"], fields["reason"]))
            self.record.reset(fields["channel"], fields["reason"], time.monotonic())
        elif event.event == "edge-close":
            self.closings.append(json.loads(event.data)["reason"])
        else:
            channel, n, _ = read_payload(event.data)
            self.heard.append((channel, n, event.id))
            self.record.event(channel, n, event.id)

    def _owed_from_now(self):
        now = time.monotonic()
        for ear in self.record.ears.values():
            ear.since = now

    async def _run(self):
        while True:
            await self._wanted.wait()
            self._idle.clear()
            self.connections += 1
            self._decoder = Decoder(self.last_event_id)
            self.left = self.budget()
            self.status = None
            try:
                await self.worker.carry(self)
            finally:
                self.disconnect = lambda: None
                self._idle.set()
                self._changed.set()
            self.record.reconnected()
            await asyncio.sleep(self.pause)


class Fleet:
    """Workers, publishers and clients around one checker, and the end of all of them.

    ``backend_settings`` are those of every RedisBackend it makes.
    """

    def __init__(self, **backend_settings):
        self.checker = Checker()
        self.listeners = []
        self.traffics = []
        self.workers = []
        self.backend_settings = {"history": 10_000, "timeout": 2.0, **backend_settings}
        self._closing = contextlib.AsyncExitStack()

    def backend(self, url, **settings):
        """A RedisBackend, closed at the end."""
        backend = RedisBackend(url, **{**self.backend_settings, **settings})
        self._closing.push_async_callback(backend.close)
        return backend

    async def proxy(self, target):
        """A Proxy in front of the Redis at port ``target``."""
        proxy = await Proxy(target).start()
        self._closing.push_async_callback(proxy.close)
        return proxy

    async def worker(self, backend, **settings):
        """A Worker on a backend or a Redis URL."""
        if isinstance(backend, str):
            backend = self.backend(backend)
        worker = await Worker(backend, **settings).start()
        self.workers.append(worker)
        self._closing.push_async_callback(worker.close)
        return worker

    def listener(self, worker, channels, **options):
        """A Listener that connects at once."""
        name = f"c{len(self.listeners)}"
        listener = Listener(self.checker, name, worker, channels, **options).start()
        self.listeners.append(listener)
        return listener

    def traffic(self, backend, channels, **options):
        """A Traffic on a backend or a Redis URL, not started yet."""
        if isinstance(backend, str):
            backend = self.backend(backend)
        traffic = Traffic(self.checker, backend, channels, seed=len(self.traffics), **options)
        self.traffics.append(traffic)
        return traffic

    async def opened(self):
        """Wait until every client has its stream."""
        for listener in self.listeners:
            await listener.opened()

    async def verdict(self, timeout=20):
        """Stop publishing, let everybody get level, and return the report, which has no fault in it."""
        with contextlib.suppress(TimeoutError):  # the report says more
            for _ in range(2):  # a second time, to see what comes after the last event
                for traffic in self.traffics:
                    await traffic.stop()
                for traffic in self.traffics:
                    for channel in traffic.channels:
                        await traffic.publish(channel)
                async with asyncio.timeout(timeout):
                    for listener in self.listeners:
                        await listener.level(timeout)
        report = self.checker.report()
        assert report.ok, str(report)
        for listener in self.listeners:
            assert self.checker.level(listener.record), f"client {listener.name} is not level; {report}"
        return report

    async def close(self):
        """End everything; by force, and with an error, when that hangs."""
        closing = asyncio.create_task(self._close())
        _, hangs = await asyncio.wait([closing], timeout=15)
        while hangs and not closing.done():
            for task in asyncio.all_tasks() - {asyncio.current_task(), closing}:
                task.cancel()
            await asyncio.wait([closing], timeout=0.1)
        closing.result()
        assert not hangs, "the fleet did not end by itself"

    async def _close(self):
        for listener in self.listeners:
            await listener.close()
        for traffic in self.traffics:
            await traffic.close()
        self.listeners, self.traffics = [], []
        await self._closing.aclose()


async def _channels(request):
    return request.params["names"].split(",")


async def _yes(identity, channel):
    return True


def _cursor(last_event_id):
    return [(b"last-event-id", last_event_id.encode())] if last_event_id else []
