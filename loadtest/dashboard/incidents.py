"""The servers that are recorded, who visits them, and what happens meanwhile."""

import contextlib
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import requests
from redis import Redis

from sse_edge import SyncPublisher
from sse_edge.errors import EdgeError

from ..client.swarm import Swarm
from ..client.target import Target
from ..report.progress import Progress
from ..site import programs
from ..site.deployment import Site
from .app import AUTH, SECRET, TOKENS

CLIENTS, SLEEPERS = 360, 20
END = 300.0  # seconds that all of it takes


class Servers(Site):
    """So many of ``sse-edge serve``, with ``processes`` each, and a Redis that keeps what it has."""

    def __init__(self, directory: Path, servers: int, processes: int = 1) -> None:
        super().__init__(directory)
        self.ports = [programs.free_port() for _ in range(servers)]
        self.targets = {f"web-{number}": port for number, port in enumerate(self.ports, 1)}
        """What Prometheus scrapes: name → port."""
        self._processes = processes

    def begin(self) -> None:
        """Start Redis, and a server on each port."""
        self.start_redis("--appendonly", "yes", "--save", "")
        for port in self.ports:
            options = ("--workers", str(self._processes), "--grace", "10")
            arguments = programs.edge_server(f"{__package__}.app:edge", port, *options)
            self.start("worker", arguments, port, BACKEND=self.redis)

    def swarm(self) -> Swarm:
        """Clients, none of them yet, who come back whenever their stream ends."""
        return Swarm(Visitors([f"http://localhost:{port}" for port in self.ports], SECRET), 0)


class Visitors(Target):
    """Any server, as a proxy would choose; half hear a room, a third prices, the rest their own events."""

    rooms = ("room:*", "price:*")

    def address(self, number: int) -> tuple[str, int]:
        """See ``Target``."""
        return random.choice(self.addresses)

    def path(self, number: int) -> str:
        """See ``Target``."""
        if number % 2:
            return f"/events/rooms/{number % 4}"
        return f"/events/prices/{number // 2 % 3}" if number % 3 else "/events/me"


def aside(call: Callable[..., object], *arguments: Any) -> None:
    """Call it in a thread: the clients go on meanwhile."""
    gevent.get_hub().threadpool.apply(call, arguments)


def ask(port: int, method: str, path: str, **given: Any) -> None:
    """One request, whatever is answered."""
    requests.request(method, f"http://127.0.0.1:{port}{path}", timeout=programs.STOPPING, **given)


def post(port: int, channel: str, token: str) -> None:
    """Publish over HTTP."""
    headers = {"Authorization": f"Bearer {token}"}
    ask(port, "POST", "/publish", json={"channel": channel, "data": "for you"}, headers=headers)


def publish(site: Servers, every: float) -> None:
    """Events for rooms and prices, and some over HTTP, until killed."""
    with SyncPublisher(site.redis) as publisher:
        for number in itertools.count():
            aside(_publish, site, publisher, number)
            gevent.sleep(every)


def _publish(site: Servers, publisher: SyncPublisher, number: int) -> None:
    channel = f"room:{number % 4}" if number % 3 else f"price:{number // 3 % 3}"
    with contextlib.suppress(EdgeError, requests.RequestException):  # what finds no Redis is lost
        publisher.publish(channel, "x" * random.randrange(20, 400))
        if number % 5 == 0:
            post(random.choice(site.ports), f"user:u{number % 60}", TOKENS.issue(["*"]))


def refused(site: Servers) -> None:
    """Requests that are refused, each for a reason of its own, a poll, and a message that is no event."""
    port = random.choice(site.ports)
    page = {"Accept": "text/event-stream", "Sec-Fetch-Site": "same-origin"}
    elsewhere = page | {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    user = {"session": AUTH.issue("u9")}
    ask(port, "GET", "/events/me", headers=page)
    ask(port, "GET", "/events/me", headers=elsewhere, cookies=user)
    ask(port, "GET", "/events/nowhere", headers=page, cookies=user)
    ask(port, "DELETE", "/events/me", headers=page, cookies=user)
    ask(port, "GET", "/events/me?poll", headers=page, cookies=user)
    post(port, "room:1", "no token of ours")
    with Redis.from_url(site.redis) as client:
        client.publish("sse:room:1", b"[1]")


def asleep(site: Servers, count: int, seconds: float) -> None:
    """So many clients of a room of their own that do not read what comes there, and it is much."""
    target = Target([f"http://localhost:{port}/events/rooms/asleep" for port in site.ports], SECRET)
    target.rooms, target.receive_buffer = Visitors.rooms, 4096
    sleepers = Swarm(target, 1)
    sleepers.add(count)
    with SyncPublisher(site.redis) as publisher:
        for _ in range(int(seconds * 10)):
            sleepers.stall(1.0)  # whoever is in by now
            publisher.publish("room:asleep", "z" * 20_000)
            gevent.sleep(0.1)
    sleepers.close()


def _come(site: Servers, crowd: Swarm) -> None:
    for _ in range(CLIENTS // 20):
        crowd.add(20)
        gevent.sleep(1)


def _strangers(site: Servers, crowd: Swarm) -> None:
    for _ in range(60):
        aside(refused, site)
        gevent.sleep(0.3)


def _away(site: Servers, crowd: Swarm) -> None:
    (redis,) = site.programs["Redis"]
    aside(redis.stop)
    gevent.sleep(5)
    crowd.add(20)
    gevent.sleep(40)
    aside(redis.start)


def _rolling(site: Servers, crowd: Swarm) -> None:
    for number, port in enumerate(site.ports):
        aside(ask, port, "POST", "/drain")  # while it still answers, as a hook before a stop does
        aside(site.restart, number)
        gevent.sleep(3)


INCIDENTS: tuple[tuple[float, str, Callable[[Servers, Swarm], object]], ...] = (
    (5, f"{CLIENTS} clients come", _come),
    (45, "all streams are cut at once", lambda site, crowd: crowd.drop()),
    (75, "strangers, and a message that is no event", _strangers),
    (115, f"{SLEEPERS} clients do not read", lambda site, crowd: asleep(site, SLEEPERS, 12)),
    (150, "Redis is away for 45 s", _away),
    (230, "a rolling restart, each drained first", _rolling),
)
"""When each begins, what it is, and how it is brought about."""


def happen(site: Servers, progress: Progress) -> None:
    """All of it."""
    crowd = site.swarm()
    publishing = gevent.spawn(publish, site, 0.05)
    happening = [gevent.spawn(gevent.sleep, END)]
    for at, words, incident in INCIDENTS:
        gevent.spawn_later(at, progress, words)
        happening.append(gevent.spawn_later(at, incident, site, crowd))
    gevent.joinall(happening, raise_error=True)
    publishing.kill()
    crowd.close()
    if crowd.loop.failure is not None:
        raise crowd.loop.failure
