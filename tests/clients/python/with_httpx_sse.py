"""httpx-sse reads one response; to come back is the application's part."""

# lines
import time

import httpx
from httpx_sse import connect_sse


def listen(url, headers, place=None):
    """Every event of a stream, each once, until there will be no more; ``place`` is the last one's id."""
    wait = 3.0
    with httpx.Client(timeout=httpx.Timeout(10, read=40)) as client:  # more than two keep-alives
        while True:
            headers = {**headers, "Last-Event-ID": place} if place else headers
            try:
                with connect_sse(client, "GET", url, headers=headers) as source:
                    if source.response.status_code in (204, 401, 403, 404):
                        return
                    wait = float(source.response.headers.get("Retry-After", wait))
                    for event in source.iter_sse():
                        place, wait = event.id or place, (event.retry or wait * 1000) / 1000
                        if event.event == "edge-reset" or not event.event.startswith("edge-"):
                            yield event  # edge-reset: something is missing for good, load again
                        if event.event == "edge-close" and event.json()["reason"] == "finished":
                            return
            except httpx.TransportError:
                pass  # cut, silent for too long, or refused for now
            time.sleep(wait)


# to here


from said import headers, heard, opened, place, run, url  # noqa: E402


def plain():
    """As httpx-sse's own page shows."""
    with httpx.Client() as client, connect_sse(client, "GET", url, headers=headers) as source:
        opened()
        for event in source.iter_sse():
            heard(event.event, event.data, event.id)


def lines():
    """As ours does."""
    for event in listen(url, headers, place):
        heard(event.event, event.data, event.id)


run(plain, lines)
