"""The socket that a server listens on, bound before anything else is started."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
from pathlib import Path

from ...delivery.peer import DEAD_MS
from ..failure import Failure, Misuse


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket bound to ``host`` and ``port``; Failure, naming them, when that cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise Failure(f"--host {host} is no address of this machine: {error.strerror}") from error
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
    if option is not None:
        # Each connection inherits it: who reads nothing is dropped, though the server waits for it.
        sock.setsockopt(socket.IPPROTO_TCP, option, DEAD_MS)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            why = f"port {port} on {host} is in use; choose another with --port"
        elif error.errno == errno.EACCES:
            why = f"port {port} on {host} needs more rights than this user has; choose one above 1023"
        else:
            why = f"cannot listen on {host} port {port}: {error.strerror}"
        raise Failure(why) from error
    return sock


def bind_unix(path: str, mode: int, group: str | None) -> socket.socket:
    """A unix socket at ``path``, in the place of one that nobody listens on any more.

    Whom ``mode`` allows may connect, and nobody else before that; ``group`` is who it belongs to, by name
    or number.
    """
    number = -1 if group is None else _group(group)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        usual = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(usual)
        _give(path, number)
        Path(path).chmod(mode)
    except OSError as error:
        sock.close()
        raise Failure(f"cannot listen on {path}: {error.strerror or error}") from error
    except Failure:
        sock.close()
        raise
    return sock


def _group(name: str) -> int:
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError) as error:
        raise Misuse(f"--uds-group: there is no group {name!r} on this machine") from error


def _give(path: str, group: int) -> None:
    try:
        os.chown(path, -1, group)
    except OSError as error:
        Path(path).unlink()
        why = f"--uds-group: {path} cannot be given to it, unless its owner is in it: {error.strerror}"
        raise Failure(why) from error


def _clear(path: str) -> None:
    file = Path(path)
    if not file.exists():
        return
    if not stat.S_ISSOCK(file.stat().st_mode):
        raise Failure(f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) == 0:
            raise Failure(f"{path} is in use by another server")
    file.unlink()


def refuse(sock: socket.socket) -> None:
    """Have ``sock`` refuse whoever connects, and reset who waits to be accepted, whoever else has it open: a
    worker that is stuck, or a child of the application's.  On Linux; elsewhere that takes until all close it.
    """
    with contextlib.suppress(OSError):
        sock.setblocking(False)
        sock.shutdown(socket.SHUT_RDWR)
        while True:  # a unix socket keeps them
            sock.accept()[0].close()


def url_of(sock: socket.socket, host: str) -> str:
    """The URL at which a browser on this machine reaches a bound TCP socket."""
    port: int = sock.getsockname()[1]
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
