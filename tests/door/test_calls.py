"""What the package does for a stream and for an event, counted in calls: what is dearer is seen at once.

Not in time: a machine has other things to do.  Python 3.11 makes the most of them.
"""

import collections
import logging
import sys
from pathlib import Path

import pytest

from sse_edge import Event, Publisher, tracing, worker

STREAMS, EVENTS = 20, 10
HERE = str(Path(tracing.__file__).parent)


@pytest.fixture
def calls(monkeypatch):
    """``with calls as made`` counts calls of the package's own functions, by name.

    Nothing is traced or logged meanwhile, nor is the server looked for.
    """
    monkeypatch.setattr(worker, "LOOKS", ())
    monkeypatch.setattr(tracing, "tracer", lambda: None)
    monkeypatch.setattr(logging.getLogger("sse_edge"), "level", logging.WARNING)
    monkeypatch.setattr(logging.getLogger("sse_edge.access"), "level", logging.WARNING)

    class Calls:
        def __enter__(self):
            self.made = collections.Counter()
            self.before = sys.getprofile()
            sys.setprofile(self.note)
            return self.made

        def __exit__(self, *raised):
            sys.setprofile(self.before)

        def note(self, frame, event, argument):
            if event == "call" and frame.f_code.co_filename.startswith(HERE):
                self.made[frame.f_code.co_qualname] += 1

    return Calls()


async def test_a_stream_comes_and_goes(edge, listen, calls):
    """To let one in whose cookie was seen before, and to let go of it, takes no more calls than it did."""
    middleware = edge()

    async def come():
        client = await listen(middleware, session="s")
        await client.close()

    await come()
    with calls as made:
        for _ in range(STREAMS):
            await come()
    assert made.total() / STREAMS < 245, made.most_common()


async def test_an_event_is_given(edge, listen, calls):
    """To give an event to each stream of a channel takes no more calls than it did."""
    middleware = edge()
    clients = [await listen(middleware, f"u{number}") for number in range(STREAMS)]
    publisher = Publisher(middleware.backend)
    with calls as made:
        for number in range(EVENTS):
            id = await publisher.publish("news", Event(f"{number}"))
            for client in clients:
                await client.wait_for(id.encode())
    assert made.total() / STREAMS / EVENTS < 16, made.most_common()
