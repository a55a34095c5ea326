"""What Django has of its own: transactions, which a publish has to wait for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from django.db import transaction

P = ParamSpec("P")


def on_commit(publish: Callable[P, object], *, using: str | None = None) -> Callable[P, None]:
    """``publish``, put off until the database has what it tells: after the commit, never after a rollback.

    ``publish`` is a method of a ``SyncPublisher``, such as ``publish`` or ``finish``; ``using`` is the alias
    of the database, for another one than the default.  Outside of a transaction it is called at once, as by
    Django's ``transaction.on_commit``.  What it raises is logged by Django (``django.db``), and undoes
    nothing: the view's answer is that of the commit.
    """

    def later(*args: P.args, **kwargs: P.kwargs) -> None:
        @wraps(publish)  # Django logs its name
        def call() -> None:
            publish(*args, **kwargs)

        transaction.on_commit(call, using=using, robust=True)

    return later
