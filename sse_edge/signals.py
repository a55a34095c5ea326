"""Hearing that the process is to stop, before the server waits for open streams."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Handler = Callable[[int, FrameType | None], object] | int | None
"""What ``signal.getsignal`` returns."""


class SignalChain:
    """Calls ``on_signal`` on the event loop at SIGTERM or SIGINT, then the handler that was there.

    Servers close listeners, wait for open responses and only then announce the shutdown (uvicorn,
    granian): streams would keep the process alive for ever.  Handlers can be set on the main thread
    only; elsewhere nothing is installed.

    ``holds``: the handler that was there is not called before ``release``, or a second signal.  ``otherwise``
    is called where there was none and the signal would have killed the process.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_signal: Callable[[], None],
        *,
        holds: bool = False,
        otherwise: Callable[[], None] | None = None,
    ) -> None:
        self._loop = loop
        self._on_signal = on_signal
        self._holds = holds
        self._otherwise = otherwise
        self._before: dict[int, Handler] = {}
        self._held: int | None = None

    def install(self) -> None:
        """Put ourselves in front of the present handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            handler = signal.getsignal(number)
            # With the default action no server is there to wait, as a rule.
            if callable(handler) or (handler is signal.SIG_DFL and self._otherwise is not None):
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
        self.release()
        self._holds = False

    def release(self) -> None:
        """Let the server hear of the signal that it has not heard of yet."""
        if self._held is not None:
            number, self._held = self._held, None
            self._pass_on(number, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_signal)
        if self._holds and self._held is None and self._loop.is_running():
            self._held = number
        else:
            self._held = None
            self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        handler = self._before[number]
        if callable(handler):
            handler(number, frame)
        elif self._otherwise is not None:
            self._otherwise()


def _nothing() -> None:
    pass
