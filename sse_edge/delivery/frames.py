"""What the edge itself says on a stream, as bytes."""

from __future__ import annotations

import json

from ..backends.base import Replay, Reset
from ..event import Place, comment, encode
from ..outcome import Ending, Refusal

KEEP_ALIVE = comment("keep-alive")
_OPEN = comment("stream open")
_QUIETLY = b"event: edge-position\n\n"
_TOLD = b"event: edge-position\ndata: {}\n\n"


def greeting(retry_ms: int) -> bytes:
    """The first bytes of a stream: a comment, and how long to wait before coming back.

    No block of its own: what comes first ends it, and clients heed a retry as soon as its line is there.
    """
    return b"%sretry: %d\n" % (_OPEN, retry_ms)


def position(place: Place) -> bytes:
    """Where the stream is as it begins, as an event for which nobody listens.

    With data, or Firefox and many other clients would forget the place: they keep none of a block that has
    no data, against WHATWG HTML, section 9.2.6 (deploy/CLIENTS.md: resume after a cut).
    """
    return place.line() + _TOLD


def is_position(frame: bytes) -> bool:
    """Whether it only says where its stream is."""
    return frame.endswith((_QUIETLY, _TOLD))  # no line of data begins so


def keep_alive(place: Place | None) -> bytes:
    """A comment; with a place a quiet client resumes from there and not from its last event.

    Without data, which no browser dispatches: whoever forgets this place has an older one.  Some other
    clients dispatch it all the same, and have a name then for which nobody listens, where without it they
    would tell an empty ``message``.
    """
    return KEEP_ALIVE if place is None else KEEP_ALIVE + place.line() + _QUIETLY


def goodbye(ending: Ending, position: Place | None, retry_ms: int) -> bytes:
    """The last event of a stream."""
    id = None if position is None else str(position)
    return encode(json.dumps({"reason": ending.reason}), event="edge-close", id=id, retry=retry_ms)


def refused(refusal: Refusal, retry_ms: int) -> bytes:
    """All that a stream says which is none, for clients that give up for good on a status but 200."""
    return encode(refusal.body().decode(), event="edge-refused", retry=retry_ms)


def dropped(channel: str, ending: Ending) -> bytes:
    """The stream goes on without a channel."""
    return encode(_named(channel, ending.reason), event="edge-dropped")


def reset(reset: Reset, place: Place | None = None) -> bytes:
    """Something of a channel is missing for good."""
    id = None if place is None else str(place)
    return encode(_named(reset.channel, reset.reason), event="edge-reset", id=id)


def replay(replay: Replay, *, begins: bool = False) -> list[bytes]:
    """Resets, then events, then the place they lead to; that comes before those at the end without an id.

    Where events say it themselves it is left out, but for a stream that ``begins``: those that come first
    may be older than anything that history can prove of other channels.

    No reset carries an id unless it is the last thing sent: a client that is cut off in between must
    come back with a Last-Event-ID that still owes it the rest.
    """
    if not (replay.events or replay.resets):  # as almost always
        return [] if replay.upto is None else [position(replay.upto)]
    said = [reset(one) for one in replay.resets]
    if replay.upto is None:
        return said + [frame for _, _, frame in replay.events]
    if replay.resets and not replay.events:
        said[-1] = reset(replay.resets[-1], replay.upto)
        return said
    frames = [frame for _, _, frame in replay.events]
    if not replay.resets and not begins and frames[-1].startswith(b"id: "):
        return frames
    place = position(replay.upto)
    later = 0
    while later < len(frames) and not frames[-1 - later].startswith(b"id: "):
        later += 1
    placed = len(frames) - later
    said += frames[:placed]
    if later or begins or replay.resets or not placed:
        said.append(place)
    return said + frames[placed:]


def _named(channel: str, reason: str) -> str:
    return json.dumps({"channel": channel, "reason": reason}, ensure_ascii=False)
