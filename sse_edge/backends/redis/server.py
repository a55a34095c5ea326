"""Reaching Redis: one server, or the primary that Sentinel names.  See ``cluster`` for the third way."""

from __future__ import annotations

import asyncio
import json
import select
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable
from weakref import WeakSet

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as LostError

from ...errors import BackendError
from .fork import disown_after_fork
from .scripts import PERMITTED, Script
from .url import Node, RedisUrl

CONNECTIONS = 32
"""Connections for commands at most, per process, event loop and server; more commands wait."""

PACE = 0.005
"""Seconds at least between the beginnings of calls in which requests travel together.  A call costs the
worker far more than one request more in it: who comes alone does not wait, hundreds per second share."""

Argument = str | bytes | int
T = TypeVar("T")


class Verbs(NamedTuple):
    """The pub/sub commands, and what Redis calls its messages: plain ones or those of a Cluster shard."""

    publish: str
    subscribe: str
    unsubscribe: str
    message: bytes
    subscribed: bytes
    unsubscribed: bytes


PLAIN = Verbs("PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE", b"message", b"subscribe", b"unsubscribe")
SHARDED = Verbs("SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE", b"smessage", b"ssubscribe", b"sunsubscribe")


# A script meets these at its first write or not at all: later Redis does not ask any more.
_BEFORE_A_WRITE = (ReadOnlyError, OutOfMemoryError)
_BEFORE_A_WRITE_CODES = ("MISCONF ", "NOREPLICAS ")

# These a script's command may meet at any time, and then the text says that it was in a script.
_AT_THE_DOOR = (
    AskError,  # and MOVED
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,  # and MASTERDOWN
    NoPermissionError,
    NoScriptError,
    TryAgainError,
)
_AT_THE_DOOR_CODES = ("BUSY ",)

_DENIED_IN_SCRIPT = "can't run this command"


def is_refusal(error: BaseException) -> bool:
    """Whether Redis answered that it has changed nothing.  An answer that is not known counts as none."""
    if isinstance(error.__context__, ReadOnlyError):
        return True  # what redis-py makes of READONLY on a connection that Sentinel named
    text = str(error)
    if isinstance(error, _BEFORE_A_WRITE) or text.startswith(_BEFORE_A_WRITE_CODES):
        return True
    if "script: " in text or "@user_script" in text:
        return False
    return isinstance(error, _AT_THE_DOOR) or text.startswith(_AT_THE_DOOR_CODES)


def told(error: BaseException) -> str:
    """What an error says, but not what Redis repeats of a command that it does not know: a password, or an
    event."""
    return str(error).partition(", with args beginning with")[0] or "no answer in time"


class CommandError(BackendError):
    """A command was not confirmed; ``sent`` is whether Redis may have executed it, at least in part."""

    def __init__(self, error: BaseException, *, sent: bool) -> None:
        refusal = is_refusal(error)
        self.sent = sent and not refusal
        loading = isinstance(error, BusyLoadingError)  # not there yet
        self.answered = not loading and (refusal or isinstance(error, ResponseError))
        super().__init__(f"Redis: {told(error)}")

    @classmethod
    def said(cls, text: bytes, *, sent: bool) -> CommandError:
        """What a script says about one event, and whether that may be out all the same."""
        error = cls(RedisError(text.decode(errors="replace")), sent=sent)
        error.sent = sent
        return error

    def unsure(self) -> CommandError:
        """The same, where Redis may have executed it all the same."""
        error = CommandError(self, sent=True)
        error.args, error.sent, error.__cause__ = self.args, True, self.__cause__
        return error

    @property
    def is_lost(self) -> bool:
        """Whether the connection ended while Redis may have been executing it."""
        return self.sent and isinstance(self.__cause__, LostError)


class FinishedError(CommandError):
    """A channel has had its last event, and takes no more; nothing was changed."""

    def __init__(self, channel: str) -> None:
        super().__init__(RedisError("finished"), sent=False)
        self.args = (f"channel {channel!r} has had its last event",)


class Server(Protocol):
    """Where one or several partitions live."""

    verbs: Verbs
    db: int

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], home: str) -> Any:
        """Run a script where the key ``home`` lives.  Raises CommandError."""

    async def perform(self, call: Call, home: str) -> Any:
        """The same without a bound in time: whoever calls has one."""

    async def listener(self, home: str) -> Any:
        """A new connection for pub/sub to where ``home`` lives; it may be silent as long as it likes.

        Raises what redis and the network raise.
        """

    async def close(self) -> None:
        """Let go of the running event loop's connections."""


class PerLoop(Generic[T]):
    """One thing for each running event loop, because connections belong to the loop they began on.

    A forked child has none of its parent's.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._things: dict[asyncio.AbstractEventLoop, T] = {}
        disown_after_fork(self)

    def get(self) -> T:
        """The running loop's, made at the first call."""
        loop = asyncio.get_running_loop()
        if loop not in self._things:
            for gone in [known for known in self._things if known.is_closed()]:
                del self._things[gone]
            self._things[loop] = self._make()
        return self._things[loop]

    def pop(self) -> T | None:
        """Take the running loop's away."""
        return self._things.pop(asyncio.get_running_loop(), None)

    def disown(self) -> tuple[object, Iterable[int]]:
        """See ``Inherited.disown``."""
        old, self._things = self._things, {}
        return old, [
            each for thing in old.values() if isinstance(thing, HasSockets) for each in thing.sockets()
        ]


@runtime_checkable
class HasSockets(Protocol):
    """Something with connections."""

    def sockets(self) -> Iterable[int]:
        """The file descriptors of the connections that are open."""


class Call:
    """One run of a script; ``sent`` is whether Redis may have executed it, and ``why`` what has kept it from
    being sent so far, where that is known.
    """

    def __init__(self, script: Script, keys: Sequence[str] = (), arguments: Sequence[Argument] = ()) -> None:
        self.script = script
        self.keys = keys
        self.arguments = arguments
        self.sent = False
        self.why: Exception | None = None

    def prepare(self) -> None:
        """Called when there is a connection, just before it is sent, and sent again."""

    def late(self) -> CommandError:
        """That its time is over."""
        cause = TimeoutError() if self.sent or self.why is None else self.why
        error = CommandError(cause, sent=self.sent)
        error.__cause__ = cause
        return error


class Pool:
    """Connections to one server, on one event loop."""

    def __init__(self, connections: redis.asyncio.ConnectionPool) -> None:
        self.connections: Any = connections
        self._listeners: WeakSet[Any] = WeakSet()
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def perform(self, call: Call, *, asking: bool = False) -> Any:
        """The script's answer.  Waits without end; raises what redis and the network raise."""
        async with self._free:
            connection = await self.connections.get_connection()
            try:
                if _is_over(connection):
                    await connection.disconnect(nowait=True)
                    await connection.connect()
                call.prepare()
                call.sent = True
                return await _evaluate(connection, call, asking=asking)
            finally:
                await self.connections.release(connection)

    def listener(self) -> Any:
        """A new connection, not connected yet, which belongs to the caller."""
        listener = self.connections.make_connection()
        self._listeners.add(listener)
        return listener

    def sockets(self) -> list[int]:
        """See ``HasSockets``."""
        known = self.connections
        every = [*known._available_connections, *known._in_use_connections, *self._listeners]
        return [_socket(connection).fileno() for connection in every if _is_open(connection)]

    async def close(self) -> None:
        """Close every connection."""
        await self.connections.disconnect()


_HANG_UP = getattr(select, "POLLRDHUP", None)  # Linux; elsewhere there is only what the event loop has seen


def _is_over(connection: Any) -> bool:
    """Whether the server has closed the connection, also where the event loop did not get to see it."""
    if _HANG_UP is None:
        return False
    poll = select.poll()
    poll.register(_socket(connection).fileno(), _HANG_UP)
    return bool(poll.poll(0))


def _is_open(connection: Any) -> bool:
    return connection.is_connected and not connection._writer.is_closing()


def _socket(connection: Any) -> Any:
    return connection._writer.get_extra_info("socket")


async def _evaluate(connection: Any, call: Call, *, asking: bool) -> Any:
    keys = call.keys
    for command, name in (("EVALSHA", call.script.hash), ("EVAL", call.script.text)):
        if asking:
            await connection.send_command("ASKING")
            await connection.read_response()
        await connection.send_packed_command(_packed(command, name, len(keys), *keys, *call.arguments))
        try:
            return await connection.read_response()
        except NoScriptError:
            if command == "EVAL":
                raise
    raise AssertionError("unreachable")


def _packed(*parts: Argument) -> bytes:
    """A command as it is sent; redis-py packs one of hundreds of parts by copying it hundreds of times."""
    pieces = [b"*%d\r\n" % len(parts)]
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(pieces)


async def in_time(server: Server, call: Call, home: str, timeout: float) -> Any:
    """One timeout around all of it: how long a single wait takes depends on how many others wait."""
    try:
        async with asyncio.timeout(timeout):
            try:
                return await server.perform(call, home)
            except CommandError as error:
                if _DENIED_IN_SCRIPT in str(error) and (denied := await _denied(server, call, home)):
                    error.args = (f"Redis: this user has no permission for {', '.join(denied)}",)
                raise
    except TimeoutError:
        late = call.late()
        raise late from late.__cause__


async def _denied(server: Server, call: Call, home: str) -> list[str]:
    """The commands of a script that this user may not run: of one within a script Redis does not say it."""
    commands = call.script.commands
    asked = [json.dumps([command, home, "1", "x"]) for command in commands]
    try:
        places = await server.perform(Call(PERMITTED, [], asked), home)
    except CommandError:  # a server that has no such question
        return []
    return [commands[place - 1] for place in places]


class SingleServer:
    """``redis://``, ``rediss://`` and ``unix://``."""

    verbs = PLAIN

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self.db = url.db
        self._timeout = timeout
        where = dict(zip(("host", "port"), url.nodes[0], strict=True)) if url.nodes else {}
        options = {**pool_options(url, timeout), **where}
        self._pools = PerLoop(lambda: Pool(redis.asyncio.ConnectionPool(**options)))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], home: str) -> Any:
        """See ``Server.run``."""
        return await in_time(self, Call(script, keys, arguments), home, self._timeout)

    async def perform(self, call: Call, home: str) -> Any:
        """See ``Server.perform``."""
        try:
            return await self._pools.get().perform(call)
        except (RedisError, OSError) as error:
            raise CommandError(error, sent=call.sent) from error

    async def listener(self, home: str) -> Any:
        """See ``Server.listener``."""
        return self._pools.get().listener()

    async def close(self) -> None:
        """See ``Server.close``."""
        pool = self._pools.pop()
        if pool is not None:
            await pool.close()


class SentinelServer(SingleServer):
    """``redis+sentinel://[user:password@]host:port,…/service[/db]``, or ``rediss+sentinel`` with TLS, which
    then is for the sentinels as well.

    Options whose names begin with ``sentinel_`` are for the sentinels themselves: ``sentinel_username``
    and ``sentinel_password``, or for example ``sentinel_ssl_ca_certs`` where theirs differ.
    """

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self.db = url.db
        self._timeout = timeout
        options = pool_options(url, timeout)
        del options["connection_class"]  # it has two of its own
        tls = url.base == "rediss"
        asked = {**_manners(timeout), "ssl": tls, **url.asked}

        def make() -> Pool:
            sentinels: Any = Sentinels(url.nodes, timeout, asked)
            connections: Any = SentinelConnectionPool(url.service, sentinels, ssl=tls, **options)  # type: ignore[no-untyped-call]
            return Pool(connections)

        self._pools = PerLoop(make)

    async def close(self) -> None:
        """See ``Server.close``."""
        pool = self._pools.pop()
        if pool is not None:
            await pool.close()
            for sentinel in pool.connections.sentinel_manager.sentinels:
                await sentinel.aclose()


class Sentinels(Sentinel):
    """Asks one sentinel after the other, none of them for longer than its share of the timeout."""

    def __init__(self, nodes: Sequence[Node], timeout: float, options: dict[str, Any]) -> None:
        super().__init__(nodes, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        self._share = timeout / (len(nodes) + 1)

    async def discover_master(self, service_name: str) -> Node:
        """The primary's address.  Raises MasterNotFoundError."""
        causes = []
        for sentinel in list(self.sentinels):
            try:
                async with asyncio.timeout(self._share):
                    known: Any = await sentinel.sentinel_masters()
            except (RedisError, OSError, TimeoutError) as error:
                causes.append(told(error))
            else:
                state = known.get(service_name)
                if state and self.check_master_state(state, service_name):
                    return state["ip"], state["port"]
                causes.append("one knows no healthy primary of that name")
            # The next call begins with another one.
            self.sentinels.remove(sentinel)
            self.sentinels.append(sentinel)
        raise MasterNotFoundError(f"no sentinel names a primary for {service_name!r}: {'; '.join(causes)}")


_CLASSES = {
    "redis": redis.asyncio.Connection,
    "rediss": redis.asyncio.SSLConnection,
    "unix": redis.asyncio.UnixDomainSocketConnection,
}


def pool_options(url: RedisUrl, timeout: float) -> dict[str, Any]:
    """What redis-py needs for a pool of connections, without host and port."""
    return {"connection_class": _CLASSES[url.base], **_manners(timeout), **url.options}


def _manners(timeout: float) -> dict[str, Any]:
    return {
        "protocol": 2,  # a third cheaper to read than RESP3 (measured)
        # No timeout of redis-py's own: it uses asyncio.wait_for, which on Python 3.11 can swallow a
        # cancellation (bpo-37658), and a task that was to end would go on.  See SingleServer.run.
        "socket_timeout": None,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),  # a publish is never sent twice behind our back
    }
