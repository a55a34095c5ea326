"""A name server whose answers a test changes."""

import asyncio
import socket
import struct


class NameServer(asyncio.DatagramProtocol):
    """Answers for one name, with one IPv4 address, which may be kept for ten minutes, as Docker says it.

    ``async with NameServer("app1", "127.0.0.1") as names``: ``names.place`` is where it listens, on loopback.
    """

    def __init__(self, name, address):
        self.address = address
        self._question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        self.place = "{}:{}".format(*self._transport.get_extra_info("sockname"))
        return self

    async def __aexit__(self, *_):
        self._transport.close()

    def datagram_received(self, data, peer):
        """One question, and its answer (RFC 1035)."""
        end = data.index(b"\0", 12) + 1
        name, (kind,) = data[12:end], struct.unpack("!H", data[end : end + 2])
        known = name.lower() == self._question
        answers = [self._record()] if known and kind == 1 else []
        flags = 0x8180 if known else 0x8183  # there is no such name
        head = data[:2] + struct.pack("!5H", flags, 1, len(answers), 0, 0)
        self._transport.sendto(head + data[12 : end + 4] + b"".join(answers), peer)

    def _record(self):
        return struct.pack("!HHHIH", 0xC00C, 1, 1, 600, 4) + socket.inet_aton(self.address)
