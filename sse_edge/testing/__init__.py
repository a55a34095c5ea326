"""For tests of one's own app: streams within the process, and what was published.  See docs/TESTING.md."""

from .client import Client, client
from .decoder import Received
from .errors import RefusedError, StreamEndedError
from .recorder import Published, Recorder, recorder
from .response import Response
from .stream import Reset, Stream
from .sync import SyncClient, SyncStream, sync_client

__all__ = [
    "Client",
    "Published",
    "Received",
    "Recorder",
    "RefusedError",
    "Reset",
    "Response",
    "Stream",
    "StreamEndedError",
    "SyncClient",
    "SyncStream",
    "client",
    "recorder",
    "sync_client",
]
