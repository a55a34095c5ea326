"""TLS over a socket, as small as OpenSSL allows."""

from __future__ import annotations

import ssl
from typing import Any, cast

from gevent import monkey

SSLContext: Any = monkey.get_original("ssl", "SSLContext")
"""Python's own: gevent has put another in its place."""


def context(authority: str | None) -> Any:
    """One for all streams; ``authority`` is the file of who signed the server's certificate."""
    made = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        made.load_default_certs()
    else:
        made.load_verify_locations(authority)
    return made


class Secured:
    """A connected, non-blocking socket under TLS.

    Not an ``ssl.SSLSocket``: gevent replaces that class under Python's own ``wrap_socket``.  What this
    calls is what that one calls.  Raises ssl.SSLWantReadError where there is nothing yet.
    """

    __slots__ = ("_tls", "close", "fileno", "setsockopt")

    def __init__(self, tls: Any, plain: Any, name: str) -> None:
        self._tls = tls._wrap_socket(plain, False, name)
        self.setsockopt, self.fileno, self.close = plain.setsockopt, plain.fileno, plain.close

    def do_handshake(self) -> None:
        """Go on with the handshake, and verify the server's name."""
        self._tls.do_handshake()

    def recv(self, size: int) -> bytes:
        """What is there; nothing at the end."""
        try:
            return cast(bytes, self._tls.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def send(self, data: bytes) -> int:
        """Send it."""
        return cast(int, self._tls.write(data))
