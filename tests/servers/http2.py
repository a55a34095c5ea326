"""HTTP/2 as a client speaks it: requests in one connection, what comes back of each, and GOAWAY."""

import asyncio
import contextlib
import ssl

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

from .exchange import Exchange, head


class _Connection(H2Connection):
    def _receive_goaway_frame(self, frame):
        # h2 takes it for the end of everything; what was asked for before goes on (RFC 9113, 6.8).
        answer = super()._receive_goaway_frame(frame)
        self.state_machine.state = ConnectionState.CLIENT_OPEN
        return answer


class Client(asyncio.Protocol):
    """A connection; ``leaving`` when the other side has said that it takes no more requests."""

    def __init__(self):
        self._http = _Connection(H2Configuration(header_encoding=None))
        self._exchanges = {}
        self.leaving = self.closed = False

    def connection_made(self, transport):
        """See asyncio."""
        self._transport = transport
        self._http.initiate_connection()
        self._send()

    def connection_lost(self, exc):
        """See asyncio."""
        self.closed = True
        for exchange in self._exchanges.values():
            exchange.end(whole=False)

    def ask(self, path, headers=(), *, method="GET", authority="localhost"):
        """Send a request without a body."""
        exchange = Exchange(self._http.get_next_available_stream_id())
        self._exchanges[exchange.id] = exchange
        self._http.send_headers(exchange.id, head(path, headers, method, authority), end_stream=True)
        self._send()
        return exchange

    def cancel(self, exchange):
        """Ask for no more of it, as a browser does for an EventSource that is closed."""
        self._http.reset_stream(exchange.id, ErrorCodes.CANCEL)
        self._send()

    def close(self):
        """Close the connection."""
        self._transport.abort()

    def data_received(self, data):
        """See asyncio."""
        for event in self._http.receive_data(data):
            if isinstance(event, ConnectionTerminated):
                self.leaving = True
                continue
            exchange = self._exchanges.get(getattr(event, "stream_id", None))
            if exchange is None:
                continue
            if isinstance(event, ResponseReceived):
                exchange.begin(event.headers)
            elif isinstance(event, DataReceived):
                exchange.feed(event.data)
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded | StreamReset):
                exchange.end(whole=isinstance(event, StreamEnded))
        self._send()

    def _send(self):
        self._transport.write(self._http.data_to_send())


@contextlib.asynccontextmanager
async def http2(site):
    """A connection to a site's proxy; closed in the end."""
    context = ssl.create_default_context(cafile=site.proxy.authority)
    context.set_alpn_protocols(["h2"])
    _, client = await asyncio.get_running_loop().create_connection(
        Client, "127.0.0.1", site.proxy.port, ssl=context, server_hostname="localhost"
    )
    try:
        yield client
    finally:
        client.close()
