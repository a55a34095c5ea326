"""aiohttp-sse-client comes back after a planned end; a cut raises, and so does aiohttp after 5 minutes."""

import asyncio

import aiohttp
from aiohttp_sse_client.client import EventSource
from said import failed, headers, heard, opened, place, run, url


async def plain():
    """With its defaults."""
    async with EventSource(url, headers=headers, on_open=opened) as source:
        async for event in source:
            heard(event.type, event.data, event.last_event_id)


async def lines():
    """Over and over, from the last place."""
    # lines
    headers["Last-Event-ID"] = place
    timeout = aiohttp.ClientTimeout(total=None, sock_read=40)
    while True:
        try:
            async with EventSource(url, headers=headers, timeout=timeout, read_bufsize=2**20) as source:
                async for event in source:
                    headers["Last-Event-ID"] = event.last_event_id
                    heard(event.type, event.data, event.last_event_id)
        except (aiohttp.ClientError, TimeoutError) as error:
            failed(error)
        await asyncio.sleep(1)
    # to here


run(lambda: asyncio.run(plain()), lambda: asyncio.run(lines()))
