"""Clients of one stream over HTTP/1.1 or HTTP/2: one that may not read, and one that is small."""

import asyncio
import socket

import httpx
from h2.connection import H2Connection

from apps.surveyed import AUTH

PATIENCE = 10


class Listener:
    """One stream on a connection of its own; what has come of it is ``text``."""

    def __init__(self, client, response):
        self._client = client
        self._pieces = response.aiter_text()
        self.response = response
        self.text = ""

    @classmethod
    async def open(cls, url, user, *, http2=False, buffer=None):
        """Ask for a stream, and wait for the answer's head; ``buffer`` is the socket's, in bytes."""
        options = [] if buffer is None else [(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)]
        transport = httpx.AsyncHTTPTransport(http1=not http2, http2=http2, socket_options=options)
        client = httpx.AsyncClient(transport=transport, timeout=PATIENCE)
        headers = {"accept": "text/event-stream", "cookie": f"session={AUTH.issue(user)}"}
        try:
            response = await client.send(client.build_request("GET", url, headers=headers), stream=True)
        except BaseException:
            await client.aclose()
            raise
        return cls(client, response)

    async def hears(self, text):
        """Whether ``text`` comes before the end."""
        async with asyncio.timeout(PATIENCE):
            try:
                while text not in self.text:
                    self.text += await anext(self._pieces)
            except (StopAsyncIteration, httpx.TransportError):
                return False
        return True

    async def ends(self):
        """Whether the response comes to its end in good order."""
        async with asyncio.timeout(PATIENCE):
            try:
                async for piece in self._pieces:
                    self.text += piece
            except httpx.TransportError:
                return False
        return True

    async def leave(self):
        """Close the connection."""
        await self.response.aclose()
        await self._client.aclose()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        await self.leave()


class Held(asyncio.Protocol):
    """A client of one stream that drops what it reads."""

    def __init__(self, port, user, http2):
        self._begun = asyncio.get_running_loop().create_future()
        self._http2 = H2Connection() if http2 else None
        self._transport = None
        host, cookie = f"127.0.0.1:{port}", f"session={AUTH.issue(user)}"
        if self._http2 is None:
            self._request = f"GET /events/me HTTP/1.1\r\nhost: {host}\r\ncookie: {cookie}\r\n\r\n".encode()
        else:
            self._http2.initiate_connection()
            names = {":method": "GET", ":path": "/events/me", ":scheme": "http", ":authority": host}
            self._http2.send_headers(1, [*names.items(), ("cookie", cookie)], end_stream=True)
            self._request = self._http2.data_to_send()

    @classmethod
    async def open(cls, port, user, *, http2=False):
        """Ask for a stream, and wait until it has begun."""
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: cls(port, user, http2), "127.0.0.1", port
        )
        async with asyncio.timeout(PATIENCE):
            await client._begun
        return client

    def leave(self):
        """Want the stream no more; with HTTP/2 the connection stays."""
        if self._http2 is None:
            self._transport.close()
        else:
            self._http2.reset_stream(1)
            self._transport.write(self._http2.data_to_send())

    def abort(self):
        """Cut the connection."""
        self._transport.abort()

    def connection_made(self, transport):
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data):
        if not self._begun.done() and b"stream open" in data:
            self._begun.set_result(None)

    def connection_lost(self, exc):
        if not self._begun.done():
            self._begun.set_exception(exc or EOFError("the stream ended before it began"))
