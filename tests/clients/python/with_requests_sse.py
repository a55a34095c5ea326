"""requests-sse comes back by itself, after a planned end too."""

from requests_sse import EventSource
from said import headers, heard, opened, place, run, url


def listen(source):
    """Everything it gives."""
    with source:
        for event in source:
            heard(event.type, event.data, event.last_event_id)


def plain():
    """With its defaults: it waits for a byte for ever."""
    listen(EventSource(url, headers=headers, on_open=opened))


def lines():
    """With a time-out, which it takes for a cut."""
    # lines
    source = EventSource(url, headers=headers, latest_event_id=place, timeout=40)
    # to here
    listen(source)


run(plain, lines)
