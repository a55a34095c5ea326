"""Hearing that the process is to stop, before the server waits for open streams."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class SignalChain:
    """Calls ``on_signal`` on the event loop at SIGTERM or SIGINT, then the handler that was there.

    Servers close listeners, wait for open responses and only then announce the shutdown (uvicorn,
    granian): streams would keep the process alive for ever.  Handlers can be set on the main thread
    only; elsewhere nothing is installed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_signal: Callable[[], None]) -> None:
        self._loop = loop
        self._on_signal = on_signal
        self._before: dict[int, Callable[[int, FrameType | None], object]] = {}

    def install(self) -> None:
        """Put ourselves in front of the present handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):  # not the default action: then no server is there to wait
                self._before[number] = handler
                signal.signal(number, self._handle)

    def remove(self) -> None:
        """Put the handlers back, where nobody has replaced ours."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)
        self._on_signal = _nothing  # whoever came in front of us goes on calling us

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_signal)
        self._before[number](number, frame)


def _nothing() -> None:
    pass
