"""HTTP/3 as a client speaks it: requests, what comes back of each, and their cancellation."""

import asyncio
import contextlib
import ssl

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

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
        self.changed = asyncio.Event()

    def take(self, event):
        """Something came."""
        if isinstance(event, HeadersReceived):
            self.headers = {name.decode(): value.decode() for name, value in event.headers}
            self.status = int(self.headers[":status"])
        else:
            self.body += event.data
            self.events += self.decoder.feed(event.data)
        self.over = self.over or event.stream_ended
        self.changed.set()

    async def until(self, condition):
        """Wait for it to hold; TimeoutError where it does not."""
        async with asyncio.timeout(PATIENCE):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()
        return self


class Client(QuicConnectionProtocol):
    """A connection."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._http = H3Connection(self._quic)
        self._exchanges = {}

    def ask(self, path, headers=(), *, method="GET", authority="localhost"):
        """Send a request without a body."""
        exchange = Exchange(self._quic.get_next_available_stream_id())
        self._exchanges[exchange.id] = exchange
        head = {
            ":method": method,
            ":scheme": "https",
            ":authority": authority,
            ":path": path,
            **dict(headers),
        }
        pairs = [(name.lower().encode(), value.encode()) for name, value in head.items()]
        self._http.send_headers(exchange.id, pairs, end_stream=True)
        self.transmit()
        return exchange

    def cancel(self, exchange):
        """Ask for no more of it, as a browser does for an EventSource that is closed."""
        self._quic.stop_stream(exchange.id, ErrorCode.H3_REQUEST_CANCELLED)
        self.transmit()

    def quic_event_received(self, event):
        """See aioquic."""
        if isinstance(event, StreamReset | ConnectionTerminated):
            for exchange in self._exchanges.values():
                if isinstance(event, ConnectionTerminated) or exchange.id == event.stream_id:
                    exchange.over = True
                    exchange.changed.set()
        for each in self._http.handle_event(event):
            if isinstance(each, HeadersReceived | DataReceived) and each.stream_id in self._exchanges:
                self._exchanges[each.stream_id].take(each)


@contextlib.asynccontextmanager
async def http3(site):
    """A connection to a site's proxy, over UDP on the same port; closed in the end."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, server_name="localhost", verify_mode=ssl.CERT_REQUIRED
    )
    configuration.load_verify_locations(cafile=str(site.proxy.authority))
    async with connect(
        "127.0.0.1", site.proxy.port, configuration=configuration, create_protocol=Client
    ) as client:
        yield client
