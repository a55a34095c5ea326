"""What will happen, from the seed alone: settings, channels, who listens and publishes, and the faults."""

import random
from typing import NamedTuple

LAYOUTS = ("single", "partitions", "cluster", "sentinel")

WORKERS = 3
CLIENTS = 60
PUBLISHERS = 12
WATCHERS = 15
LINES = 5

CHANNELS = {"busy": 4, "some": 4, "quiet": 4, "few": 36}
"""How many there are of each: those with much and with some traffic, those with one event in ten seconds,
and those that few listen to, so that a worker takes them up and lets go of them all the time."""

BEGIN = 2.0
"""Seconds before the first fault: everybody is there by then."""


class Kind(NamedTuple):
    """A kind of fault: for how many seconds at least and at most, and whether data may be lost by it
    although Redis is told to keep it (``durable``), or only where it is not."""

    lane: str
    least: float
    most: float
    loses: str = ""


ALWAYS, UNLESS_DURABLE = "always", "unless durable"

KINDS = {
    "worker killed": Kind("workers", 0.2, 3),
    "worker stopped": Kind("workers", 0.3, 7),
    "worker drained": Kind("workers", 0.1, 2),
    "redis killed": Kind("redis", 0.1, 3, UNLESS_DURABLE),
    "redis restarted": Kind("redis", 0.1, 2, UNLESS_DURABLE),
    "redis stopped": Kind("redis", 0.3, 6),
    "redis emptied": Kind("redis", 0.1, 2, ALWAYS),
    "redis flushed": Kind("redis", 0.1, 0.2, ALWAYS),
    "pubsub clients killed": Kind("redis", 0.1, 0.5),
    "normal clients killed": Kind("redis", 0.1, 0.5),
    "debug sleep": Kind("redis", 0.5, 3),
    "long scripts": Kind("redis", 0.5, 2),
    "scripts flushed": Kind("redis", 0.1, 0.2),
    "memory full": Kind("redis", 1, 4),
    "redis blinks": Kind("redis", 0.1, 0.4),
    "failover": Kind("redis", 1, 3, ALWAYS),
    "slot moved": Kind("redis", 0.5, 1, ALWAYS),
    "line cut": Kind("lines", 0.1, 0.3),
    "line cut often": Kind("lines", 1, 3),
    "line refuses": Kind("lines", 0.5, 4),
    "line holds requests": Kind("lines", 0.3, 5),
    "line holds replies": Kind("lines", 0.3, 5),
    "line dead silently": Kind("lines", 0.1, 0.5),
    "line slow": Kind("lines", 1, 4),
    "line slow and cut": Kind("lines", 3, 6),
}

_MOVING = (
    "redis blinks",
    "pubsub clients killed",
    "scripts flushed",
    "memory full",
    "failover",
)
_STILL = (
    "redis killed",
    "redis restarted",
    "redis stopped",
    "redis emptied",
    "redis flushed",
    "pubsub clients killed",
    "normal clients killed",
    "debug sleep",
    "long scripts",
    "scripts flushed",
    "memory full",
)
DECKS = {
    "single": {"redis": _STILL},
    "partitions": {"redis": _STILL},
    "cluster": {"redis": (*_MOVING, "normal clients killed", "redis flushed", "slot moved")},
    "sentinel": {"redis": _MOVING},
}
"""The faults of a layout's Redis.  Where others take over from a server that is silent, it is not made
silent for longer than they bear, and the sentinels' own connections are left alone: what a primary
takes that was given up by the others is lost, and by Redis's own rules unsaid."""

PAUSES = {"redis": (1.0, 4.0), "workers": (1.0, 4.0), "lines": (0.5, 3.0)}
"""Seconds between two faults of a lane, which come one after the other; those of two lanes overlap."""


class Settings(NamedTuple):
    """How the edge is set, and its Redis; ``loses`` is whether data may be lost at all, and ``calm`` whether
    little is published: what goes missing between two events shows where no third follows at once."""

    partitions: int
    history: int
    history_ttl: float
    durable: bool
    loses: bool
    accepts_blindly: bool
    calm: bool
    timeout: float = 2.0


class Fault(NamedTuple):
    """What befalls whom when, in seconds since the beginning, and for how long."""

    at: float
    kind: str
    target: int
    seconds: float

    @property
    def lane(self):
        """Faults of one lane come one after the other."""
        return KINDS[self.kind].lane

    def loses(self, durable):
        """Whether data may be lost by it."""
        return KINDS[self.kind].loses == ALWAYS or (KINDS[self.kind].loses == UNLESS_DURABLE and not durable)


class Role(NamedTuple):
    """A client: after how many bytes it breaks off (None: never), how long it stays away, how likely it
    comes back for other channels, and how likely it leaves for good and another comes, for others too."""

    name: str
    budget: tuple[int, int] | None
    away: tuple[float, float]
    changes: float
    leaves: float
    channels: tuple[str, ...]


class Desk(NamedTuple):
    """A publisher: its channels, seconds between two events, and how it goes about it."""

    name: str
    channels: tuple[str, ...]
    pause: float
    deduped: bool
    many: bool
    breaks: bool


class Plan(NamedTuple):
    """All that is decided beforehand."""

    seed: int
    layout: str
    seconds: float
    settings: Settings
    channels: tuple[str, ...]
    roles: tuple[Role, ...]
    watchers: tuple[Role, ...]
    desks: tuple[Desk, ...]
    faults: tuple[Fault, ...]

    def chance(self, *name):
        """A source of chance of its own for whoever is called so."""
        return random.Random(":".join(map(str, (self.seed, self.layout, *name))))

    def draw(self, chance):
        """Channels for one stream: one to six, as many of those that few listen to as of the busy ones."""
        drawn = {
            f"{kind}-{chance.randrange(CHANNELS[kind])}"
            for kind in chance.choices(tuple(CHANNELS), k=chance.randint(1, 6))
        }
        return tuple(sorted(drawn))

    @property
    def again(self):
        """The command that plays it again."""
        return f"make chaos SEED={self.seed} MINUTES={self.seconds / 60:g} LAYOUT={self.layout}"


def make_plan(seed, layout, seconds):
    """The plan of a seed for one of LAYOUTS.  A longer one begins with the same faults."""
    if layout not in LAYOUTS:
        raise ValueError(f"no such layout: {layout}; there are {', '.join(LAYOUTS)}")
    plan = Plan(seed, layout, seconds, _settings(seed, layout), (), (), (), (), ())
    plan = plan._replace(
        channels=tuple(f"{kind}-{number}" for kind, count in CHANNELS.items() for number in range(count))
    )
    return plan._replace(
        roles=tuple(_role(plan, number) for number in range(CLIENTS)),
        watchers=tuple(_watcher(plan, number) for number in range(WATCHERS)),
        desks=tuple(_desks(plan)),
        faults=tuple(sorted(fault for lane in PAUSES for fault in _lane(plan, lane))),
    )


def _settings(seed, layout):
    """Every third seed loses no data, each fourth keeps little, and another fourth is calm."""
    still = layout in ("single", "partitions")
    loses = not still or seed % 3 != 1
    durable = still and seed % 3 != 0
    little = seed % 4 == 3
    return Settings(
        partitions=1 if layout in ("single", "sentinel") else 3,
        history=60 if little else 20_000,
        history_ttl=10.0 if little else 300.0,
        durable=durable,
        loses=loses,
        accepts_blindly=seed % 5 == 4,
        calm=seed % 4 == 1,
    )


def _role(plan, number):
    chance = plan.chance("role", number)
    kind = ("steady", "cut", "cut", "restless", "sleepy", "passing")[number % 6]
    budget, away, changes, leaves = {
        "steady": (None, (0.01, 0.3), 0.0, 0.0),
        "cut": ((100, 6_000), (0.0, 0.2), 0.0, 0.0),
        "restless": ((500, 20_000), (0.0, 1.0), 0.5, 0.0),
        "sleepy": ((2_000, 20_000), (1.0, 15.0), 0.1, 0.0),
        "passing": ((300, 5_000), (0.0, 0.3), 0.0, 0.7),
    }[kind]
    # One in ten hears nothing for long.
    channels = ("quiet-0", "quiet-1") if number % 10 == 0 else plan.draw(chance)
    return Role(f"{kind}-{number}", budget, away, changes, leaves, channels)


def _watcher(plan, number):
    """One in three is never cut off by itself."""
    budget = None if number % 3 == 0 else (200, 3_000)
    return Role(f"watcher-{number}", budget, (0.0, 0.5), 0.0, 0.0, ())


def _desks(plan):
    """Twelve publishers, one on each channel but those of few; and others besides it on most."""
    pauses = {"busy": 0.5, "some": 1.0, "quiet": 10.0}
    if not plan.settings.calm:
        pauses.update(busy=0.03, some=0.3)
    for number, channel in enumerate(plan.channels[:PUBLISHERS]):
        chance = plan.chance("desk", number)
        kind, _, which = channel.partition("-")
        few = [f"few-{each}" for each in range(number, CHANNELS["few"], 8)]
        others = {"busy": [f"some-{which}", *few], "some": [f"busy-{which}", *few], "quiet": []}[kind]
        yield Desk(
            name=f"p{number}",
            channels=(*[channel] * 5, *others),
            pause=pauses[kind],
            deduped=number % 2 == 0,
            many=number % 4 == 3 and kind != "quiet",
            breaks=chance.random() < 0.5 or kind == "quiet",
        )


def _lane(plan, lane):
    """The faults of one lane: a shuffled deck, again and again."""
    chance = plan.chance("lane", lane)
    deck = DECKS[plan.layout].get(lane) or [kind for kind, about in KINDS.items() if about.lane == lane]
    if lane == "lines" and plan.layout in ("cluster", "sentinel"):
        return  # their servers say themselves where they are to be reached
    at, left = BEGIN + chance.uniform(0, 2), []
    while True:
        if not left:
            left = [kind for kind in deck if plan.settings.loses or not _loses(kind, plan.settings)]
            chance.shuffle(left)
        kind = left.pop()
        seconds = chance.uniform(KINDS[kind].least, KINDS[kind].most)
        if at + seconds > plan.seconds:
            return
        yield Fault(round(at, 2), kind, chance.randrange(WORKERS + 1), round(seconds, 2))
        at += seconds + chance.uniform(*PAUSES[lane])


def _loses(kind, settings):
    return Fault(0.0, kind, 0, 0.0).loses(settings.durable)
