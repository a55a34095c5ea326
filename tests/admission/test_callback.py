import asyncio
import functools
import threading

import pytest

from sse_edge import Anonymous, Channel, SSEMiddleware
from sse_edge.admission.callback import callback
from sse_edge.cookies import StarletteSession
from sse_edge.errors import ConfigError
from sse_edge.tokens import BearerJWT

SECRET = "a secret of the tests that is long enough"


def edge(**settings):
    return SSEMiddleware(**{"auth": Anonymous(), "channels": {"/events/x": "news"}, **settings})


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
    """An async function takes no thread."""
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


def generator(*args):
    yield args


async def async_generator(*args):
    yield args


class Generator:
    def __call__(self, *args):
        yield args


class Verifies:
    def __init__(self, function):
        self.verify = self.identify = function
        self.blocking = False


@pytest.mark.parametrize(
    "function",
    [generator, async_generator, Generator(), functools.partial(async_generator, 1)],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    ("field", "asks"),
    [
        ("greeting", lambda function: Channel("news", greeting=function)),
        ("channels", lambda function: edge(channels=function)),
        ("channels", lambda function: edge(channels={"/events/x": function})),
        ("authorize", lambda function: edge(authorize=function)),
        ("auth", lambda function: edge(auth=Verifies(function))),
        ("publish_auth", lambda function: edge(publish_path="/publish", publish_auth=Verifies(function))),
        ("user", lambda function: StarletteSession(SECRET, user=function)),
        ("session", lambda function: StarletteSession(SECRET, user="user", session=function)),
        ("channels", lambda function: StarletteSession(SECRET, user="user", channels=function)),
        ("user", lambda function: BearerJWT(SECRET, algorithms=["HS256"], user=function)),
    ],
)
def test_a_generator_is_no_answer(field, asks, function):
    """Wherever one answer is wanted it is refused at once, with what is wanted."""
    with pytest.raises(ConfigError, match="must return its answer, and not yield") as caught:
        asks(function)
    assert caught.value.field == field
