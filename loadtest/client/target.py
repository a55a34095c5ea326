"""What streams ask for, and where: the URL taken apart, the request, and whose session it carries."""

import socket
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from sse_edge import SignedCookie

HEAD = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n"
    "Accept: text/event-stream\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en\r\n"
    "Cache-Control: no-cache\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: cors\r\n"
    "Sec-Fetch-Dest: empty\r\n"
)
"""What a browser's EventSource sends besides; nginx compresses for whoever accepts it, if it is told to."""

PER_SOURCE = 50  # streams from one address: below the caps of the shipped configurations and of the app


def source(number: int) -> str:
    """The address that a stream comes from, in 127.1.0.0 and above: every visitor has its own, so that every
    cap stays as it is shipped."""
    place = number // PER_SOURCE
    return f"127.{1 + place // 62_500}.{place // 250 % 250}.{1 + place % 250}"


class Target:
    """Where streams go: ``urls`` differ in their ports only, and streams go round them.

    ``secret`` and ``cookie`` are those of the app's SignedCookie.  Raises ValueError for what makes no sense
    or has no address.
    """

    rooms: Sequence[str] = ()
    """Patterns of channels that sessions are good for, besides the user's own."""

    receive_buffer: int | None = None
    """Bytes that a client asks the kernel for (SO_RCVBUF), where it wants few."""

    def __init__(
        self,
        urls: Sequence[str],
        secret: str,
        *,
        cookie: str = "session",
        authority: str | None = None,
        shared: str = "news",
        personal: str = "user:{user}",
    ) -> None:
        self.shared = shared
        self._personal = personal
        self.cookies = SignedCookie(secret, name=cookie, weak_secret=True)
        parts = [urlsplit(url) for url in urls]
        for url, part in zip(urls, parts, strict=True):
            if part.scheme not in ("http", "https") or not part.hostname:
                raise ValueError(f"{url!r} is no http(s) URL")
        first = parts[0]
        self.context: Any = None
        """TLS, or None without; ``authority`` is the file of who signed the server's certificate."""
        if first.scheme == "https":
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if authority is None:
                self.context.load_default_certs()
            else:
                self.context.load_verify_locations(authority)
        self.host = first.hostname or ""
        ports = [part.port or (443 if part.scheme == "https" else 80) for part in parts]
        try:
            found = socket.getaddrinfo(self.host, ports[0], socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            raise ValueError(f"{self.host!r} has no address: {error}") from error
        address = str(found[0][4][0])
        self.addresses = [(address, port) for port in ports]
        self.here = address.startswith("127.")
        """On this machine, to which every stream can come from an address of its own choice."""
        self._path = (first.path or "/") + (f"?{first.query}" if first.query else "")
        self._head = f" HTTP/1.1\r\nHost: {first.netloc}\r\n{HEAD}Cookie: {cookie}="

    def user(self, number: int) -> str:
        """Whose session a stream has: each is a user of its own."""
        return f"u{number}"

    def personal(self, number: int) -> str:
        """The channel that only this stream hears."""
        return self._personal.replace("{user}", self.user(number))

    def address(self, number: int) -> tuple[str, int]:
        """Where a stream connects to."""
        return self.addresses[number % len(self.addresses)]

    def source(self, number: int) -> str | None:
        """Where it comes from; None: as the kernel likes."""
        return source(number) if self.here else None

    def path(self, number: int) -> str:
        """What a stream asks for: the same for all."""
        return self._path

    def request(self, number: int, user: str, last_id: str) -> bytes:
        """What is sent, with a cookie signed now."""
        cookie = self.cookies.issue(user, self.rooms)
        place = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        return f"GET {self.path(number)}{self._head}{cookie}\r\n{place}\r\n".encode()
