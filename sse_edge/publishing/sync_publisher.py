"""Publishing from code without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from ..backends import open_backend
from ..backends.base import Backend
from ..event import MAX_EVENT_BYTES, Event, check_channel
from ..jsontext import Default
from ..stored import StoredEvent
from . import orders
from .composer import UNSET, composed, composed_many, reopening
from .publisher import Publisher


class SyncPublisher:
    """A ``Publisher`` for code without an event loop: a Django view, a Celery task, a script.

    Safe to share between threads.  ``default`` and ``max_event_bytes`` as for ``Publisher``.
    """

    def __init__(
        self,
        backend: str | Backend = "memory://",
        *,
        default: Default | None = None,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self._backend, self._owned = open_backend(backend)
        self._events = Publisher(self._backend, default=default, max_event_bytes=max_event_bytes)

    def publish(
        self,
        channel: str,
        data: str | Event = UNSET,
        *,
        event: str | None = None,
        json: object = UNSET,
        dedupe_key: str | None = None,
        except_user: str | None = None,
    ) -> str:
        """See ``Publisher.publish``."""
        return self._backend.wait(
            self._events.publish(
                channel, data, event=event, json=json, dedupe_key=dedupe_key, except_user=except_user
            )
        )

    def publish_many(
        self,
        events: Iterable[tuple[str, str | Event]],
        *,
        dedupe_keys: Sequence[str | None] | None = None,
        except_users: Sequence[str | None] | None = None,
    ) -> list[str]:
        """See ``Publisher.publish_many``."""
        return self._backend.wait(
            self._events.publish_many(events, dedupe_keys=dedupe_keys, except_users=except_users)
        )

    def finish(
        self,
        channel: str,
        data: str | Event = UNSET,
        *,
        event: str | None = None,
        json: object = UNSET,
        dedupe_key: str | None = None,
    ) -> str:
        """See ``Publisher.finish``."""
        return self._backend.wait(
            self._events.finish(channel, data, event=event, json=json, dedupe_key=dedupe_key)
        )

    def reopen(self, channel: str) -> None:
        """See ``Publisher.reopen``."""
        self._backend.wait(self._events.reopen(channel))

    def recent(self, channel: str, n: int) -> list[StoredEvent]:
        """See ``Publisher.recent``."""
        return self._backend.wait(self._events.recent(channel, n))

    def count(self, channel: str) -> int:
        """See ``Publisher.count``."""
        return self._backend.wait(self._events.count(channel))

    def present(self, user: str) -> int:
        """See ``Publisher.present``."""
        return self._backend.wait(self._events.present(user))

    def stop(self, channel: str) -> bool:
        """See ``Publisher.stop``."""
        return self._backend.wait(self._events.stop(channel))

    def cursor(self) -> str:
        """See ``Publisher.cursor``."""
        return self._backend.wait(self._events.cursor())

    def disconnect(
        self, *, user: str | None = None, channel: str | None = None, session: str | None = None
    ) -> None:
        """See ``Publisher.disconnect``."""
        self._backend.wait(self._events.disconnect(user=user, channel=channel, session=session))

    def revoke(self, session: str | None, *, max_age: float | None = None) -> None:
        """See ``Publisher.revoke``."""
        self._backend.wait(self._events.revoke(session, max_age=max_age))

    def close(self) -> None:
        """Close what this publisher opened."""
        if self._owned:
            self._backend.close_sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def prepared(publisher: SyncPublisher, method: str, given: dict[str, Any]) -> Callable[[], object]:
    """A call of one of ``PREPARED`` by the names of its arguments: they are checked and encoded at once, and
    what is returned sends them.  Raises EventError."""
    backend, default, most = publisher._backend, publisher._events._default, publisher._events._most
    if method == "publish_many":
        outgoing = composed_many(**given, most=most)
    elif method in ("publish", "finish"):
        outgoing = [composed(**given, finish=method == "finish", default=default, most=most)]
    elif method == "reopen":
        outgoing = [reopening(**given)]
    elif method == "disconnect":
        outgoing = [orders.disconnection(**given)]
    elif method == "revoke":
        orders.check_revocation(**given)
        return lambda: publisher.revoke(**given)
    else:
        check_channel(given["channel"])
        return lambda: publisher.stop(**given)
    return lambda: backend.wait(backend.publish(outgoing))


PREPARED = ("publish", "publish_many", "finish", "reopen", "disconnect", "revoke", "stop")
"""The methods of a ``SyncPublisher`` that tell somebody something."""
