"""What deploy/CLIENTS.md shows for services in Python: nothing is lost, nothing comes twice."""

import asyncio
import sys

import pytest

from apps.edge import AUTH
from clients.columns import CUTS
from clients.listening import Program
from clients.scene import HERE, Line
from sse_edge import Publisher

COOKIES = {"session": AUTH.issue("u42", ["order:*"])}
PATH = "/events/orders/7"
CHANNEL = "order:7"


class Numbers:
    """Publishes an event every 80 ms, until the last one: fewer than are kept while a service waits."""

    def __init__(self, url):
        self.publisher = Publisher(url)
        self.sent = []
        self._over = asyncio.Event()

    async def run(self):
        while not self._over.is_set():
            self.sent.append(f"event {len(self.sent)} {'x' * 40}")
            await self.publisher.publish(CHANNEL, self.sent[-1])
            await asyncio.sleep(0.08)
        self.sent.append("the last")
        await self.publisher.finish(CHANNEL, "the last")
        await self.publisher.aclose()

    def end(self):
        self._over.set()


@pytest.mark.parametrize(
    ("driver", "refusals"), [("with_httpx_sse.py", "status"), ("with_httpx_sse_async.py", "stream")]
)
async def test_nothing_is_lost_and_nothing_comes_twice(driver, refusals, serve_app, redis_url, connect):
    """A 429, cuts anywhere, another worker, planned ends: it has all of it once, and then it ends."""
    env = {"BACKEND": redis_url, "PER_USER": "1", "RETRY": "0.1", "REFUSALS": refusals}
    worker = serve_app("apps.edge:edge", server="sse-edge serve", env=env)
    line = Line(worker.port)
    await line.start()
    numbers = Numbers(redis_url)
    argument = {
        "url": line.url + PATH,
        "headers": {"Cookie": f"session={COOKIES['session']}"},
        "names": [],
        "lines": True,
        "place": await numbers.publisher.cursor(),
        "seconds": 50,
    }
    holder = await connect(worker.url + PATH, cookies=COOKIES)
    publishing = asyncio.create_task(numbers.run())
    service = Program("httpx-sse", "", command=(sys.executable, str(HERE / "python" / driver)))
    async with service.listening(argument) as listener:

        async def until(condition):
            assert await listener.until(condition, 20), (listener.lines[-5:], listener.why)

        async def until_it_goes_on():
            more = numbers.sent[-1]
            await until(lambda: any(event["data"] == more for event in listener.events))

        await until(lambda: worker.log.count("user-limit"))
        await holder.aclose()
        await until_it_goes_on()

        line.cuts = list(CUTS)
        line.cut()
        await until(lambda: not line.cuts)
        await until_it_goes_on()

        await asyncio.to_thread(worker.terminate)
        env["MAX_DURATION"] = "1"
        worker = serve_app("apps.edge:edge", server="sse-edge serve", env=env, port=worker.port)
        await until(lambda: worker.log.count("max-duration") >= 2)
        await until_it_goes_on()

        numbers.end()
        await publishing
        await until(lambda: listener.over)
        assert [event["data"] for event in listener.events] == numbers.sent
        assert not listener.raised
    await line.close()
