"""The pytest plugin: fixtures for tests of apps that publish and stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .client import Client, client
from .recorder import Recorder, recorder
from .sync import SyncClient, sync_client


@pytest.fixture
def sse_app() -> Any:
    """The app that ``sse_client`` and ``sse_sync_client`` ask: a project has a fixture of this name."""
    return None


@pytest.fixture
def sse_client(sse_app: Any) -> Callable[..., Client]:
    """``async with sse_client(user="u1") as c``: ``sse_edge.testing.client`` of ``sse_app``.

    Nothing of it is async before that, so it is for any plugin that runs async tests.
    """
    return lambda app=None, **options: client(_app(app, sse_app), **options)


@pytest.fixture
def sse_sync_client(sse_app: Any) -> Callable[..., SyncClient]:
    """``with sse_sync_client(user="u1") as c``: ``sse_edge.testing.sync_client`` of ``sse_app``."""
    return lambda app=None, **options: sync_client(_app(app, sse_app), **options)


@pytest.fixture
def sse_recorder() -> Iterator[Recorder]:
    """What this process publishes during the test: ``sse_edge.testing.recorder()``."""
    with recorder() as published:
        yield published


def _app(given: Any, app: Any) -> Any:
    if given is None and app is None:
        pytest.fail("which app? Give it as sse_client(app), or have a fixture sse_app that returns it")
    return app if given is None else given
