"""What an app publishes, in order."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import Any, NamedTuple, Self, overload

from ..backends import open_backend
from ..backends.base import CONTROL, Backend, Outgoing
from ..backends.memory import MemoryBackend
from ..backends.redis import RedisBackend
from ..errors import ConfigError, PublishError
from ..event import FINISHED, REOPENED
from ..publishing.publisher import Publisher
from ..publishing.sync_publisher import SyncPublisher
from ..stored import stored
from .edges import edges


class Published(NamedTuple):
    """An event that was published: its ``id`` is what ``publish`` returned.

    ``event`` is its name (``message`` where it was given none), ``data`` its text.  ``finishes``: it was its
    channel's last.  ``except_user`` does not hear it.
    """

    channel: str
    data: str
    event: str = "message"
    id: str = ""
    finishes: bool = False
    dedupe_key: str | None = None
    except_user: str | None = None

    def json(self) -> Any:
        """What ``data`` says as JSON."""
        return json.loads(self.data)


class Recorder(Sequence[Published]):
    """The events that are published while its block runs: ``with recorder() as published``.

    They are published all the same, and recorded once the backend has taken them, with their ids: what
    ``publish``, ``publish_many``, ``finish`` and ``write`` send, of both publishers, in whatever thread.
    Repeated with its ``dedupe_key`` an event is there once.

    ``targets``: publishers, backends, ``memory://…`` URLs, or apps that hold an ``SSEMiddleware``; nothing
    else is recorded then.  Without any it is all that this process publishes to memory and to Redis.

    ``backend`` is one of the recorder's own, in memory, for code that is given a publisher; it is recorded
    without a block, too.

    ``disconnected`` are the arguments of ``disconnect``, ``revoked`` the sessions of ``revoke``, and
    ``reopened`` the channels of ``reopen``.  Raises ConfigError for a target that publishes nothing.
    """

    def __init__(self, *targets: Any) -> None:
        self.disconnected: list[dict[str, str]] = []
        self.revoked: list[str] = []
        self.reopened: list[str] = []
        self._published: list[Published] = []
        self._of = [backend for target in targets for backend in _backends(target)]
        self._kinds = {type(backend) for backend in self._of} or {MemoryBackend, RedisBackend}
        self._own: MemoryBackend | None = None

    @property
    def backend(self) -> MemoryBackend:
        """A backend of its own, in memory: ``Publisher(published.backend)``."""
        if self._own is None:
            self._own = _Recorded(self)
        return self._own

    def on(self, channel: str) -> list[Published]:
        """The events of one channel."""
        return [event for event in self._published if event.channel == channel]

    def clear(self) -> None:
        """Forget what was recorded."""
        for recorded in (self._published, self.disconnected, self.revoked, self.reopened):
            recorded.clear()

    def __enter__(self) -> Self:
        _listen(self, self._kinds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _leave(self)

    def __len__(self) -> int:
        return len(self._published)

    @overload
    def __getitem__(self, index: int) -> Published: ...
    @overload
    def __getitem__(self, index: slice) -> list[Published]: ...
    def __getitem__(self, index: int | slice) -> Published | list[Published]:
        return self._published[index]

    def __repr__(self) -> str:
        return f"<{len(self)} published: {self._published}>"

    def hears(self, backend: Backend) -> bool:
        """Whether what is published there is recorded."""
        return not self._of or any(backend is one for one in self._of)

    def record(self, events: Sequence[Outgoing], ids: Sequence[str]) -> None:
        """Record the first of these, which the backend has taken under ``ids``."""
        for event, id in zip(events, ids, strict=False):
            said = stored(event.channel, event.body)
            if event.channel == CONTROL and said is not None:
                self._order(json.loads(said.data))
            elif event.body == REOPENED:
                self.reopened.append(event.channel)
            elif said is not None and not (event.dedupe_key and self._is_known(event.channel, id)):
                finishes = event.body.endswith(FINISHED)
                what = (event.channel, said.data, said.event, id)
                self._published.append(Published(*what, finishes, event.dedupe_key, event.except_user))

    def _order(self, order: dict[str, Any]) -> None:
        if "until" in order:
            self.revoked.append(order["session"])
        else:
            self.disconnected.append(order)

    def _is_known(self, channel: str, id: str) -> bool:
        return any(event.id == id and event.channel == channel for event in self._published)


recorder = Recorder


class _Recorded(MemoryBackend):
    """A backend that one recorder alone has."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    async def publish(self, events: Sequence[Outgoing]) -> list[str]:
        return await _telling(super().publish, events, [self._recorder])


_lock = threading.RLock()
_recorders: list[Recorder] = []
_hearing: ContextVar[tuple[Recorder, ...]] = ContextVar("_hearing", default=())
_tapped: dict[type, Any] = {}
"""The kinds of backends whose ``publish`` is listened to, and what it was before."""


def _listen(recorder: Recorder, kinds: set[type]) -> None:
    with _lock:
        _recorders.append(recorder)
        for kind in kinds:
            if kind not in _tapped:
                _tapped[kind] = vars(kind).get("publish")
                kind.publish = _tap(kind.publish)  # type: ignore[attr-defined]


def _leave(recorder: Recorder) -> None:
    with _lock:
        _recorders.remove(recorder)
        if _recorders:
            return
        for kind, before in _tapped.items():
            if before is None:
                del kind.publish  # type: ignore[attr-defined]
            else:
                kind.publish = before  # type: ignore[attr-defined]
        _tapped.clear()


def _tap(original: Any) -> Any:
    @wraps(original)
    async def publish(self: Backend, events: Sequence[Outgoing]) -> list[str]:
        with _lock:
            hearing = [one for one in _recorders if one.hears(self)]
        return await _telling(lambda given: original(self, given), events, hearing)

    return publish


async def _telling(publish: Any, events: Sequence[Outgoing], recorders: Sequence[Recorder]) -> list[str]:
    outer = _hearing.get()  # of a kind whose publish calls that of another kind
    hearing = [one for one in recorders if not any(one is known for known in outer)]
    ids: list[str] = []
    before = _hearing.set((*outer, *hearing))
    try:
        ids = await publish(events)
    except PublishError as error:
        ids = error.published
        raise
    finally:
        _hearing.reset(before)
        with _lock:
            for one in hearing:
                one.record(events, ids)
    return ids


def _backends(target: Any) -> list[Backend]:
    if isinstance(target, (Publisher, SyncPublisher)):
        return [target._backend]
    if isinstance(target, str):
        if not target.startswith("memory://"):
            why = "of another process's backend nothing can be heard: give the publisher, or nothing"
            raise ConfigError("recorder", why, target, secret="@" in target)
        return [open_backend(target)[0]]
    if hasattr(target, "subscriber"):
        return [target]
    found = [edge.backend for edge in edges(target)]
    if not found:
        raise ConfigError("recorder", "takes publishers, backends, and apps with an SSEMiddleware", target)
    return found
