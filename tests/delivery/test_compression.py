"""gzip for many streams at once: any mixture of shared and own pieces is one valid file for each stream."""

from __future__ import annotations

import gzip
import json
import random
import zlib

import pytest

from sse_edge.delivery.compression import COMMON, HEAD, KEPT, STORED, WINDOW, Cut, Gzip, Window, block, stored

EMPTY = b"\x00\x00\xff\xff"
"""Sizes of an empty stored block: the end of what Z_SYNC_FLUSH writes."""


def tick(number: int, chance: random.Random) -> bytes:
    """A price tick as the wire has it."""
    data = json.dumps({"symbol": chance.choice(["ACME", "BETA"]), "price": round(chance.uniform(1, 900), 2)})
    return f"id: {number}-0.abcd\nevent: tick\ndata: {data}\n\n".encode()


def cut_of(data: bytes, window: Window, seen: int) -> Cut:
    """What a feed has for streams that have seen as much."""
    return Cut(data, 1, b"", window, seen)


class Client:
    """One stream's other end: takes bytes as they come, and knows what it should have read."""

    def __init__(self) -> None:
        self.gzip = Gzip()
        self.seen = 0
        self.wire = HEAD
        self.plain = b""
        self.read = b""
        self._inflate = zlib.decompressobj(31)
        self._inflate.decompress(HEAD)

    def take(self, data: bytes, plain: bytes) -> None:
        self.wire += data
        self.plain += plain
        self.read += self._inflate.decompress(data)
        assert self.read == self.plain  # at once: no event waits for the next
        assert data.endswith(EMPTY)  # nor in Go, whose compress/flate hands out nothing before it


@pytest.mark.parametrize("data", [b"", b"x", b"data: x\n\n" * 50, bytes(range(256)) * 300])
@pytest.mark.parametrize("after", [b"", b"data: x\n\n", b"data: x\n\n" * 9_000])
def test_a_block_is_right_after_what_it_refers_to(data: bytes, after: bytes) -> None:
    """A block that was made by itself reads right after the plain bytes it refers back to."""
    inflate = zlib.decompressobj(-15)
    assert inflate.decompress(block(after)) == after
    assert inflate.decompress(block(data, after)) == data


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535])
def test_a_stored_block_is_deflate(size: int) -> None:
    """A piece that is not compressed reads as it is, and whatever follows it does."""
    inflate = zlib.decompressobj(-15)
    assert inflate.decompress(stored(b"a" * size) + block(b"next")) == b"a" * size + b"next"


def test_what_everybody_was_given_before_makes_an_event_small() -> None:
    """After a window of such events one takes a third of what it takes alone, or less."""
    chance = random.Random(1)
    window = Window()
    for number in range(1, 200):
        window.append(number, tick(number, chance))
    cut = cut_of(tick(200, chance), window, 199)
    assert len(cut.compressed(0)) * 3 < len(cut.compressed(199))


def test_each_form_is_made_once() -> None:
    """All streams that were given as much are written the same bytes."""
    window = Window()
    for number in range(1, 100):
        window.append(number, b"data: %d\n\n" % number)
    cut = cut_of(b"data: 100\n\n", window, 99)
    forms = [cut.compressed(since) for since in range(100)]
    assert len({id(form) for form in forms}) == 6  # all of the window, 64, 16, 4, 1, alone
    assert forms[98] is not forms[99]


def test_a_stream_that_was_given_less_is_not_referred_to_more() -> None:
    """The form for a stream refers to no event from before its own first."""
    window = Window()
    for number in range(1, 100):
        window.append(number, b"data: %d is a number\n\n" % number)
    for seen in range(1, 100):
        cut = cut_of(b"data: 100 is a number\n\n", window, seen)
        for since in range(seen + 1):
            inflate = zlib.decompressobj(-15)
            inflate.decompress(
                block(b"".join(b"data: %d is a number\n\n" % n for n in range(since + 1, seen + 1)))
            )
            assert inflate.decompress(cut.compressed(since)) == cut.data


def test_a_window_is_bounded() -> None:
    """What is kept to be referred to is two windows, or one event that is larger."""
    window = Window()
    for number in range(1, 1_000):
        window.append(number, b"x" * 1_000)
    assert len(window) <= KEPT // 1_000
    window.append(1_000, b"y" * KEPT * 2)
    assert len(window) == 1
    assert cut_of(b"z", window, 1_000).compressed(999)


def test_a_cleared_window_is_referred_to_by_nobody() -> None:
    """After what was not the same for all, an event is compressed alone."""
    window = Window()
    window.append(1, b"data: one\n\n")
    window.clear()
    cut = cut_of(b"data: two\n\n", window, 1)
    assert cut.compressed(0) is cut.compressed(1)


@pytest.mark.parametrize("seed", range(30))
def test_any_mixture_is_one_file(seed: int) -> None:
    """Streams on two feeds, some late, some given pieces of their own, some lagging: each reads each event
    at once, and its whole is a gzip file with the right check sum and size."""
    chance = random.Random(seed)
    feeds = [Window(), Window()]
    heard: list[list[tuple[int, bytes]]] = [[], []]
    clients: list[tuple[Client, tuple[int, ...]]] = []
    number = 0
    for _ in range(300):
        what = chance.random()
        if what < 0.05 or not clients:
            client = Client()
            client.seen = number
            clients.append((client, chance.choice([(0,), (1,), (0, 1)])))
            own = b": stream open\nretry: 3000\n"
            client.take(client.gzip.own(own), own)
        elif what < 0.15:
            client, _ = chance.choice(clients)
            own = b": keep-alive\n" * chance.choice([1, 1, 20])
            client.take(client.gzip.own(own), own)
        elif what < 0.16:
            chance.choice(feeds).clear()
        else:
            number += 1
            which = chance.randrange(2)
            frame = tick(number, chance) * chance.choice([1, 1, 1, 1, 200])
            heard[which].append((number, frame))
            feeds[which].append(number, frame)
        for client, on in clients:
            if chance.random() < 0.3:
                continue  # it lags: the next round brings it more at once
            new = sorted((n, which, f) for which in on for n, f in heard[which] if n > client.seen)
            owners = {which for _, which, _ in new}
            if len(owners) == 1:
                which = owners.pop()
                data = b"".join(f for _, _, f in new)
                cut = cut_of(data, feeds[which], client.seen)
                client.take(client.gzip.shared(cut, feeds[which], client.seen), data)
            elif new:
                data = b"".join(f for _, _, f in new)
                client.take(client.gzip.own(data), data)
            client.seen = number
    for client, _ in clients:
        client.wire += client.gzip.end()
        assert gzip.decompress(client.wire) == client.plain


def test_what_many_missed_is_compressed_once() -> None:
    """Streams that come back to the same events are written the same bytes, however few those are."""
    chance = random.Random(2)
    missed = [tick(number, chance) for number in range(10)]
    assert sum(map(len, missed)) < 2 * COMMON
    first = Gzip().own(b"".join(missed))
    assert all(Gzip().own(b"".join(missed)) is first for _ in range(100))
    assert Gzip().own(b"".join(missed[1:])) is not first


def test_small_pieces_of_ones_own_cost_no_compressor() -> None:
    """A keep-alive is stored as it is, ten bytes longer."""
    own = b": keep-alive\n"
    assert len(own) < STORED < WINDOW
    assert Gzip().own(own) == stored(own)
    assert len(stored(own)) == len(own) + 10
