"""Protocol abuse over real sockets, of a worker itself and through both proxies with the shipped files.

While it lasts others are served as stated in ``servers.witness``, and afterwards all is as it was before:
after the same again too, or else a little of it stays each time.  With ``--heavy`` there is up to ten
times as much of it, and everywhere.
"""

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path

import pytest

import sse_edge
from apps import edge
from apps.chaos import AUTH
from servers import abuser
from servers.processes import TESTS, Processes, free_port
from servers.proxies import PROXIES
from servers.redis import RedisServer
from servers.sse import get
from servers.witness import Ledger, Witness, rest, settle
from sse_edge import Publisher

SETTINGS = {
    "keep_alive": 1.0,
    "max_unsent": 300_000,
    "max_unsent_age": 1.0,
    "trusted_proxies": ["127.0.0.1/32"],
}
IDLE = {"nginx": 2 * 32, "caddy": 32, "hypercorn": 10}
"""Connections to the worker that a proxy may keep for later requests, and a server after their end."""

POOLED = 2
"""Connections to Redis that a worker opens when it asks more at a time than before, and keeps.  What an abuse
would leave is as many as came."""

OTHERS = {
    "hypercorn": lambda port: (
        [sys.executable, "-m", "hypercorn", "--keep-alive", 1],
        ["--bind", f"127.0.0.1:{port}"],
    ),
    "granian": lambda port: (
        [sys.executable, "-m", "granian", "--interface", "asgi"],
        ["--host", "127.0.0.1", "--port", port],
    ),
}
"""Other servers: the command before the app and after it."""

HEAD = 2
"""Seconds for a head to come, at a worker; both proxies have 10."""

GROWTH = 16_000_000
"""Bytes by which a first abuse may make a worker larger: buffers and tables that it did not need before.
Twice as much where there is much of it."""

TAKES_WHOLE = 256_000_000
"""Bytes that hypercorn grows by where there is much: it takes what clients send as it comes."""

AGAIN = 8_000_000
"""Bytes by which the same abuse, again, may: what the allocator does with it."""

FREE = 3.0
"""Seconds within which a slot must be free again that should be at once."""

addresses = (f"127.0.{high}.{low}" for high, low in itertools.product(range(1, 250), range(1, 250)))


class Worker:
    """A process of ``apps.chaos`` on its own port."""

    def __init__(self, process, port):
        self.process = process
        self.port = port
        self.fresh = True

    async def introspect(self):
        """See ``apps.chaos``."""
        return json.loads((await get(f"http://127.0.0.1:{self.port}/introspect", timeout=30)).body)

    async def slow(self):
        """How many of its streams have ended as slow."""
        return (await self.introspect())["figures"]["endings"].get("slow", 0)


class Arena:
    """Workers on a Redis of their own, and proxies in front of the first; each begins when it is needed."""

    def __init__(self, directory, certificate):
        self._directory = directory
        self._certificate = certificate
        self._processes = Processes()
        self._workers = {}
        self._proxies = {}
        self.redis = RedisServer()

    def worker(self, kind="direct"):
        """Kinds are those of ``FRONTS``; behind a proxy is the one of ``direct``."""
        kind = "direct" if kind in PROXIES else kind
        if kind not in self._workers:
            port = free_port()
            command = [Path(sys.executable).with_name("sse-edge"), "serve", "--app-dir", TESTS]
            command += ["--head-timeout", HEAD]
            if kind == "h11":
                command = [sys.executable, "-m", "uvicorn", "--http", "h11", "--app-dir", TESTS]
            listen = ["--port", port]
            if kind in OTHERS:
                command, listen = OTHERS[kind](port)
            process = self._processes.serve(
                [*command, "apps.chaos:edge", *listen], port=port, env=self._env(kind)
            )
            self._workers[kind] = Worker(process, port)
        return self._workers[kind]

    def _env(self, kind):
        self.redis.start()
        chaos = {"url": self.redis.url, "backend": {"history": 100}, "edge": SETTINGS}
        path = [str(TESTS), str(Path(sse_edge.__path__[0]).parent), os.environ.get("PYTHONPATH", "")]
        return {
            "CHAOS": json.dumps(chaos),
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "PYTHONUNBUFFERED": "1",
            "SSE_EDGE_SINK": "task" if kind == "task" else "auto",
        }

    def front(self, kind, publisher):
        """A front for one test."""
        worker, proxy = self.worker(kind), self._proxy(kind)
        return abuser.Front(
            proxy.port if proxy else worker.port,
            next(addresses),
            cookie=AUTH.issue,
            slow=worker.slow,
            publish=publisher.publish,
            authority=proxy and proxy.authority,
            hears=kind in ("direct", "h11"),
            # Elsewhere megabytes wait in kernels before the worker can know of it.
            piece=2000 if kind == "direct" else 100_000,
            head_seconds=HEAD if kind == "direct" else 10,
        )

    def _proxy(self, kind):
        if kind in PROXIES and kind not in self._proxies:
            upstream = [f"127.0.0.1:{self.worker().port}"]
            proxy = PROXIES[kind](self._directory(kind), self._certificate, upstream, {})
            proxy.start(self._processes.serve)
            self._proxies[kind] = proxy
        return self._proxies.get(kind)

    def close(self):
        """End everything."""
        self._processes.close()
        self.redis.close()


@pytest.fixture(scope="module")
def arena(certificate, tmp_path_factory):
    arena = Arena(tmp_path_factory.mktemp, certificate)
    try:
        yield arena
    finally:
        arena.close()


@pytest.fixture
async def publisher(arena):
    arena.redis.start()
    async with Publisher(arena.redis.url) as publisher:
        yield publisher


@pytest.fixture
def heavy(request):
    """Whether there is to be much of it."""
    return request.config.getoption("--heavy")


EVERYWHERE = ["direct", "nginx", "caddy"]
ON_EACH_SINK = ["direct", "h11", "task", "nginx", "caddy"]
ABUSES = {
    abuser.connects_and_closes: (1000, 10_000, EVERYWHERE),
    abuser.asks_and_leaves: (200, 2000, EVERYWHERE),
    abuser.asks_for_nothing: (400, 4000, EVERYWHERE),
    abuser.says_more: (20, 100, ON_EACH_SINK),
    abuser.closes_its_side: (20, 100, ON_EACH_SINK),
    abuser.reads_nothing: (4, 20, [*EVERYWHERE, "task"]),
    abuser.sends_bodies: (20, 200, EVERYWHERE),
    abuser.resets_rapidly: (1000, 10_000, ["nginx", "caddy"]),
    abuser.never_sends: (20, 200, EVERYWHERE),
    abuser.floods_heads: (8, 80, EVERYWHERE),
}
"""Each abuse with how much of it, how much with ``--heavy``, and where."""

AT_OTHERS = {
    abuser.asks_and_leaves: (100, 2000),
    abuser.asks_for_nothing: (100, 2000),
    abuser.closes_its_side: (10, 100),
    abuser.says_more: (10, 100),
    abuser.reads_nothing: (2, 20),
    abuser.sends_bodies: (20, 200),
}
"""What is tried on each of OTHERS; what they do not bound themselves is in deploy/README.md."""

THEIR_OWN = [("hypercorn", abuser.says_more)]
"""Of each request that waits behind another when its client leaves, hypercorn keeps a task for good."""

LONG = [abuser.never_sends]
"""Lasts as long as a proxy waits for a head.  Once is enough, unless it is to be heavy."""


def short_of(abuse):
    """Where it is tried without ``--heavy``: at the worker itself, unless a proxy is to bear it."""
    return "nginx" if abuse in (abuser.never_sends, abuser.resets_rapidly) else "direct"


AT_ONCE = ["direct", "h11", "task"]
"""Where it comes again in any case: a little that stays each time stays in the worker."""


@pytest.mark.live
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("abuse", "kind"),
    [
        pytest.param(abuse, kind, marks=[] if kind == short_of(abuse) else [pytest.mark.heavy])
        for abuse, (_, _, fronts) in ABUSES.items()
        for kind in fronts
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_ends_where_it_began(arena, publisher, heavy, abuse, kind):
    """Others are served meanwhile, and nothing of it is left in the worker; not more after the same again,
    through a proxy where it is heavy.
    """
    front, worker = arena.front(kind, publisher), arena.worker(kind)
    count = ABUSES[abuse][1 if heavy else 0]

    async def look():
        return await Ledger.of(worker, arena.redis)

    if worker.fresh:  # what it begins with its first stream, it keeps
        async with Witness(front):
            worker.fresh = False
    before = await rest(look)
    twice = heavy or (kind in AT_ONCE and abuse not in LONG)
    for again in (False, True) if twice else (False,):
        async with Witness(front) as witness:
            await abuse(front, count)
        # Channels stay subscribed for a while after everybody has left: that is seen in the end.
        first = 2 * GROWTH if heavy else GROWTH
        allowed = {"descriptors": POOLED + IDLE.get(kind, 0), "memory": AGAIN if again else first}
        after = await settle(look, before, **allowed, **({} if again else {"subscriptions": 2}))
        print(f"{abuse.__name__} {kind} {count}: {witness}\n    {before}\n    {after}")
        before = before._replace(memory=after.memory)
    assert "Traceback" not in worker.process.log


@pytest.mark.live
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.heavy) for kind in OTHERS])
async def test_other_servers(arena, publisher, heavy, kind):
    """One abuse after the other, while others are served: in the end there is no more than before."""
    front, worker = arena.front(kind, publisher), arena.worker(kind)

    async def look():
        return await Ledger.of(worker, arena.redis)

    async with Witness(front):
        pass
    before = await rest(look)
    # Several at once.  Where there is much, the third time shows whether a little of it stays each time.
    for growth in (TAKES_WHOLE, TAKES_WHOLE, GROWTH) if heavy else (2 * GROWTH,):
        async with Witness(front) as witness:
            for abuse, counts in AT_OTHERS.items():
                if (kind, abuse) not in THEIR_OWN:
                    await abuse(front, counts[1 if heavy else 0])
        after = await settle(look, before, descriptors=POOLED + IDLE.get(kind, 0), memory=growth)
        print(f"{kind}: {witness}\n    {before}\n    {after}")
        before = before._replace(memory=after.memory)
    assert "Traceback" not in worker.process.log


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_a_second_request_frees_the_slot(serve_app, redis_url, connect, http):
    """Whoever sends another request behind that of an open stream has left: a user's only slot is free."""
    env = {"BACKEND": redis_url, "PER_USER": "1", "REFUSALS": "status", "SSE_EDGE_SINK": "auto"}
    process = serve_app("apps.edge:edge", env=env, options=["--http", http])
    url, session = f"{process.url}/events/me", {"session": edge.AUTH.issue("u")}
    client = await connect(url, cookies=session)
    for _ in range(3):
        assert (await get(url, cookies=session)).status == 429
        client.send(b"GET /events/me HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(FREE):
            while not client.closed:
                await asyncio.sleep(0.005)
            while (client := await connect(url, cookies=session)).status != 200:
                await asyncio.sleep(0.005)
