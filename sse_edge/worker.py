"""What runs on one event loop: the hub, its leases, what all workers are told, and the drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Coroutine, Iterator

from .admission.gate import Admission, Gate
from .asgi_server import Server, find
from .backends.base import Backend, Leases
from .backends.reports import Report
from .backends.writers import LOOK
from .control import Control
from .delivery.backlog import Bounds
from .delivery.drain import SOON
from .delivery.hub import Hub
from .delivery.lifetime import Lifetime
from .delivery.patterns import Labels
from .delivery.stream import Stream
from .errors import BackendError, ConfigError
from .logline import about, value
from .outcome import BACKEND_DOWN
from .publishing.writer import end_abandoned
from .refusals import Failures, RefusalLog
from .signals import SignalChain
from .status.report import Reporter

logger = logging.getLogger("sse_edge")
access_log = logging.getLogger("sse_edge.access")

ASKING = 32
"""Streams whose right is asked again at the same time: ``authorize`` may be a database."""

SERVER = 0.2
"""Seconds between looks whether the server stops."""

LOOKS = (0.02, 0.2, 1.0)
"""Seconds after which a server is looked for that was not seen: hypercorn is not, while it starts."""

SHARE, MOST = 2 / 3, 5 / 6
"""Of the time that the server waits, for the drain, and for clients to take their last bytes; the rest is for
the server itself, since hypercorn waits for ever where a response is not over by then."""

PUBLISHING = 5.0
"""Seconds that requests to publish have after a drain, where the server would cut them."""

STILL = 5.0
"""Seconds after a drain in which the server has to stop, before that it does not is worth a warning."""

UNSTOPPED = (
    "a signal has drained the streams, and %s goes on: new ones are refused until it stops; a handler of the "
    "app's own, as by loop.add_signal_handler, keeps signals from the server, and has to make it stop"
)


class Worker:
    """One event loop's share of the edge."""

    def __init__(
        self,
        backend: Backend,
        gate: Gate,
        leases: Leases,
        lifetime: Lifetime,
        *,
        bounds: Bounds,
        max_event_bytes: int,
        drain_window: float,
        reporter: Reporter,
        labels: Labels,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.hub = Hub(
            backend,
            lifetime,
            bounds=bounds,
            max_event_bytes=max_event_bytes,
            labels=labels,
            on_recheck=self._on_recheck,
            on_closed=self._on_closed,
            on_control=self._on_control,
            on_stopping=self._on_stopping,
        )
        self.control = Control(self.hub, backend, gate, self._spawn)
        self._backend = backend
        self._presence = backend.presence()
        self._gate = gate
        self._leases = leases
        self._drain_window = drain_window
        self._reporter = reporter
        self._server: Server | None = None
        self._noticed = False  # that it stops, before a signal was
        self._drains = False
        self._signals = SignalChain(self.loop, self._on_signal)
        self._admissions: dict[Stream, Admission] = {}
        self._asking = asyncio.Semaphore(ASKING)
        self._tasks: set[asyncio.Task[object]] = set()
        self.publishing = 0
        """Requests to publish that have no answer yet."""
        self.refusals = RefusalLog(self.loop)
        self._failures = Failures(self.loop)

    @property
    def server(self) -> str:
        """The server that runs this, with its version; nothing where that is not known."""
        return "" if self._server is None else self._server.name

    @property
    def is_here(self) -> bool:
        """Whether its event loop is the one that runs now; to ask for that is a system call before 3.12."""
        return self.loop.is_running() and threading.get_ident() == self._thread

    async def start(self) -> None:
        """Begin to listen; does not wait for the backend to be there."""
        self._meet(find())
        self._failures.begin()
        await self._leases.start()
        await self.hub.start()
        await self._presence.start(self.hub.census, self._tell)
        self.control.start()
        self._spawn(self._end_abandoned())
        self._spawn(self._await_stop())

    async def _tell(self) -> Report:
        return await self._reporter.report(self.hub, self._server)

    async def stop(self) -> None:
        """End every stream and let go of everything."""
        self.forget()
        await self.hub.close()
        await self._presence.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._leases.close()
        self.refusals.close()

    def forget(self) -> None:
        """Hear no more signals, and see no more failures."""
        self._signals.remove()
        self._failures.end()

    # The end of a stream

    def _on_closed(self, stream: Stream) -> None:
        self._admissions.pop(stream, None)
        self._gate.release(stream.user, stream.address)
        if not access_log.isEnabledFor(logging.INFO):
            return
        access_log.info(
            '"GET %s" ended: %s after %.1f s, %d events, %d bytes, user=%s address=%s',
            value(stream.path),
            stream.ending.reason if stream.ending else "-",
            self.hub.now - stream.opened,
            stream.events,
            stream.size,
            value(stream.user),
            value(stream.address),
            extra=about(
                "stream-ended",
                method="GET",
                path=stream.path,
                reason=stream.ending.reason if stream.ending else None,
                seconds=self.hub.now - stream.opened,
                events=stream.events,
                bytes=stream.size,
                user=stream.user,
                address=stream.address,
            ),
        )

    def _on_control(self, frame: bytes | None) -> None:
        self.control.hear(frame)

    # A stream's right to its channels, asked again

    def watch(self, stream: Stream, admission: Admission) -> None:
        """Ask ``authorize`` again from time to time about the channels that only it opened."""
        if admission.guarded:
            self._admissions[stream] = admission
            self.hub.recheck_at(stream, self.hub.lifetime.recheck(random.random()))

    def _on_recheck(self, stream: Stream) -> None:
        admission = self._admissions.get(stream)
        if admission is not None:
            self._spawn(self._ask_again(stream, admission))

    async def _ask_again(self, stream: Stream, admission: Admission) -> None:
        async with self._asking:
            for channel, values in admission.guarded.items():
                if stream.ending is not None:
                    return
                if channel not in stream.channels:  # lost before
                    continue
                refusal = await self._gate.ask(admission.identity, {channel: values})
                # A failing authorize is no answer: it is asked again, and ends nobody.
                if refusal is not None and refusal.code != BACKEND_DOWN.code:
                    self.hub.drop_channel(stream, channel)
        self.hub.recheck_at(stream, self.hub.lifetime.recheck(random.random()))

    async def _end_abandoned(self) -> None:
        """Look again and again for channels whose writers have died."""
        while True:
            await asyncio.sleep(LOOK)
            with contextlib.suppress(BackendError):
                await end_abandoned(self._backend)

    # The worker's own end

    def _meet(self, server: Server | None) -> None:
        """Know who runs us, or that this is not known, and hear of signals."""
        self._server = server
        self._signals.remove()
        cuts, stop = (server.cuts, server.stop) if server is not None else (False, None)
        self._signals = SignalChain(self.loop, self._on_signal, holds=cuts, otherwise=stop)
        self._signals.install()
        for warning in () if server is None else server.warnings:
            logger.warning("%s", warning, extra=about("server-unfit", detail=warning))

    async def _await_stop(self) -> None:
        """Look again and again whether the server stops: some tell nobody."""
        for wait in LOOKS:
            if self._server is not None:
                break
            await asyncio.sleep(wait)
            if (server := find()) is not None:
                self._meet(server)
        if self._server is None or (stops := self._server.stops) is None:
            return
        while not stops():  # noqa: ASYNC110
            await asyncio.sleep(SERVER)
        self._on_stopping()

    def _on_signal(self) -> None:
        # A server that was seen to stop may do so because of this signal.
        if self.hub.drain.begun and not self._noticed:
            self.hub.drain.hurry()
        self._noticed = False
        self._spawn(self._drain())

    def _on_stopping(self) -> None:
        # At a signal the drain is under way already.  Otherwise nobody else would end what is waited for.
        if not self.hub.drain.begun:
            self._noticed = True
            self.hub.drain.refuse()
            self._spawn(self._drain())

    async def _drain(self) -> None:
        grace = self._server.grace if self._server is not None else None
        with self._telling_drain():
            if grace is None:
                await self.hub.drain(self._drain_window)
            else:
                await self.hub.drain(min(self._drain_window, grace * SHARE), grace * MOST)
        limit = self.loop.time() + PUBLISHING
        while self.publishing and self.loop.time() < limit:  # noqa: ASYNC110
            await asyncio.sleep(SOON)
        self._signals.release()
        if self._server is None or (stops := self._server.stops) is None:
            return
        await asyncio.sleep(STILL)
        if not stops():
            logger.warning(UNSTOPPED, self._server.name, extra=about("unstopped", server=self._server.name))

    @contextlib.contextmanager
    def _telling_drain(self) -> Iterator[None]:
        """Log that it begins and ends: once, though a signal and the server's stop may each begin one."""
        if self._drains:
            yield
            return
        self._drains = True
        began, streams = self.hub.now, len(self.hub.streams)
        logger.info("draining: %d streams", streams, extra=about("drain", streams=streams))
        try:
            yield
        finally:  # the server may be as fast
            took = self.hub.now - began
            logger.info("drained in %.1f s", took, extra=about("drained", streams=streams, seconds=took))

    def _spawn(self, work: Coroutine[None, None, object]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a background task failed", exc_info=error, extra=about("task-failed"))


def check_seconds(field: str, value: object) -> float:
    """The value, if it is a number of seconds, 0 or more.  Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 86_400:
        raise ConfigError(field, "must be a number of seconds, 0 or more and at most a day", value)
    return value
