"""The columns: each puts a client into something, and says in a word or two what came of it."""

import asyncio
import contextlib
import re
import time
from itertools import accumulate

from servers.sse import StreamClient

from .scene import FORBIDDEN, LONG, NOBODY, THE_END, Scene, as_written, nasty

PATIENCE = 15
"""Seconds after which a client will not come back any more."""
AWAY = "published while it was away"
SILENCE = 6
"""Seconds."""
OURS = ("edge-close", "edge-refused", "edge-reset", "edge-position")

YES, STOPS, HANGS, RAISES, ASKS_ON = "yes", "stops", "hangs", "raises", "asks on"
"""The words: it keeps the promise; says that it is over, and asks no more; asks no more, without a word;
raises; asks for ever for what it will not be given."""


@contextlib.asynccontextmanager
async def listening(scene, client, path, *, lines, names=OURS):
    """A client that listens to a path, its line, and what it says."""
    edge = path.split("/")[1]
    place = await scene.place(edge) if edge in scene.edges else ""
    async with scene.line() as line:
        argument = {
            "url": line.url + path,
            "headers": {},
            "names": list(names),
            "lines": lines,
            "place": place,
        }
        async with client.listening({**argument, "seconds": 4 * PATIENCE}) as listener:
            yield line, listener


SLIPS = {
    YES: lambda text: text,
    "drops U+0000": lambda text: text.replace("\0", ""),
    "drops leading empty lines": lambda text: re.sub("^\ufeff", "", text, flags=re.MULTILINE).lstrip("\n"),
    "strips spaces": lambda text: "\n".join(line.strip() for line in text.split("\n")).strip(),
}
"""What becomes of text in clients that do not read it quite as it was written."""


async def parse(scene, client, lines):
    """Nasty events, in pieces, one after the other: read as written."""
    for _ in range(2):  # a client with a time-out of its own may give up once on a machine that is busy
        word = await _reads(scene, client, lines, "/nasty/all", nasty())
        if word is not None:
            return word
    word = await _reads(scene, client, lines, "/nasty/short", nasty(LONG))
    return "no" if word is None else "no long lines" if word == YES else f"{word}, no long lines"


def _last(listener):
    return listener.events[-1]["data"] if listener.events else None


async def _reads(scene, client, lines, path, stream):
    """How it reads a stream; None if events are missing, or others than were sent."""
    expected = as_written(stream)
    names = sorted({event.event for event in expected} - {"message"})
    async with listening(scene, client, path, lines=lines, names=names) as (_, listener):
        heard = -1
        while not listener.closed and _last(listener) != THE_END and len(listener.lines) > heard:
            heard = len(listener.lines)
            await listener.until(
                lambda before=heard: listener.closed or len(listener.lines) > before, PATIENCE
            )
        heard = listener.events
    own = [_own_id(block) for block in stream.split(b"\n\n")[:-1]]
    if len(heard) != len(expected):
        return None
    kept = accumulate((event.id for event in expected), lambda last, id: id or last)
    each = list(zip(heard, expected, own, kept, strict=True))
    return next((word for word, slip in SLIPS.items() if all(_same(*one, slip) for one in each)), None)


def _own_id(block):
    """The id that a block has itself, or None."""
    events = [line for line in block.split(b"\n") if line.startswith(b"id: ")]
    return events[-1][4:].decode() if events else None


def _same(said, event, own, kept, slip):
    """Some clients give the last id so far, as browsers do, others each event's own, and others none; and to
    some an empty one is none.
    """
    ids = [slip(event.id), slip(kept), "" if own is None else slip(own), None]
    named, data = slip(event.event) or "message", slip(event.data)
    return (said["event"], said["data"]) == (named, data) and said["id"] in ids


async def keep_alive(scene, client, lines):
    """Nothing but keep-alives, four of them: the application hears nothing, and the stream stays."""
    async with listening(scene, client, "/calm/still", lines=lines) as (line, listener):
        if not await line.placed():
            return HANGS
        await listener.until(lambda: line.comments >= 5 or listener.closed, PATIENCE)
        return await _one_event(scene, "calm", "still", listener)


async def silence(scene, client, lines):
    """Not even keep-alives: the stream stays all the same."""
    async with listening(scene, client, "/quiet/silent", lines=lines) as (line, listener):
        if not await line.placed():
            return HANGS
        await listener.until(lambda: listener.closed or scene.asked["/quiet/silent"] > 1, SILENCE)
        return await _one_event(scene, "quiet", "silent", listener)


async def _one_event(scene, edge, channel, listener):
    """Publish an event, and whether it is all that has come, on the first stream."""
    await scene.publish(edge, channel, "an event")
    await listener.until(lambda: listener.closed or _heard(listener), PATIENCE)
    if listener.closed:
        return _end(listener)
    if scene.asked[f"/{edge}/{channel}"] > 1:
        return "gives up, and comes back"
    if _heard(listener) != ["an event"]:
        return HANGS
    return YES if len(listener.messages) == 1 else "empty messages"


CUTS = [
    (b"HTTP/1.1 ", 30),
    (b"id: ", 7),
    (b"data: event", 0),
    (b"data: event", 9),
    (b"xxxx\n", 5),
]
"""Where it is cut: in the head, in an id, between an event's id and its data, in that, and before its end."""


async def resume(scene, client, lines):
    """A cut before it has heard any event, and then CUTS, with an event every 20 ms."""
    async with listening(scene, client, "/calm/cut", lines=lines) as (line, listener):
        if not await line.placed():
            return HANGS
        await listener.until(lambda: listener.closed or line.comments >= 3, PATIENCE)  # it has read its place
        line.cut()
        await scene.publish("calm", "cut", AWAY)
        if (
            not await listener.until(lambda: listener.closed or line.placed_in(2), PATIENCE)
            or listener.closed
        ):
            return _end(listener)
        await scene.publish("calm", "cut", "back")
        await listener.until(lambda: _heard(listener)[-1:] == ["back"], PATIENCE)
        line.cuts = list(CUTS)
        line.cut()
        return await _all_of(
            scene, "calm", "cut", listener, lambda: not line.cuts, every=0.02, sent=[AWAY, "back"]
        )


async def maximum_duration(scene, client, lines):
    """An event every 50 ms, while the stream comes to its planned end twice."""
    async with listening(scene, client, "/brief/long", lines=lines) as (line, listener):
        if not await line.placed():
            return HANGS
        over = lambda: scene.asked["/brief/long"] > 2  # noqa: E731
        return await _all_of(scene, "brief", "long", listener, over, every=0.05)


async def _all_of(scene, edge, channel, listener, enough, *, every, sent=()):
    """Publish until it has been enough, and what the client has heard of it; ``sent`` are those before."""
    sent, begun = list(sent), time.monotonic()
    while not (enough() or listener.closed) and time.monotonic() < begun + PATIENCE:
        sent.append(f"event {len(sent)} {'x' * 40}")
        await scene.publish(edge, channel, sent[-1])
        await asyncio.sleep(every)
    sent.append("last")
    await scene.publish(edge, channel, "last")
    await listener.until(lambda: listener.closed or _heard(listener)[-1:] == ["last"], PATIENCE)
    heard = _heard(listener)
    if heard == sent:
        return YES
    if len(set(heard)) < len(heard):
        return "some twice"
    if heard[-1:] != ["last"]:
        return _end(listener)
    return "after its first event" if heard == [each for each in sent if each != AWAY] else "loses some"


def _heard(listener):
    return [event["data"] for event in listener.messages if event["data"]]


def _end(listener):
    if listener.raised:
        return RAISES
    return STOPS if listener.closed else HANGS


async def as_status(scene, client, lines):
    """A cap's 429 as a status, and room soon after."""
    return await _refused(scene, client, "status", lines)


async def as_stream(scene, client, lines):
    """The same as a stream that says when to come back."""
    return await _refused(scene, client, "stream", lines)


async def _refused(scene, client, edge, lines):
    path = f"/{edge}/full"
    async with await StreamClient.connect(f"http://127.0.0.1:{scene.port}{path}") as holder:
        await holder.comment() if not holder.comments else None
        asked = scene.asked[path]
        async with listening(scene, client, path, lines=lines) as (line, listener):
            if not await listener.until(lambda: scene.asked[path] > asked, PATIENCE):
                return HANGS
            await listener.until(lambda: listener.closed or scene.asked[path] > asked + 1, PATIENCE / 10)
            await holder.aclose()
            await listener.until(lambda: listener.closed or line.placed_in(1), PATIENCE)
            if not line.placed_in(1):
                return _end(listener)
            await scene.publish(edge, "full", "an event")
            await listener.until(lambda: listener.closed or _heard(listener), PATIENCE)
            return YES if _heard(listener) == ["an event"] else _end(listener)


async def refused(scene, client, lines):
    """401, 403 and 404, which nothing will change."""
    paths = {"401": f"/status/{NOBODY}", "403": f"/status/{FORBIDDEN}", "404": "/status/not/there"}
    said = await asyncio.gather(*(_for_good(scene, client, path, lines) for path in paths.values()))
    if len(set(said)) == 1:
        return said[0]
    return ", ".join(f"{code}: {word}" for code, word in zip(paths, said, strict=True))


async def _for_good(scene, client, path, lines):
    async with listening(scene, client, path, lines=lines) as (_, listener):
        await listener.until(lambda: listener.closed or scene.asked[path] > 1, PATIENCE)
        return ASKS_ON if scene.asked[path] > 1 else _end(listener)


async def reset(scene, client, lines):
    """A line is cut, and more is published than is kept: it hears that something is missing."""
    async with listening(scene, client, "/calm/short", lines=lines) as (line, listener):
        if not await line.placed():
            return HANGS
        await scene.publish("calm", "short", "before")
        await listener.until(lambda: listener.closed or _heard(listener), PATIENCE)
        line.cut()
        for _ in range(10):
            await scene.publish("calm", "short", "missed")
        told = lambda: any(event["event"] == "edge-reset" for event in listener.events)  # noqa: E731
        await listener.until(lambda: told() or listener.closed or len(_heard(listener)) > 3, PATIENCE)
        if told():
            return YES
        return "not told" if len(_heard(listener)) > 1 else _end(listener)


async def finish(scene, client, lines):
    """A channel's last event: it is heard, and after it the client comes to rest."""
    async with listening(scene, client, "/calm/task", lines=lines) as (line, listener):
        if not await line.placed():
            return HANGS
        asked = scene.asked["/calm/task"]
        await scene.finish("calm", "task", "the last")
        if not await listener.until(lambda: "the last" in _heard(listener), PATIENCE):
            return _end(listener)
        again = lambda: scene.asked["/calm/task"] > asked + 1  # noqa: E731
        await listener.until(lambda: listener.closed or again(), PATIENCE / 3)
        return ASKS_ON if again() else RAISES if listener.raised else YES


COLUMNS = {
    "parse": parse,
    "keep-alive": keep_alive,
    "6 s of silence": silence,
    "resume after a cut": resume,
    "maximum duration": maximum_duration,
    "429 as a status": as_status,
    "429 as a stream": as_stream,
    "401, 403, 404": refused,
    "reset": reset,
    "finish": finish,
}


async def survey(client, columns):
    """A client's cells in these columns: as it is, and with its lines where that is another word."""
    skips = dict(client.skips)
    ways = [False, True] if client.lines else [False]
    # By itself, as it takes the longest; and hardly ever a matter of lines.
    found = [await _tried(client, False, ["parse"] if "parse" not in skips else []), {}]
    if client.lines and found[0].get("parse", YES) != YES:
        found[1] = await _tried(client, True, ["parse"])
    others = [name for name in columns if name != "parse" and name not in skips]
    rest = await asyncio.gather(*(_tried(client, way, others) for way in ways))
    bare, better = (words | more for words, more in zip(found, [*rest, {}], strict=False))
    return {name: skips.get(name) or _cell(bare[name], better.get(name)) for name in columns}


def _cell(bare, better):
    return bare if better in (None, bare) else f"{bare} → {better}"


async def _tried(client, lines, names):
    """Columns, all at the same time."""
    async with Scene() as scene:
        words = await asyncio.gather(*(COLUMNS[name](scene, client, lines) for name in names))
    return dict(zip(names, words, strict=True))
