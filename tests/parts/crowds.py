"""Clients in number, and what became of them."""

import random

CHANNELS = ["a", "b", "c", "d", "e"]


async def crowd(fleet, *workers, count=6, seed=1, channels=CHANNELS, **options):
    """``count`` open clients, spread over the workers, each on some of the channels."""
    rng = random.Random(seed)
    for n in range(count):
        some = channels if n < len(workers) else rng.sample(channels, rng.randrange(1, len(channels) + 1))
        fleet.listener(workers[n % len(workers)], some, **options)
    await fleet.opened()
    return fleet.listeners


def sizes(seed, least, most):
    """A client's budget: a random number of bytes for each connection."""
    rng = random.Random(seed)
    return lambda: rng.randrange(least, most)


def stayed_open(listeners):
    """Whether no client ever had to connect again."""
    return all(listener.connections == 1 and not listener.closings for listener in listeners)


async def keep_alives(listeners, more=2, timeout=5):
    """Wait until each client has got ``more`` comments."""
    for listener in listeners:
        await listener.until(lambda it=listener, goal=listener.comments + more: it.comments >= goal, timeout)
