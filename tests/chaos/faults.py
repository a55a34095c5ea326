"""Each fault: how it is caused, and how it is healed at the end of its time."""

import asyncio
import contextlib
import random

import redis

from .layouts import ask

FAULTS = {}


def fault(kind):
    """Enter a fault under its kind: an async context that causes it, and heals it at its end."""

    def enter(function):
        FAULTS[kind] = contextlib.asynccontextmanager(function)
        return function

    return enter


# Workers


def _worker(stage, about):
    return stage.workers[about.target % len(stage.workers)]


@fault("worker killed")
async def _kill_worker(stage, about):
    worker = _worker(stage, about)
    await asyncio.to_thread(worker.kill)
    yield worker.name
    await asyncio.to_thread(worker.start)


@fault("worker stopped")
async def _stop_worker(stage, about):
    worker = _worker(stage, about)
    worker.pause()
    yield worker.name
    worker.resume()


@fault("worker drained")
async def _drain_worker(stage, about):
    worker = _worker(stage, about)
    await asyncio.to_thread(worker.drain)
    yield worker.name
    await asyncio.to_thread(worker.start)


# Redis


async def _tell(server, *command, timeout=8.0):
    """One command; a server that is busy with another fault may not hear it."""
    with contextlib.suppress(redis.RedisError):
        return await asyncio.to_thread(ask, server, *command, timeout=timeout)


async def _server(stage, about):
    return await asyncio.to_thread(stage.layout.server_of, about.target)


@fault("redis killed")
async def _kill_redis(stage, about):
    server = await _server(stage, about)
    await asyncio.to_thread(server.kill)
    yield ""
    await asyncio.to_thread(server.start)


@fault("redis restarted")
async def _restart_redis(stage, about):
    server = await _server(stage, about)
    await asyncio.to_thread(server.stop)
    yield ""
    await asyncio.to_thread(server.start)


@fault("redis emptied")
async def _empty_redis(stage, about):
    server = await _server(stage, about)
    await asyncio.to_thread(server.kill)
    yield ""
    await asyncio.to_thread(lambda: server.restart(keep_data=False))


@fault("redis flushed")
async def _flush_redis(stage, about):
    await _tell(await _server(stage, about), "FLUSHALL")
    yield ""


async def _pause_redis(stage, about):
    server = await _server(stage, about)
    server.pause()
    yield ""
    server.resume()


fault("redis stopped")(_pause_redis)
fault("redis blinks")(_pause_redis)


@fault("pubsub clients killed")
async def _kill_pubsub(stage, about):
    await _tell(await _server(stage, about), "CLIENT", "KILL", "TYPE", "pubsub")
    yield ""


@fault("normal clients killed")
async def _kill_normal(stage, about):
    await _tell(await _server(stage, about), "CLIENT", "KILL", "TYPE", "normal")
    yield ""


@fault("debug sleep")
async def _debug_sleep(stage, about):
    await _tell(await _server(stage, about), "DEBUG", "SLEEP", about.seconds, timeout=about.seconds + 5)
    yield ""


@fault("long scripts")
async def _long_scripts(stage, about):
    script = "local t = os.clock() repeat until os.clock() - t > tonumber(ARGV[1])"
    for _ in range(2):
        await _tell(
            await _server(stage, about), "EVAL", script, 0, about.seconds, timeout=about.seconds * 4 + 5
        )
    yield ""


@fault("scripts flushed")
async def _flush_scripts(stage, about):
    await _tell(await _server(stage, about), "SCRIPT", "FLUSH")
    yield ""


@fault("memory full")
async def _fill_memory(stage, about):
    server = await _server(stage, about)
    await _tell(server, "CONFIG", "SET", "maxmemory", 1)
    yield ""
    # Until it is done: nothing else heals it.
    while await _tell(server, "CONFIG", "SET", "maxmemory", 0) is None:
        await asyncio.sleep(0.1)


@fault("failover")
async def _fail_over(stage, about):
    heal = await asyncio.to_thread(stage.layout.fail_over, about.target)
    yield ""
    await asyncio.to_thread(heal)


@fault("slot moved")
async def _move_slot(stage, about):
    await asyncio.to_thread(stage.layout.move_slot, about.target)
    yield ""


# Lines


def _line(stage, about):
    """A worker's line, or the publishers'."""
    number = about.target % len(stage.layout.lines)
    name = f"of w{number}" if number < len(stage.workers) else "of the publishers"
    return stage.layout.lines[number], name


@fault("line cut")
async def _cut(stage, about):
    line, name = _line(stage, about)
    line.cut()
    yield name


@fault("line cut often")
async def _cut_often(stage, about):
    line, name = _line(stage, about)
    chance = random.Random(about.at)

    async def go_on():
        while True:
            line.cut(**chance.choice(({}, {"pubsub": False}, {"commands": False})))
            await asyncio.sleep(chance.uniform(0.02, 0.4))

    cutting = asyncio.create_task(go_on())
    yield name
    cutting.cancel()
    await asyncio.wait([cutting])


@fault("line refuses")
async def _refuse(stage, about):
    line, name = _line(stage, about)
    line.refusing = True
    line.cut()
    yield name
    line.refusing = False


@fault("line holds requests")
async def _hold_requests(stage, about):
    line, name = _line(stage, about)
    line.stall(requests=True)
    yield name
    line.resume()


@fault("line holds replies")
async def _hold_replies(stage, about):
    line, name = _line(stage, about)
    line.stall(replies=True)
    yield name
    line.resume()


@fault("line dead silently")
async def _strand(stage, about):
    line, name = _line(stage, about)
    line.strand()
    yield name


@fault("line slow")
async def _slow(stage, about):
    line, name = _line(stage, about)
    line.delay = random.Random(about.at).uniform(0.05, 0.4)
    yield name
    line.delay = 0.0


@fault("line slow and cut")
async def _slow_and_cut(stage, about):
    """While it is slow, a worker takes up all of its channels again and again, and clients crowd there."""
    line, name = _line(stage, about)
    chance = random.Random(about.at)
    line.delay = chance.uniform(0.1, 0.5)
    if about.target < len(stage.workers):
        stage.crowded = stage.workers[about.target]

    async def go_on():
        while True:
            line.cut(commands=False)
            await asyncio.sleep(chance.uniform(0.5, 2.5))

    cutting = asyncio.create_task(go_on())
    yield name
    cutting.cancel()
    await asyncio.wait([cutting])
    line.delay, stage.crowded = 0.0, None
