"""The same with asyncio."""

# lines
import asyncio

import httpx
from httpx_sse import aconnect_sse


async def listen(url, headers, place=None):
    """Every event of a stream, each once, until there will be no more; ``place`` is the last one's id."""
    wait = 3.0
    async with httpx.AsyncClient(timeout=httpx.Timeout(10, read=40)) as client:  # more than two keep-alives
        while True:
            headers = {**headers, "Last-Event-ID": place} if place else headers
            try:
                async with aconnect_sse(client, "GET", url, headers=headers) as source:
                    if source.response.status_code in (204, 401, 403, 404):
                        return
                    wait = float(source.response.headers.get("Retry-After", wait))
                    async for event in source.aiter_sse():
                        place, wait = event.id or place, (event.retry or wait * 1000) / 1000
                        if event.event == "edge-reset" or not event.event.startswith("edge-"):
                            yield event  # edge-reset: something is missing for good, load again
                        if event.event == "edge-close" and event.json()["reason"] == "finished":
                            return
            except httpx.TransportError:
                pass  # cut, silent for too long, or refused for now
            await asyncio.sleep(wait)


# to here


from said import headers, heard, opened, place, run, url  # noqa: E402


async def plain():
    """As httpx-sse's own page shows."""
    async with httpx.AsyncClient() as client, aconnect_sse(client, "GET", url, headers=headers) as source:
        opened()
        async for event in source.aiter_sse():
            heard(event.event, event.data, event.id)


async def lines():
    """As ours does."""
    async for event in listen(url, headers, place):
        heard(event.event, event.data, event.id)


run(lambda: asyncio.run(plain()), lambda: asyncio.run(lines()))
