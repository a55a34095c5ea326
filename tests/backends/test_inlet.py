"""What comes on a pub/sub connection, as a server may send it: in parts, thousands at once, in the middle of
nothing."""

import asyncio
import contextlib
import itertools
import ssl
from types import SimpleNamespace

import pytest
import uvloop
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import InvalidResponse, ResponseError

from sse_edge.backends.redis.inlet import SLICE, TURN, Inlet, listen

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=list(LOOPS))
def run(request):
    """Run a coroutine on each kind of loop."""
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner.run


def message(number, size=0, *, kind=b"*"):
    """An announcement as RESP2 has it; with ``kind`` ``>`` as RESP3 has."""
    text = b"%d " % number + b"x" * size
    return b"%b3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$%d\r\n%b\r\n" % (kind, len(text), text)


class Ear:
    """Keeps what it is given, and how often it was told that this is all for now."""

    def __init__(self):
        self.replies = []
        self.rests = 0
        self.heard = asyncio.Event()

    def take(self, reply):
        self.replies.append(reply)
        self.heard.set()

    def rest(self):
        self.rests += 1

    @property
    def numbers(self):
        return [int(reply[2].split(b" ")[0]) for reply in self.replies]

    async def wait(self, count):
        async with asyncio.timeout(20):
            while len(self.replies) < count:
                self.heard.clear()
                await self.heard.wait()


@contextlib.asynccontextmanager
async def connected(ear, certificate=None):
    """A task that listens, and the writer of the server at the other end."""
    theirs = asyncio.get_running_loop().create_future()
    ours = None
    if certificate is not None:
        ours = ssl.create_default_context(cafile=certificate[0])
        served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        served.load_cert_chain(*certificate)
    server = await asyncio.start_server(
        lambda reader, writer: theirs.set_result(writer),
        "127.0.0.1",
        ssl=None if certificate is None else served,
    )
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=ours, server_hostname=None if ours is None else "localhost"
    )
    connection = SimpleNamespace(_reader=reader, _writer=writer)
    listening = asyncio.create_task(listen(connection, ear.take, ear.rest))
    far = await theirs
    try:
        yield listening, far
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        far.close()
        server.close()


class Transport:
    """A connection whose reads the test decides."""

    def __init__(self):
        self.protocol = asyncio.Protocol()

    def get_protocol(self):
        return self.protocol

    def set_protocol(self, protocol):
        self.protocol = protocol


@pytest.mark.parametrize("kind", [b"*", b">"])
async def test_a_read_may_end_anywhere(kind):
    """Wherever the bytes of messages are cut, each is taken once and whole, as soon as it is there."""
    data = b"".join(message(n, kind=kind) for n in range(3))
    ear, transport = Ear(), Transport()
    Inlet(transport, ear.take, ear.rest)
    for at in range(1, len(data)):
        transport.protocol.data_received(data[:at])
        assert len(ear.replies) == 3 * (at - 1) + at // (len(data) // 3)
        transport.protocol.data_received(data[at:])
        assert len(ear.replies) == 3 * at
    assert ear.numbers == [0, 1, 2] * (len(data) - 1)


@pytest.mark.parametrize("tls", [False, True])
def test_thousands_at_once_are_taken_in_turns(run, tls, certificate):
    """In no turn of the loop more bytes are taken than are stated, and all of them in their order."""

    async def play():
        ear, turns = Ear(), []
        count = 20_000

        def turn():
            turns.append(len(ear.replies))
            if len(ear.replies) < count:
                asyncio.get_running_loop().call_soon(turn)

        async with connected(ear, certificate if tls else None) as (_, far):
            turn()
            far.write(b"".join(message(n, 60) for n in range(count)))
            await ear.wait(count)
            assert ear.numbers == list(range(count))
            most = max(after - before for before, after in itertools.pairwise(turns))
            assert most <= 2 * TURN // len(message(0, 60)), "a read and a turn, at most"

    run(play())


def test_what_one_read_brought_is_told_of_once(run):
    """After the messages of one read, and not after each of them."""

    async def play():
        ear = Ear()
        async with connected(ear) as (_, far):
            far.write(b"".join(message(n) for n in range(50)))
            await ear.wait(50)
            assert 1 <= ear.rests < 10

    run(play())


@pytest.mark.parametrize("size", [SLICE - 40, SLICE, TURN, 5_000_000])
def test_a_long_message(run, size):
    """One that is longer than a slice, a turn or a read is taken whole, and so is what follows."""

    async def play():
        ear = Ear()
        async with connected(ear) as (_, far):
            far.write(message(1) + message(2, size) + message(3))
            await ear.wait(3)
            assert ear.numbers == [1, 2, 3]
            assert len(ear.replies[1][2]) == size + 2

    run(play())


ENDS = {
    "closes": (b"", LostError),
    "closes in the middle of a message": (message(2)[:20], LostError),
    "says what is no reply": (b"HTTP/1.1 400 Bad Request\r\n\r\n", InvalidResponse),
}


@pytest.mark.parametrize("how", list(ENDS))
def test_a_server_that_ends_it(run, how):
    """What came whole before was taken, the rest is none, and whoever listens is told why."""
    last, error = ENDS[how]

    async def play():
        ear = Ear()
        async with connected(ear) as (listening, far):
            far.write(message(1) + last)
            if error is LostError:
                far.close()
            with pytest.raises(error):
                async with asyncio.timeout(10):
                    await listening
            assert ear.numbers == [1]

    run(play())


def test_a_connection_that_is_closed_already(run):
    """It ended while other things were asked: nothing is waited for."""

    async def play():
        ear = Ear()
        reader = asyncio.StreamReader()
        reader.feed_eof()
        async with connected(ear) as (listening, _):
            writer = listening.get_coro().cr_frame.f_locals["connection"]._writer
            with pytest.raises(LostError):
                await listen(SimpleNamespace(_reader=reader, _writer=writer), ear.take, ear.rest)

    run(play())


def test_an_error_is_given_as_one(run):
    """An error reply, and whatever else there is, comes in its turn; whoever takes it may raise it."""

    async def play():
        ear = Ear()
        async with connected(ear) as (_, far):
            far.write(
                message(1) + b"-NOPERM this user\r\n" + b">2\r\n$10\r\ninvalidate\r\n*0\r\n" + b"+OK\r\n"
            )
            await ear.wait(4)
            assert isinstance(ear.replies[1], ResponseError)
            assert str(ear.replies[1]) == "NOPERM this user"
            assert ear.replies[2:] == [[b"invalidate", []], b"OK"]

    run(play())


def test_an_error_of_who_takes_ends_it(run):
    """It comes out where it is listened, and nothing is taken after it."""

    async def play():
        ear, taken = Ear(), []

        def take(reply):
            taken.append(reply)
            raise ValueError("enough")

        ear.take = take
        async with connected(ear) as (listening, far):
            far.write(message(1) + message(2))
            with pytest.raises(ValueError, match="enough"):
                await listening
            far.write(message(3))
            await far.drain()
            await asyncio.sleep(0.05)
            assert len(taken) == 1

    run(play())


def test_nothing_is_taken_once_nobody_listens(run):
    """Neither what is left of a read nor what comes after."""

    async def play():
        ear = Ear()
        async with connected(ear) as (listening, far):
            far.write(b"".join(message(n, 60) for n in range(20_000)))
            await ear.wait(1)
            listening.cancel()
            await asyncio.wait([listening])
            assert listening.cancelled()
            count = len(ear.replies)
            await asyncio.sleep(0.05)
            assert len(ear.replies) == count < 20_000

    run(play())


def test_writing_waits_as_before(run):
    """Whoever sends commands is still held back by a server that does not read."""

    async def play():
        ear = Ear()
        async with connected(ear) as (listening, far):
            writer = listening.get_coro().cr_frame.f_locals["connection"]._writer
            far.transport.pause_reading()
            writer.write(b"x" * 20_000_000)
            draining = asyncio.create_task(writer.drain())
            done, _ = await asyncio.wait([draining], timeout=0.1)
            assert not done
            far.transport.resume_reading()
            async with asyncio.timeout(20):
                await far._reader.readexactly(20_000_000)
                await draining

    run(play())


def test_a_connection_that_is_not_as_we_know_it():
    """Without hiredis, or with other insides, redis-py reads as it does for everybody."""

    async def play():
        replies = [[b"message", b"c", b"1"], [b"message", b"c", b"2"]]

        async def read_response():
            if not replies:
                raise LostError("gone")
            return replies.pop(0)

        ear = Ear()
        with pytest.raises(LostError, match="gone"):
            await listen(SimpleNamespace(read_response=read_response), ear.take, ear.rest)
        assert [reply[2] for reply in ear.replies] == [b"1", b"2"]

    asyncio.run(play())
