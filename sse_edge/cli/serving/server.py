"""uvicorn, run so that signals end it in good order and with exit code 0."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing import parent_process
from types import FrameType
from typing import Any

from ...logline import about
from ...signals import SIGNALS
from ..failure import Failure
from . import collector
from .figures import shared
from .listen import refuse
from .logs import log_the_rest

try:
    import uvicorn
    from uvicorn.config import STARTUP_FAILURE, Config
    from uvicorn.supervisors.multiprocess import Multiprocess

    from .protocol import Bounded
except ImportError as missing:
    raise Failure(f"this command needs uvicorn ({missing}): pip install 'sse_edge[server]'") from missing

__all__ = ["Settings", "run_many", "run_one"]

logger = logging.getLogger("sse_edge")

FAILED = "the application did not start"

LET_GO = 0.3
"""Seconds in which workers that are told to stop let go of the listening socket: they look every 0.1 s."""


class Settings(Bounded):
    """How the application is served; ``log_all``: what Python writes to stderr by itself is logged too."""

    def __init__(self, app: Any, *, log_all: bool = False, **settings: Any) -> None:
        self._log_all = log_all
        super().__init__(app, **settings)

    def configure_logging(self) -> None:
        """See uvicorn; each worker does it for itself."""
        super().configure_logging()
        if self._log_all:
            log_the_rest()

    def load(self) -> None:
        """See uvicorn."""
        try:
            super().load()
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            said = isinstance(error, SystemExit) and not isinstance(error.code, str)  # as by uvicorn
            if said or parent_process() is None or not (self._log_all or isinstance(error, SystemExit)):
                raise
            # multiprocessing would print it.
            text = "a worker could not load the application"
            logger.critical(text, exc_info=error, extra=about("uncaught"))
            raise SystemExit(1) from None
        collector.tame()


class Server(uvicorn.Server):
    """One worker in this process.  ``on_started`` is called once it accepts connections."""

    def __init__(self, config: Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn, which closes the sockets: nobody is to wait at one that somebody else has, too."""
        for sock in sockets or ():
            refuse(sock)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends everything in good order, a second one at once."""
        if self.should_exit:
            os._exit(128 + sig)
        super().handle_exit(sig, frame)


class Stop(threading.Event):
    """That the supervisor is to stop, also where it has not seen to the signal yet: it may be restarting its
    workers one by one, which takes as long as they all drain."""

    def __init__(self, signals: list[int]) -> None:
        super().__init__()
        self._signals = signals

    def is_set(self) -> bool:
        """See threading."""
        return super().is_set() or any(each in SIGNALS for each in self._signals)


class Supervisor(Multiprocess):
    """Several workers on one socket, with uvicorn's supervision."""

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.should_exit = Stop(self.signal_queue)

    def handle_int(self) -> None:
        """See ``_stop``."""
        self._stop(signal.SIGINT)

    def handle_term(self) -> None:
        """See ``_stop``."""
        self._stop(signal.SIGTERM)

    def _stop(self, number: int) -> None:
        if self.should_exit.is_set():
            self._stop_at_once(number, None)
        self.should_exit.set()
        for each in SIGNALS:
            signal.signal(each, self._stop_at_once)

    def terminate_all(self) -> None:
        """See uvicorn, which would have whoever connects wait here until all workers are gone."""
        super().terminate_all()
        time.sleep(LET_GO)
        for sock in self.sockets:
            refuse(sock)
            sock.close()

    def _stop_at_once(self, number: int, frame: FrameType | None) -> None:
        for process in self.processes:
            process.process.kill()
        os._exit(128 + number)

    @property
    def failed(self) -> bool:
        """Whether it ended because a worker could not start."""
        return any(process.exitcode == STARTUP_FAILURE for process in self.processes)


def run_one(config: Config, sock: socket.socket, on_started: Callable[[], None]) -> None:
    """Serve in this process until a signal."""
    server = Server(config, on_started)

    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn raises the signal again when it has finished, to die of it: this handler survives that.
    for each in SIGNALS:
        signal.signal(each, stop)
    try:
        server.run([sock])
    except SystemExit as error:
        raise Failure(FAILED) from error


def run_many(config: Config, sock: socket.socket, on_started: Callable[[], None]) -> None:
    """Serve in ``config.workers`` processes until a signal."""
    sock.listen(config.backlog)
    sock.set_inheritable(True)
    supervisor = Supervisor(config, [sock])
    on_started()
    with shared():
        supervisor.run()
    if supervisor.failed:
        raise Failure(FAILED)
