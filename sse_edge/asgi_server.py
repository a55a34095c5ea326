"""The server that runs us, as far as it lets itself be seen: that it stops, and how long it waits then.

ASGI says nothing of a server's end before all responses are over, and servers wait for streams: one that
stops without a signal, as after so many requests, would wait for as long as they last.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from types import FrameType
from typing import Any


@dataclass(frozen=True)
class Server:
    """What is known of it."""

    name: str
    """With its version."""

    stops: Callable[[], bool] | None = None
    """Whether it takes no more connections, and waits for those that are open."""

    grace: float | None = None
    """Seconds for which it waits; None: for ever, as far as is known."""

    cuts: bool = False
    """Whether at a signal it ends open responses at once: they have to be over before it hears of it."""

    stop: Callable[[], None] | None = None
    """Makes it stop, where it has no handler for signals, and one would kill it."""

    warnings: tuple[str, ...] = ()
    """What its operator should know, a sentence each."""


def find() -> Server | None:
    """The server of the event loop that runs, looked for in what the loop's tasks are doing."""
    seen = [server for task in asyncio.all_tasks() if (server := _server(task.get_coro())) is not None]
    if seen:
        return reduce(_beside, seen)
    loop = asyncio.get_running_loop()
    if getattr(sys.modules.get("daphne.server"), "twisted_loop", None) is loop:
        return Server(f"daphne {_version('daphne')}", cuts=True)
    return None


def _server(coroutine: Any) -> Server | None:
    seen = [server for frame in _frames(coroutine) if (server := _known(frame)) is not None]
    return reduce(_inside, seen) if seen else None


def _frames(coroutine: Any) -> Iterator[FrameType]:
    """Of a coroutine, of what it awaits, and so on."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None:
            yield frame
        coroutine = getattr(coroutine, "cr_await", None)


def _known(frame: FrameType) -> Server | None:
    module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
    make = _KNOWN.get((module, function))
    if make is None:
        return None
    try:
        return make(frame.f_locals)
    except (AttributeError, KeyError):  # a release that is different inside
        return None


def _uvicorn(seen: dict[str, Any]) -> Server:
    server = seen["self"]
    version, most = _version("uvicorn"), server.config.limit_concurrency
    cuts = version.startswith(("0.43.", "0.44."))
    warnings = []
    if cuts:
        warnings.append(
            f"uvicorn {version} says when it stops that every client has left: with --limit-max-requests "
            "streams are cut; 0.45 and later do not"
        )
    if most is not None:
        warnings.append(
            f"uvicorn's --limit-concurrency {most} counts open streams, and answers what comes after them, "
            "pages too, with a 503 of its own, after which an EventSource never asks again; "
            "Limits(per_worker=…) does not do that"
        )

    def stops() -> bool:
        # After so many requests nothing says so, but the listeners are closed.
        listeners = getattr(server, "servers", ())
        return server.should_exit or not all(each.is_serving() for each in listeners)

    return Server(
        f"uvicorn {version}",
        stops,
        grace=server.config.timeout_graceful_shutdown,
        cuts=cuts,
        warnings=tuple(warnings),
    )


def _gunicorn(seen: dict[str, Any]) -> Server:
    worker = seen["self"]
    return Server(f"gunicorn {_version('gunicorn')}", lambda: not worker.alive, worker.cfg.graceful_timeout)


def _uvicorn_in_gunicorn(seen: dict[str, Any]) -> Server:
    worker, server = seen["self"], seen["server"]

    def stops() -> bool:
        # SIGQUIT, which the master sends at SIGINT too, tells the worker, and that does not tell uvicorn.
        if not worker.alive:
            server.should_exit = True
        return bool(server.should_exit)

    # While it waits, it gives no sign of life either.
    grace = min(worker.cfg.graceful_timeout, worker.cfg.timeout or worker.cfg.graceful_timeout)
    return Server(f"gunicorn {_version('gunicorn')}", stops, grace)


def _hypercorn(seen: dict[str, Any]) -> Server:
    context, config = seen["context"], seen["config"]
    loop = asyncio.get_running_loop()
    tasks = set()

    def stop() -> None:
        tasks.add(loop.create_task(context.terminate.set()))

    name = f"hypercorn {_version('hypercorn')}"
    return Server(name, context.terminated.is_set, config.graceful_timeout, stop=stop)


_KNOWN: dict[tuple[str, str], Callable[[dict[str, Any]], Server]] = {
    ("uvicorn.server", "_serve"): _uvicorn,
    ("uvicorn_worker._workers", "_serve"): _uvicorn_in_gunicorn,
    ("uvicorn.workers", "_serve"): _uvicorn_in_gunicorn,
    ("gunicorn.workers.gasgi", "_serve"): _gunicorn,
    ("hypercorn.asyncio.run", "worker_serve"): _hypercorn,
}
"""What makes a server of the local names in a function of a module."""


def _inside(one: Server, other: Server) -> Server:
    """A server that another runs."""
    graces = [each.grace for each in (one, other) if each.grace is not None]
    stops = [each.stops for each in (one, other) if each.stops is not None]
    return Server(
        f"{one.name} with {other.name}",
        (lambda: any(stopping() for stopping in stops)) if stops else None,
        min(graces, default=None),
        one.cuts or other.cuts,
        warnings=(*one.warnings, *other.warnings),
    )


def _beside(one: Server, other: Server) -> Server:
    """Two on the same event loop: there is one left until both stop."""
    stops = [each.stops for each in (one, other) if each.stops is not None]
    return Server(
        f"{one.name} and {other.name}",
        lambda: all(stopping() for stopping in stops),
        warnings=(*one.warnings, *other.warnings),
    )


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - slow, and asked once

    try:
        return version(package)
    except PackageNotFoundError:
        return ""
