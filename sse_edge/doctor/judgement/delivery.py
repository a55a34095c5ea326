"""What comes on a stream, when, and what comes after it has ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

from ..finding import Finding, found, ok, unknown
from ..wire import Answer, End, Heard

SLOW = 2.0
"""Seconds until a first byte, or until an event arrives, that nobody would call at once."""

IDLE_TIMEOUTS = {
    "CloudFront": 30,
    "Google Cloud load balancer": 30,
    "event-source-polyfill": 45,
    "Heroku": 55,
    "AWS ALB": 60,
    "nginx as it comes": 60,
    "Traefik": 60,
    "Cloudflare": 120,
}
"""Seconds of silence after which each cuts a stream, as their documentation says."""

SLACK = 0.8
"""A keep-alive that comes after more than this share of a time-out will miss it some day."""


def events(times: Sequence[tuple[float, float | None]]) -> Finding:
    """``times``: when each event was published, and when it was heard or None; seconds, one clock."""
    missing = sum(at is None for _, at in times)
    delays = [at - published for published, at in times if at is not None]
    if missing == len(times):
        return found("buffering", "events-missing", f"none of {len(times)} published events arrived")
    if missing:
        return found("buffering", "buffered", f"{missing} of {len(times)} published events did not arrive")
    # Late is what arrives only after the next one was published: together with it.
    late = [
        published for (published, at), (following, _) in pairwise(times) if at is not None and at > following
    ]
    if max(delays) > SLOW:
        together = ", some of them together" if late else ""
        return found("buffering", "buffered", f"published events arrived {max(delays):.1f} s late{together}")
    return ok("buffering", f"{len(times)} events, each within {1000 * max(delays):.0f} ms")


def keep_alive(seen: Answer, watched: float) -> Finding:  # noqa: PLR0911 - likewise
    """A stream to which nothing was published, watched for ``watched`` seconds."""
    times = [at for at, _ in seen.pieces]
    last = times[-1] if times else 0.0
    over = seen.end_at if seen.end is not End.OPEN else watched
    silences = [after - before for before, after in pairwise(times)]
    if seen.end is not End.OPEN:
        if b"event: edge-close" in seen.body:
            return unknown("keep-alive", f"the app itself ended the stream after {over:.1f} s")
        if over - last >= 1:
            return found(
                "keep-alive", "idle-timeout", f"the stream was cut after {over - last:.1f} s of silence"
            )
        return found(
            "keep-alive", "cut-short", f"the stream was cut after {over:.1f} s, in the midst of talk"
        )
    longest = max([*silences, over - last])
    if longest > 60:
        return found("keep-alive", "no-keep-alive", f"{longest:.0f} s of silence")
    if longest > SLACK * watched:
        return unknown("keep-alive", f"none within {watched:.0f} s; --long waits longer")
    missed = [f"{name} ({limit} s)" for name, limit in IDLE_TIMEOUTS.items() if longest > SLACK * limit]
    if missed:
        seen_text = f"up to {longest:.0f} s of silence, too long for {', '.join(missed)}"
        return found("keep-alive", "rare-keep-alive", seen_text)
    return ok("keep-alive", f"at most {longest:.1f} s of silence in {watched:.0f} s")


def retry(told: str | None) -> Finding:
    """The reconnection time that the greeting tells."""
    if told is None:
        return found("retry", "no-retry", "the stream does not say when to come back")
    if not told.isdecimal() or int(told) == 0:
        return found("retry", "no-retry", f"retry: {told}")
    return ok("retry", f"come back after {int(told) / 1000:.1f} s")


def ending(seen: Answer, blocks: Sequence[Heard]) -> Finding:
    """A stream that the app was told to end."""
    closing = next((block for block in blocks if block.event == "edge-close"), None)
    if seen.end is End.OPEN:
        what = "its goodbye came, but not its end" if closing else "it did not end"
        return found("ending", "unclean-end", f"{what} when the app was told to end it")
    if seen.end is End.CUT or closing is None:
        return found(
            "ending", "unclean-end", "cut, without the last chunk" if closing else "no goodbye before it"
        )
    if not closing.retry:
        return found("ending", "no-retry", "edge-close without retry:")
    return ok("ending", f"a goodbye, retry: {closing.retry}, and a clean end")


def cursor(reply: Answer) -> Finding:
    """A poll with a Last-Event-ID that nobody gave out, of which the app says so if it sees it.

    By a reset of each channel; of a source's stream, and by edges of before, by a 400.
    """
    if reply.status == 400 or (reply.status == 200 and _resets(reply.body)):
        return ok("cursor", "Last-Event-ID reaches the app")
    if reply.status == 200:
        return found("cursor", "cursor-stripped", "a foreign Last-Event-ID is not answered by a reset")
    return unknown("cursor", f"a poll with a foreign Last-Event-ID gets status {reply.status}")


def _resets(body: bytes) -> bool:
    try:
        return bool(json.loads(body)["resets"])
    except (ValueError, TypeError, LookupError):
        return False


def resume(missed: Sequence[str], blocks: Sequence[Heard]) -> Finding:
    """``missed`` are the data that a client had to be given when it came back."""
    resets = [block.data for block in blocks if block.event == "edge-reset"]
    if resets:
        return found("resume", "resume-incomplete", f"edge-reset {resets[0]}")
    if any(block.event == "edge-refused" for block in blocks):
        return unknown("resume", "a second stream of this user is refused: is per_user 1?")
    given = [block.data for block in blocks if block.data in missed]
    if given != list(missed):
        seen = f"{len({*given})} of {len(missed)} missed events, or in another order"
        return found("resume", "resume-incomplete", seen)
    return ok("resume", f"{len(missed)} missed events, in order")
