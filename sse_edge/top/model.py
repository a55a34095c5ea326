"""What there is to see: of the workers' reports, and of what Redis says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

from ..backends.reports import Report, Reports
from ..counted import counted
from ..figures import complete, together
from ..outcome import REFUSALS
from .rates import Rates, total

Row = dict[str, Any]
"""What one line is about: columns by name, as JSON has them."""

STALE = 7.5
"""Seconds without a word after which a worker is in doubt: it gives one every 5, and counts for 10."""

OFF = 1.0
"""Seconds by which clocks may differ."""

OLD = 60.0
"""Seconds without proof that everything was delivered, after which that is worth a note; as in the alerts."""

SOME = 3
"""Workers that are named in a note."""

FULL = 20
"""Channels that a report names at most; see ``report.MOST``."""

ALONE = {
    "leases": "caps count in each worker alone, as Redis does not count",
    "connect-rate": "connects count in each worker alone, as Redis does not count",
    "writes": "Redis refuses writes",
}


class Note(NamedTuple):
    """Something that is not as it should be."""

    level: Literal["warn", "bad"]
    text: str


class Server(NamedTuple):
    """A Redis server, with INFO's fields; ``evictions`` a second, None if that is not known."""

    address: str
    info: Mapping[str, str]
    evictions: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it at one moment, in Unix seconds of this machine's clock.

    ``clock``: seconds that Redis's is ahead of it.  ``presence`` are the channels and users that were asked
    about, and their streams.
    """

    at: float
    clock: float = 0.0
    totals: Row = field(default_factory=dict)
    workers: Sequence[Row] = ()
    channels: Sequence[Row] = ()
    slowest: Sequence[Row] = ()
    outcomes: Sequence[Row] = ()
    patterns: Sequence[Row] = ()
    redis: Sequence[Row] = ()
    presence: Sequence[Row] = ()
    notes: Sequence[Note] = ()

    def noting(self, note: Note) -> Picture:
        """With one note more."""
        return replace(self, notes=[*self.notes, note])

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "notes": [note._asdict() for note in self.notes]}


def picture(
    reports: Reports,
    rates: Mapping[str, Rates],
    servers: Sequence[Server],
    *,
    at: float,
    version: str,
    presence: Sequence[Row] = (),
) -> Picture:
    """What these say together, to somebody with this ``version``, ``at`` a time of this machine's."""
    told = sorted(reports.told, key=lambda each: (each["worker"]["host"], each["worker"]["pid"]))
    workers = [_worker(each, rates.get(each["worker"]["name"], {}), reports.now) for each in told]
    totals = _totals(told, [rates.get(each["worker"]["name"], {}) for each in told], workers)
    clock = reports.now - at
    refused = bool(totals["alone"].get("writes"))
    redis = [_redis(each, None if number else clock, refused) for number, each in enumerate(servers)]
    return Picture(
        at,
        clock,
        totals,
        workers,
        _channels(told),
        [{**slow, "worker": _named(each)} for each in told for slow in each["slowest"]],
        _outcomes(told, rates),
        _patterns(told, rates),
        redis,
        presence,
        [*_notes(told, workers, totals, reports.silent, version), *_redis_notes(redis)],
    )


def filtered(picture: Picture, pattern: str) -> Picture:
    """Only what has the text, or fits the pattern with ``*`` and ``?``, in a user, address, path, channel or
    worker; totals stay those of all."""
    if not pattern:
        return picture
    glob = pattern if any(each in pattern for each in "*?") else f"*{pattern}*"
    glob = glob.replace("[", "[[]")  # a character as any other, such as of an address

    def fits(row: Row) -> bool:
        said = [row.get(key) for key in ("user", "address", "path", "channel", "worker", "server", "state")]
        return any(fnmatchcase(str(text), glob) for text in (*said, *row.get("channels", ())) if text)

    return replace(
        picture,
        workers=[*filter(fits, picture.workers)],
        channels=[*filter(fits, picture.channels)],
        slowest=[*filter(fits, picture.slowest)],
        patterns=[*filter(fits, picture.patterns)],
    )


def ranked(rows: Sequence[Row], key: str) -> list[Row]:
    """By a column: numbers from the largest, texts from A; what is not known comes last."""
    known = [row for row in rows if row.get(key) is not None]
    number = all(isinstance(row[key], (int, float)) for row in known)
    order: Callable[[Row], Any] = (lambda row: -row[key]) if number else (lambda row: str(row[key]))
    return [*sorted(known, key=order), *(row for row in rows if row.get(key) is None)]


def _named(report: Report) -> str:
    return f"{report['worker']['host']}:{report['worker']['pid']}"


def _worker(report: Report, rates: Rates, now: float) -> Row:
    worker, figures = report["worker"], complete(report["figures"])
    age = max(0.0, now - report["heard"])
    return {
        "worker": _named(report),
        "name": worker["name"],
        "state": _state(figures, age),
        "streams": figures["streams"],
        "opened": total(rates, "opened"),
        "events": total(rates, "delivered"),
        "refused": total(rates, "refusals"),
        "ended": total(rates, "endings"),
        "position": figures["position_age"],
        "up": max(0.0, worker["now"] - worker["began"]),
        "age": age,
        "clock": worker["now"] - report["heard"],
        "version": worker["version"],
        "python": worker["python"],
        "server": worker["server"],
        "path": worker["path"],
    }


def _state(figures: Mapping[str, Any], age: float) -> str:
    if age > STALE:
        return "stale"
    if not figures["connected"]:
        return "cut off"
    return "ready" if figures["ready"] else "draining"


def _totals(told: Sequence[Report], rates: Sequence[Rates], workers: Sequence[Row]) -> Row:
    figures = complete(together(each["figures"] for each in told))
    totals: Row = {name: figures[name] for name in ("streams", "users", "channels", "held", "settling")}
    alone = Counter(
        name for each in told for name, one in complete(each["figures"])["degraded"].items() if one
    )
    return {
        "workers": len(told),
        "states": dict(Counter(row["state"] for row in workers)),
        **totals,
        **{name: _sum(row[name] for row in workers) for name in ("opened", "events", "refused", "ended")},
        "published": _sum((each.get("publishes") or {}).get("published") for each in rates),
        "alone": dict(alone),
    }


def _sum(rates: Any) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


def _channels(told: Sequence[Report]) -> list[Row]:
    """``more``: a worker that names as many channels as it may can have streams on this one too."""
    streams: Counter[str] = Counter()
    for report in told:
        for channel, count in report["channels"]:
            streams[channel] += count
    full = [{channel for channel, _ in each["channels"]} for each in told if len(each["channels"]) >= FULL]
    return [
        {"channel": channel, "streams": count, "more": any(channel not in named for named in full)}
        for channel, count in streams.most_common()
    ]


_MEANINGS = {each.code: each.detail for each in REFUSALS}


def _outcomes(told: Sequence[Report], rates: Mapping[str, Rates]) -> list[Row]:
    figures = complete(together(each["figures"] for each in told))
    rows = []
    for what, name in (("refused", "refusals"), ("ended", "endings"), ("dropped", "dropped")):
        for code, count in figures[name].items():
            if count:
                rate = _sum((each.get(name) or {}).get(code) for each in rates.values())
                meaning = _MEANINGS.get(code, "") if what == "refused" else ""
                rows.append({"what": what, "code": code, "rate": rate, "total": count, "meaning": meaning})
    return ranked(rows, "total")


def _patterns(told: Sequence[Report], rates: Mapping[str, Rates]) -> list[Row]:
    """Of the channels that the routes' templates make."""
    streams = complete(together(each["figures"] for each in told))["pattern_streams"]
    return [
        {
            "channel": pattern,
            "streams": count,
            "events": _sum((each.get("pattern_events") or {}).get(pattern) for each in rates.values()),
        }
        for pattern, count in streams.items()
    ]


def _redis(server: Server, clock: float | None, refused: bool) -> Row:
    info = server.info
    valkey = info.get("valkey_version")
    role = info.get("role")
    return {
        "address": server.address,
        "version": f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version', '')}".strip(),
        "role": role,
        "memory": _number(info, "used_memory"),
        "maxmemory": _number(info, "maxmemory"),
        "policy": info.get("maxmemory_policy"),
        "clients": _number(info, "connected_clients"),
        "ops": _number(info, "instantaneous_ops_per_sec"),
        "evicted": _number(info, "evicted_keys"),
        "evictions": server.evictions,
        "writes": not refused and role in (None, "master"),
        "clock": clock,
    }


def _number(info: Mapping[str, str], name: str) -> int | None:
    text = info.get(name, "")
    return int(text) if text.isdecimal() else None


def _notes(
    told: Sequence[Report], workers: Sequence[Row], totals: Row, silent: int, version: str
) -> list[Note]:
    notes = []
    by_state = {state: [row for row in workers if row["state"] == state] for state in ("cut off", "stale")}
    if rows := by_state["cut off"]:
        notes.append(Note("bad", f"{_who(rows)}: no events arrive from Redis"))
    if rows := by_state["stale"]:
        notes.append(Note("warn", f"{_who(rows)}: not heard for more than a heartbeat"))
    if rows := [row for row in workers if row["position"] > OLD and row["state"] != "cut off"]:
        worst = max(row["position"] for row in rows)
        notes.append(Note("bad", f"{_who(rows)}: cannot prove that the last {worst:.0f} s are complete"))
    for name, count in totals["alone"].items():
        if name in ALONE:
            notes.append(Note("bad", f"{count} of {counted(len(told), 'worker')}: {ALONE[name]}"))
    if silent:
        who = f"{counted(silent, 'worker')}{' more' if told else ''} {'says' if silent == 1 else 'say'}"
        notes.append(Note("warn", f"{who} nothing that this version ({version}) can read"))
    versions = Counter(row["version"] for row in workers)
    if len(versions) > 1 or (versions and version not in versions):
        each = ", ".join(f"{one} ({count})" for one, count in sorted(versions.items()))
        notes.append(Note("warn", f"versions: {each}; this is {version}"))
    for row in workers:
        if abs(row["clock"]) > OFF:
            way = "ahead of" if row["clock"] > 0 else "behind"
            notes.append(Note("warn", f"{row['worker']}: clock {abs(row['clock']):.1f} s {way} Redis's"))
    for path in dict.fromkeys(row["path"] for row in workers):
        if len({str(each["settings"].get("app")) for each in told if each["worker"]["path"] == path}) > 1:
            notes.append(
                Note(
                    "warn",
                    f"{path}: not all have the same channels: a rollout, or two applications on one prefix",
                )
            )
    return notes


def _redis_notes(redis: Sequence[Row]) -> list[Note]:
    notes = []
    for row in redis:
        where = f"Redis {row['address']}"
        if row["evictions"]:
            notes.append(Note("bad", f"{where} evicts keys, and history with them: give it more memory"))
        if row["role"] not in (None, "master"):
            notes.append(Note("bad", f"{where} is a replica, which takes no writes"))
        if row["maxmemory"] and (row["memory"] or 0) > 0.95 * row["maxmemory"]:
            notes.append(Note("warn", f"{where} is full to {100 * row['memory'] / row['maxmemory']:.0f} %"))
    if redis and abs(redis[0]["clock"]) > OFF:
        way = "behind" if redis[0]["clock"] > 0 else "ahead of"
        notes.append(Note("warn", f"this machine's clock is {abs(redis[0]['clock']):.1f} s {way} Redis's"))
    return notes


def _who(rows: Sequence[Row]) -> str:
    named = ", ".join(row["worker"] for row in rows[:SOME])
    return named if len(rows) <= SOME else f"{named} and {len(rows) - SOME} more"
