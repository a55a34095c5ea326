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

COUNTS = {"endings": "ending", "refusals": "refusal", "errors": "error"}


def tell(stats: RequestStats, second: Second, at: int) -> None:
    """Let Locust know of a second, as if it had been told of each thing by itself."""
    for what, name in TIMES.items():
        if times := getattr(second, what):
            _add(stats, _entry(stats, name, at, times.total(), times))
    for what, name in COUNTS.items():
        for code, count in getattr(second, what).items():
            entry = _entry(stats, f"{name} {code}", at, count, Counter())
            if what == "errors":
                entry.num_failures = entry.num_fail_per_sec[at] = count
                key = StatsError.create_key(KIND, entry.name, code)
                stats.errors.setdefault(key, StatsError(KIND, entry.name, code)).occurrences += count
            _add(stats, entry)


def _entry(stats: RequestStats, name: str, at: int, count: int, times: Histogram) -> StatsEntry:
    entry = StatsEntry(stats, name, KIND)
    entry.num_requests = entry.num_reqs_per_sec[at] = count
    entry.num_none_requests = count - times.total()
    entry.total_response_time = sum(ms * number for ms, number in times.items())
    entry.min_response_time, entry.max_response_time = min(times, default=None), max(times, default=0)
    entry.response_times.update(times)
    entry.start_time = entry.last_request_timestamp = float(at)
    return entry


def _add(stats: RequestStats, entry: StatsEntry) -> None:
    for known in (stats.get(entry.name, KIND), stats.total):
        known.extend(entry)
