"""A request for a stream, on its way in."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ..admission.gate import Admission
from ..asgi import Request
from ..delivery.sink import Sink
from ..leash import Leash
from ..worker import Worker


class Entrant:
    """What is known of it: the ``worker`` that it came to, its ``request``, and what makes its stream's
    ``sink`` once it is admitted.  A poll will ``wait`` for so many seconds, and one that is ``joined`` shares
    its response with others.  It ``began`` then, by the monotonic clock.

    Inside of ``with`` it has no answer yet, and a drain ends what it waits for by its ``leash``.
    """

    __slots__ = ("began", "joined", "leash", "request", "sink", "wait", "worker")

    def __init__(
        self,
        worker: Worker,
        request: Request,
        sink: Callable[[Admission], Sink],
        began: float,
        *,
        wait: float | None = None,
        joined: bool = False,
    ) -> None:
        self.worker = worker
        self.request = request
        self.sink = sink
        self.began = began
        self.wait = wait
        self.joined = joined
        self.leash = Leash()

    def __enter__(self) -> Self:
        self.worker.hub.drain.entering.add(self.leash)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.worker.hub.drain.entering.discard(self.leash)

    @property
    def waited(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began
