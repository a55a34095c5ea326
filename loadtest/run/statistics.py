"""What Locust is told of streams: thousands of events a second, once a second, as one entry each."""

from __future__ import annotations

from collections import Counter

from locust.stats import RequestStats, StatsEntry, StatsError

from ..client.tally import Histogram, Second

KIND = "SSE"
"""The type under which Locust lists everything."""

TIMES = {"connect": "connect", "first_byte": "first byte", "latency": "event", "away": "away"}
"""What is timed, and its name in Locust: until the connection is there (TLS too), until the response begins,
from publishing to the client, and from an ending until the stream is live again."""

COUNTS = ("endings", "refusals", "errors")


def tell(stats: RequestStats, second: Second, at: int) -> None:
    """Let Locust know of a second, as if it had been told of each thing by itself."""
    for what, name in TIMES.items():
        histogram: Histogram = getattr(second, what)
        if histogram:
            entry = _entry(stats, name, at, histogram.total())
            entry.total_response_time = sum(ms * count for ms, count in histogram.items())
            entry.min_response_time, entry.max_response_time = min(histogram), max(histogram)
            entry.response_times.update(histogram)
            _add(stats, entry)
    for what in COUNTS:
        counts: Counter[str] = getattr(second, what)
        for code, count in counts.items():
            entry = _entry(stats, f"{what.removesuffix('s')} {code}", at, count)
            entry.num_none_requests = count
            if what == "errors":
                entry.num_failures = entry.num_fail_per_sec[at] = count
                key = StatsError.create_key(KIND, entry.name, code)
                stats.errors.setdefault(key, StatsError(KIND, entry.name, code)).occurrences += count
            _add(stats, entry)


def _entry(stats: RequestStats, name: str, at: int, count: int) -> StatsEntry:
    entry = StatsEntry(stats, name, KIND)
    entry.num_requests = entry.num_reqs_per_sec[at] = count
    entry.start_time = entry.last_request_timestamp = float(at)
    return entry


def _add(stats: RequestStats, entry: StatsEntry) -> None:
    for known in (stats.get(entry.name, KIND), stats.total):
        known.extend(entry)
