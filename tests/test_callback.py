import asyncio
import functools
import threading

import pytest

from sse_edge.admission.callback import callback
from sse_edge.errors import ConfigError


def sync(a, b):
    """A plain function that tells where it ran."""
    return (a, b, threading.current_thread() is threading.main_thread())


async def coroutine(a, b):
    """The same, async."""
    await asyncio.sleep(0)
    return (a, b, threading.current_thread() is threading.main_thread())


def returns_coroutine(a, b):
    """A plain function whose answer has to be awaited."""
    return coroutine(a, b)


class Sync:
    func = "asgiref must not trip over an attribute of this name"

    def __call__(self, a, b):
        return sync(a, b)

    def method(self, a, b):
        return sync(a, b)


class Async:
    async def __call__(self, a, b):
        return await coroutine(a, b)

    async def method(self, a, b):
        return await coroutine(a, b)


@pytest.mark.parametrize(
    ("function", "in_loop"),
    [
        (sync, False),
        (Sync(), False),
        (Sync().method, False),
        (functools.partial(sync), False),
        (coroutine, True),
        (Async(), True),
        (Async().method, True),
        (functools.partial(coroutine), True),
        (functools.partial(Async()), True),
        (returns_coroutine, True),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_any_kind_of_function(function, in_loop):
    """Every kind of callable is answered: sync ones from a thread, async ones on the loop."""
    assert await callback("field", function)(1, 2) == (1, 2, in_loop)


@pytest.mark.parametrize(
    "function",
    [coroutine, Async(), Async().method, functools.partial(coroutine)],
    ids=lambda value: type(value).__name__,
)
async def test_async_functions_need_no_thread(function, monkeypatch):
    """An async function does not wait for the one sync thread."""
    monkeypatch.delattr("sse_edge.admission.callback.sync_to_async")
    assert await callback("field", function)(1, 2) == (1, 2, True)


@pytest.mark.parametrize("function", [None, "name", 1, []])
def test_not_callable(function):
    """What cannot be called is refused at construction."""
    with pytest.raises(ConfigError, match="field: must be callable"):
        callback("field", function)


async def test_sync_function_does_not_block_the_loop():
    """A slow sync function leaves the loop free."""
    free = threading.Event()
    asyncio.get_running_loop().call_later(0.01, free.set)
    assert await callback("field", lambda: free.wait(5))() is True


@pytest.mark.parametrize("error", [KeyError("x"), PermissionError("no")])
async def test_exception_passes_through(error):
    """What the application raises reaches the caller as it is."""

    def fail():
        raise error

    with pytest.raises(type(error)):
        await callback("field", fail)()


async def test_bare_next_does_not_hang():
    """StopIteration out of a sync function is an error, not a request that waits for ever."""
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(callback("field", lambda: next(iter(())))(), 5)
