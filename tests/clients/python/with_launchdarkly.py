"""launchdarkly-eventsource ends at the first end, unless it is told to go on."""

from ld_eventsource import SSEClient
from ld_eventsource.actions import Event, Fault, Start
from ld_eventsource.config import ConnectStrategy, ErrorStrategy, RetryDelayStrategy
from ld_eventsource.errors import HTTPStatusError
from said import failed, headers, heard, opened, place, run, url


def listen(source):
    """Everything it gives."""
    for action in source.all:
        if isinstance(action, Start):
            opened()
        elif isinstance(action, Event):
            heard(action.event, action.data, action.last_event_id)
        elif isinstance(action, Fault):
            failed(action.error)


def plain():
    """With its defaults."""
    listen(SSEClient(ConnectStrategy.http(url, headers=headers)))


def lines():
    """Told to go on, but not where nothing will come of it."""

    # lines
    def go_on(error):
        final = isinstance(error, HTTPStatusError) and error.status in (204, 401, 403, 404)
        return ErrorStrategy.FAIL if final else ErrorStrategy.CONTINUE, None

    source = SSEClient(
        ConnectStrategy.http(url, headers=headers, urllib3_request_options={"timeout": 40}),
        last_event_id=place,
        retry_delay_strategy=RetryDelayStrategy.default(max_delay=1, jitter_multiplier=0.5),
        error_strategy=ErrorStrategy.from_lambda(go_on),
    )
    # to here
    listen(source)


run(plain, lines)
