"""Which requests are polls, and how long they wait: a table."""

import pytest

from sse_edge.admission.polling import LONGEST, Polling, is_poll, malformed
from sse_edge.asgi import Request
from sse_edge.errors import ConfigError

STREAM = "text/event-stream"


def asking(query=b"", *accept):
    """A request with these Accept headers."""
    headers = tuple((b"accept", each.encode()) for each in accept)
    return Request("GET", "/events/me", headers, query_string=query)


@pytest.mark.parametrize(
    ("query", "accept", "wait"),
    [
        (b"", [], None),
        (b"", [STREAM], None),
        (b"", ["*/*"], None),
        (b"", ["application/json"], 25),
        (b"", ["text/html, application/json ;q=0.9"], 25),
        (b"", ["application/jsonx"], None),
        (b"", ["Application/JSON;q=0.9, */*;q=0.1"], 25),
        (b"", ["application/json, " + STREAM], None),
        (b"", ["application/json", STREAM], None),
        (b"poll", [STREAM], 25),
        (b"poll=", [STREAM], 25),
        (b"poll=0", [], 0),
        (b"poll=2.5", [], 2.5),
        (b"poll=59", [], 59),
        (b"poll=100000", [], LONGEST),
        (b"a=1&poll=3&b=2", [], 3),
        (b"poll=3&poll=4", [], 3),
        (b"polls=3", [], None),
        (b"apoll=3", [], None),
        (b"a=poll", [], None),
        (b"x&poll&y", [], 25),
        (b"poll=3", ["application/json"], 3),
    ],
)
def test_what_a_request_asks_for(query, accept, wait):
    """A poll is asked for by name, or by an Accept that takes JSON and no stream."""
    request = asking(query, *accept)
    assert Polling(25.0).wait(request) == wait
    assert is_poll(request) is (wait is not None)
    assert malformed(request) is None


@pytest.mark.parametrize(
    "said", [b"x", b"-1", b"1e3", b"nan", b"inf", b"1s", b"+1", b"1.", b".5", b"%31", b"1 "]
)
def test_what_is_no_number_of_seconds(said):
    """It is refused, and still a poll: the client that is told so reads JSON."""
    request = asking(b"poll=" + said)
    assert malformed(request).code == "bad-request"
    assert is_poll(request)


@pytest.mark.parametrize("value", [-0.1, LONGEST + 1, float("nan"), True, "25", None])
def test_a_setting_that_is_none(value):
    """poll_wait is a number of seconds that proxies bear."""
    with pytest.raises(ConfigError, match="poll_wait"):
        Polling(value)
