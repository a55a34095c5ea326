"""What channels are called in metrics."""

import pytest

from sse_edge import Channel, Source
from sse_edge.admission.labels import MOST
from sse_edge.admission.routes import Routes


async def ticks(request, identity, after):
    """A source."""
    yield "tick"


ROUTES = Routes(
    "/events",
    {
        "/events/orders/{order_id}": Channel("order:{order_id}", first=1),
        "/events/me": ["user:{user}", "news"],
        "/events/rooms/{room}/{seat}": "room:{room}:{seat}",
        "/events/some": lambda request: ["some"],
        "/events/clock": Source(ticks),
        "/events/clocks/{zone}": Source(ticks, channel="clock:{zone}"),
    },
)


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("order:7", "order:{order_id}"),
        ("order:7\nx", "order:{order_id}"),
        ("user:u42", "user:{user}"),
        ("news", "news"),
        ("room:a:7", "room:{room}:{seat}"),
        ("room:a", "(function)"),
        ("some", "(function)"),
        ("order:", "(function)"),
        ("order:7:8", "(function)"),
        ("clock:utc", "(function)"),
    ],
)
def test_channels(channel, expected):
    """A channel has its template's name, and what a function made is all one."""
    assert ROUTES.labels.channel(channel) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/events/clock", "/events/clock"), ("/events/clocks/utc", "/events/clocks/{zone}")],
)
def test_sources(path, expected):
    """A source has its path template's name."""
    assert ROUTES.labels.path(path) == expected


def test_all_are_known_from_the_start():
    """Each pattern has its series before the first stream."""
    assert ROUTES.labels.names == (
        "order:{order_id}", "user:{user}", "news", "room:{room}:{seat}", "(function)", "/events/clock",
        "/events/clocks/{zone}",
    )  # fmt: skip


def test_one_function_for_every_path():
    """Where a function names all channels there is one pattern."""
    labels = Routes("/events", lambda request: ["a"]).labels
    assert labels.names == ("(function)",)
    assert labels.channel("a") == "(function)"


def test_there_are_not_any_number():
    """What comes after so many templates shares a name."""
    labels = Routes("/events", {f"/events/{n}": f"c{n}" for n in range(3 * MOST)}).labels
    assert len(labels.names) == MOST + 1
    assert labels.channel("c0") == "c0"
    assert labels.channel(f"c{MOST}") == labels.channel(f"c{3 * MOST - 1}") == "(others)"
