"""The socket that a server listens on: what its connections inherit."""

import socket

from sse_edge.cli.serving.listen import bind
from sse_edge.delivery.peer import DEAD_MS


def test_connections_end_that_nobody_reads():
    """The kernel drops a client that reads nothing for a minute, whatever waits for it: a page, or a stream.

    Neither uvicorn nor ASGI has a way to.  (tcp(7), TCP_USER_TIMEOUT; it counts closed windows too.)
    """
    with bind("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == DEAD_MS
