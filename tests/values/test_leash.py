"""What may swallow its cancellation is let go of all the same."""

import asyncio

import pytest

from sse_edge.leash import SHOVES, leashed


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
