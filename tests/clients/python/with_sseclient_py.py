"""sseclient-py reads one response, of whichever HTTP client; to come back is the application's part."""

import time

import requests
from said import failed, headers, heard, opened, place, run, url
from sseclient import SSEClient


def plain():
    """As its own page shows."""
    response = requests.get(url, stream=True, headers={**headers, "Accept": "text/event-stream"})
    response.raise_for_status()
    opened()
    for event in SSEClient(response).events():
        heard(event.event, event.data, event.id)


def lines():
    """Over and over, from the last place."""
    # lines
    asking, wait = {**headers, "Accept": "text/event-stream", "Last-Event-ID": place}, 1
    while True:
        try:
            with requests.get(url, stream=True, headers=asking, timeout=40) as response:
                if response.status_code in (204, 401, 403, 404):
                    break
                response.raise_for_status()
                for event in SSEClient(response).events():
                    if event.id:
                        asking["Last-Event-ID"] = event.id
                    if event.retry:
                        wait = int(event.retry) / 1000
                    heard(event.event, event.data, event.id)
        except requests.RequestException as error:
            failed(error)
        time.sleep(wait)
    # to here


run(plain, lines)
