"""What a task waits for is ended from elsewhere, and where it may swallow its cancellation."""

import asyncio

import pytest

from sse_edge.leash import SHOVES, Leash, leashed


async def stubborn(seen, swallows):
    """Swallows whatever is thrown in, and waits on, so many times."""
    for _ in range(swallows):
        try:
            await asyncio.Event().wait()
        except BaseException as error:  # noqa: BLE001 - that is what it is for
            seen.append(type(error))
    return "done"


async def cancelled(task, times=1):
    """Cancel a task that waits, and let it have a turn each time."""
    for _ in range(times):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize("value", [1, None])
async def test_what_it_gives(value):
    """It is awaited as by ``await``: what it waits for, gives and raises is the same."""

    async def works():
        await asyncio.sleep(0.001)
        return value

    async def fails():
        await asyncio.sleep(0.001)
        raise ValueError("no")

    assert await leashed(works(), bool) is value
    with pytest.raises(ValueError, match="no"):
        await leashed(fails(), bool)


async def test_it_may_swallow_a_cancellation():
    """As long as it is not to be let go of, it goes on as it likes."""
    seen = []

    async def run():
        return await leashed(stubborn(seen, 3), lambda: False)

    task = asyncio.create_task(run())
    await cancelled(task, 3)
    assert await task == "done"
    assert seen == [asyncio.CancelledError] * 3


async def test_it_is_let_go_of():
    """Then whoever awaits it is cancelled, and it is told to end as often as it takes, or is worth it."""
    seen, over = [], False

    async def run():
        await leashed(stubborn(seen, SHOVES), lambda: over)

    task = asyncio.create_task(run())
    await cancelled(task)
    assert not task.done()
    over = True
    await cancelled(task)
    assert task.cancelled()
    assert seen == [asyncio.CancelledError] + [GeneratorExit] * (SHOVES - 1)


async def test_a_leash_is_pulled():
    """What is waited for inside is cancelled, and once however often it is pulled."""
    leash, seen = Leash(), []

    async def run():
        with leash:
            await stubborn(seen, 1)
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    for _ in range(2):
        leash.pull()
        await asyncio.sleep(0.001)
    assert (seen, task.done()) == ([asyncio.CancelledError], False)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("raises", [None, ValueError, asyncio.CancelledError])
async def test_a_leash_that_is_pulled_tells_nothing_else(raises):
    """What comes to its own end meanwhile is as if nobody had pulled; a cancellation is a time-out."""
    leash = Leash()

    async def run():
        with leash:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if raises is not None:
                    raise raises("its own") from None
        await asyncio.sleep(0.001)  # nobody is cancelled later
        return "went on"

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    leash.pull()
    expected = {None: "went on", ValueError: ValueError, asyncio.CancelledError: TimeoutError}[raises]
    if raises is None:
        assert await task == expected
    else:
        with pytest.raises(expected):
            await task
    assert leash.pulled


async def test_others_cancel_what_has_a_leash():
    """A cancellation that is not its own stays one, also together with its own."""
    for pulls in (False, True):
        leash = Leash()

        async def run(leash=leash):
            with leash:
                await asyncio.Event().wait()

        task = asyncio.create_task(run())
        await asyncio.sleep(0)
        if pulls:
            leash.pull()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_leash_that_nothing_is_on():
    """Before, after, and by who is out before it waits again, it is pulled for nothing."""
    leash = Leash()
    leash.pull()
    with leash:
        leash.pull()
    await asyncio.sleep(0.001)
    leash.pull()
    await asyncio.sleep(0.001)
    assert not leash.pulled
