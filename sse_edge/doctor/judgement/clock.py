"""Whether clocks agree, of which it is known only within bounds what they say."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from itertools import combinations

from ..finding import Finding, found, ok, unknown
from ..wire import Answer

CHECK = "clocks"

MOST = 2.0
"""Seconds by which clocks may differ: NTP keeps them within some milliseconds."""

NAMED = 4
"""Clocks that are named where all is well."""

LEEWAY = 60.0
"""Seconds by which a cookie may come from the future: ``admission.cookies.CLOCK_SKEW``."""

Ahead = tuple[float, float]
"""How far a clock is ahead of this machine's, in seconds: at least, and at most."""

HERE: Ahead = (0.0, 0.0)


def dated(seen: Answer) -> Ahead | None:
    """The clock that an answer's Date is of, the proxy's or the app's; None without one."""
    said = seen.all("date")
    if seen.head_at is None or not said:
        return None
    try:
        date = parsedate_to_datetime(said[0]).timestamp()
    except ValueError:
        return None
    # It has whole seconds, and some servers make it once a second.
    return told(date, seen, unsure=2.0)


def told(now: float, seen: Answer, *, unsure: float = 0.0) -> Ahead:
    """A clock of which an answer says what it was, or up to ``unsure`` seconds more."""
    return now - seen.asked - (seen.head_at or 0.0), now + unsure - seen.asked


def compare(clocks: Mapping[str, Ahead]) -> Finding:
    """Whether ``clocks``, by whose they are, agree with each other and with this machine's."""
    if not clocks:
        return unknown(CHECK, "nobody said what time it is")
    all_clocks = {**clocks, "this machine": HERE}
    apart = [
        (names, gap)
        for names in combinations(all_clocks, 2)
        if abs(gap := _gap(all_clocks[names[0]], all_clocks[names[1]])) > MOST
    ]
    if apart:
        (one, other), gap = max(apart, key=lambda each: abs(each[1]))
        which = "ahead of" if gap > 0 else "behind"
        return found(CHECK, "clock-skew", f"{one}'s clock is {abs(gap):.1f} s {which} {other}'s")
    named, more = [*clocks][:NAMED], len(clocks) - NAMED
    if more > 0:
        named.append(f"and {more} more")
    return ok(CHECK, f"{', '.join(named)}: within {MOST:g} s of this machine")


def is_late(clock: Ahead) -> bool:
    """Whether it takes a cookie that is signed here for one from the future."""
    return clock[1] < -LEEWAY


def _gap(one: Ahead, other: Ahead) -> float:
    """How far ``one`` is ahead of ``other`` at least, negative if it is behind; 0 where it may be neither."""
    return max(0.0, one[0] - other[1]) or min(0.0, one[1] - other[0])
