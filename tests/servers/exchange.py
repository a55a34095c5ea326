"""A request of HTTP/2 or HTTP/3, where many share a connection, and what has come of its answer."""

import asyncio

from .sse import Decoder

PATIENCE = 20


class Exchange:
    """A request and what has come of its answer so far; ``over`` when no more will."""

    def __init__(self, id):
        self.id = id
        self.status = None
        self.headers = {}
        self.body = b""
        self.events = []
        self.decoder = Decoder()
        self.over = False
        self.whole = False
        self.changed = asyncio.Event()

    def begin(self, headers):
        """The answer's head came."""
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.status = int(self.headers[":status"])
        self.changed.set()

    def feed(self, data):
        """More of its body came."""
        self.body += data
        self.events += self.decoder.feed(data)
        self.changed.set()

    def end(self, *, whole):
        """No more will come; ``whole`` where the other side said that this is all."""
        self.over, self.whole = True, self.whole or whole
        self.changed.set()

    async def until(self, condition):
        """Wait for it to hold; TimeoutError where it does not."""
        async with asyncio.timeout(PATIENCE):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()
        return self


def head(path, headers, method, authority):
    """The pairs of a request's head."""
    given = {":method": method, ":scheme": "https", ":authority": authority, ":path": path, **dict(headers)}
    return [(name.lower().encode(), value.encode()) for name, value in given.items()]


def placed(exchange):
    """Whether its stream has been told its place."""
    return bool(exchange.decoder.last_event_id)
