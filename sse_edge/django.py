"""What Django has of its own: transactions, which a publish has to wait for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, cast

from .errors import ConfigError
from .publishing.sync_publisher import PREPARED, SyncPublisher, prepared

try:
    from django.db import transaction
except ModuleNotFoundError as error:
    if error.name not in ("django", "django.db"):
        raise
    raise ModuleNotFoundError("sse_edge.django needs Django: pip install django", name="django") from error

P = ParamSpec("P")

ASYNC = "is async, and after a commit nobody awaits it: give a method of a SyncPublisher"


def on_commit(publish: Callable[P, object], *, using: str | None = None) -> Callable[P, None]:
    """``publish``, put off until the database has what it tells: after the commit, never after a rollback.

    ``publish`` is a method of a ``SyncPublisher``, such as ``publish`` or ``finish``; ``using`` is the alias
    of the database, for another one than the default.  What it is given is checked and encoded at the call,
    which raises EventError or TypeError; changed afterwards it goes out as it was.  A function of the
    application's own is called after the commit, with what it was given as that is then.

    Outside of a transaction it is called at once, as by Django's ``transaction.on_commit``.  What it raises
    when it is called is logged by Django (``django.db``), and undoes nothing: the view's answer is that of
    the commit.

    Raises ConfigError for what cannot be called, or is async: an ``await`` has nobody to wait there.
    """
    if not callable(publish):
        raise ConfigError("publish", "must be a method of a SyncPublisher, or a function", publish)
    if any(map(inspect.iscoroutinefunction, (publish, type(publish).__call__))):
        raise ConfigError("publish", ASYNC, publish)
    prepare = _preparing(publish)

    def later(*args: P.args, **kwargs: P.kwargs) -> None:
        ready = prepare(*args, **kwargs)

        @wraps(publish)  # Django logs its name
        def call() -> None:
            result = ready()
            if inspect.iscoroutine(result):
                result.close()
                raise ConfigError("publish", ASYNC, publish)

        transaction.on_commit(call, using=using, robust=True)

    return later


def _preparing(publish: Callable[..., object]) -> Callable[..., Callable[[], object]]:
    """What is done at the call: it returns what is done after the commit."""
    own = publish.func if isinstance(publish, partial) else publish
    publisher, method = getattr(own, "__self__", None), getattr(own, "__name__", "")
    known = inspect.ismethod(own) and getattr(SyncPublisher, method, None) is own.__func__
    if known and method not in PREPARED:
        raise ConfigError("publish", f"must be one of {', '.join(PREPARED)}", publish)
    try:
        signature = inspect.signature(own)
    except ValueError:  # some of C have none
        return lambda *args, **kwargs: partial(publish, *args, **kwargs)

    def prepare(*args: Any, **kwargs: Any) -> Callable[[], object]:
        if isinstance(publish, partial):
            args, kwargs = (*publish.args, *args), {**publish.keywords, **kwargs}
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{method or own}: {error}") from None
        if not known:
            return partial(own, *args, **kwargs)
        bound.apply_defaults()
        return prepared(cast(SyncPublisher, publisher), method, bound.arguments)

    return prepare
