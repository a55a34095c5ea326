"""The same for tests without an event loop: Django's, and those that call a framework's own test client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from ..asgi import ASGIApp, Headers
from .client import Client
from .decoder import Received
from .errors import StreamEndedError
from .response import Response
from .stream import Reset, Stream

T = TypeVar("T")


class SyncClient:
    """``Client`` with an event loop in a thread of its own, from the beginning to the end of its block.

    So a view that the test calls in this thread, and that publishes, is heard.  Takes what ``Client`` takes.
    """

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        self._client = Client(app, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def cookies(self) -> dict[str, str]:
        """What is sent with each request; those that answers set are among them."""
        return self._client.cookies

    @property
    def is_open(self) -> bool:
        """Whether its event loop runs."""
        return self._loop is not None

    def stream(self, path: str, **options: Any) -> SyncStream:
        """See ``Client.stream``: ``with c.stream(path) as stream``."""
        return SyncStream(self, self._client.stream(path, **options))

    def request(self, method: str, path: str, **options: Any) -> Response:
        """See ``Client.request``."""
        return self.wait(self._client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> Response:
        """See ``Client.request``."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Response:
        """See ``Client.request``."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Response:
        """See ``Client.request``."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Response:
        """See ``Client.request``."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Response:
        """See ``Client.request``."""
        return self.request("DELETE", path, **options)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work on the client's event loop, such as ``Publisher.publish``."""
        if self._loop is None:
            work.close()
            raise RuntimeError("the client is not open: use with")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __enter__(self) -> Self:
        begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(begun,), name="sse_edge.testing", daemon=True)
        self._thread.start()
        begun.wait()
        try:
            self.wait(self._client.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait(self._client.__aexit__(kind, error, trace))
        finally:
            self._end()

    def _run(self, begun: threading.Event) -> None:
        async def run() -> None:
            self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
            begun.set()
            await self._stopping.wait()

        asyncio.run(run())

    def _end(self) -> None:
        assert self._loop is not None
        assert self._stopping is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop = None


class SyncStream:
    """See ``Stream``: ``with c.stream(path) as stream``."""

    def __init__(self, client: SyncClient, stream: Stream) -> None:
        self._client = client
        self._stream = stream

    def __enter__(self) -> Self:
        self._client.wait(self._stream.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.wait(self._stream.__aexit__(kind, error, trace))

    def next(self, timeout: float | None = None) -> Received:
        """See ``Stream.next``."""
        return self._client.wait(self._stream.next(timeout))

    def take(self, n: int, timeout: float | None = None) -> list[Received]:
        """See ``Stream.take``."""
        return self._client.wait(self._stream.take(n, timeout))

    def none(self, for_: float = 0.1) -> None:
        """See ``Stream.none``."""
        self._client.wait(self._stream.none(for_))

    def ended(self, timeout: float | None = None) -> str:
        """See ``Stream.ended``."""
        return self._client.wait(self._stream.ended(timeout))

    def __iter__(self) -> Iterator[Received]:
        while True:
            try:
                yield self.next()
            except StreamEndedError:
                return

    @property
    def status(self) -> int:
        """The answer's."""
        return self._stream.status

    @property
    def headers(self) -> Headers:
        """The answer's."""
        return self._stream.headers

    def header(self, name: str) -> str:
        """See ``Stream.header``."""
        return self._stream.header(name)

    @property
    def resets(self) -> list[Reset]:
        """See ``Stream.resets``."""
        return self._said(lambda: self._stream.resets)

    @property
    def dropped(self) -> list[Reset]:
        """See ``Stream.dropped``."""
        return self._said(lambda: self._stream.dropped)

    @property
    def ending(self) -> str | None:
        """See ``Stream.ending``."""
        return self._said(lambda: self._stream.ending)

    @property
    def last_event_id(self) -> str:
        """See ``Stream.last_event_id``."""
        return self._said(lambda: self._stream.last_event_id)

    @property
    def retry(self) -> int | None:
        """See ``Stream.retry``."""
        return self._said(lambda: self._stream.retry)

    def _said(self, what: Callable[[], T]) -> T:
        async def read() -> T:
            return what()

        # What that reads is the event loop's.
        return self._client.wait(read()) if self._client.is_open else what()


sync_client = SyncClient
