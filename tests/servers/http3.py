"""HTTP/3 as a client speaks it: requests, what comes back of each, and their cancellation."""

import contextlib
import ssl

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

from .exchange import Exchange, head


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
        self._http.send_headers(exchange.id, head(path, headers, method, authority), end_stream=True)
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
                    exchange.end(whole=False)
        for each in self._http.handle_event(event):
            if not isinstance(each, HeadersReceived | DataReceived) or each.stream_id not in self._exchanges:
                continue
            exchange = self._exchanges[each.stream_id]
            if isinstance(each, HeadersReceived):
                exchange.begin(each.headers)
            else:
                exchange.feed(each.data)
            if each.stream_ended:
                exchange.end(whole=True)


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
