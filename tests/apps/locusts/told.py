"""What Locust is told, and what a target makes of a URL."""

import json
from collections import Counter

from locust.stats import RequestStats, bucket_response_time

from loadtest.client import tally as tallies
from loadtest.client.tally import Second, Tally
from loadtest.client.target import Target
from loadtest.run import member

from .played import SECRET


def rounding():
    """Milliseconds that are not rounded as Locust rounds them."""
    values = [*range(20_500), *range(20_500, 400_000, 37), 999_499, 999_500, 3_600_000]
    return {
        "checked": len(values),
        # Half a millisecond more, so that no float is just below.
        "wrong": [ms for ms in values if tallies.rounded((ms + 0.5) / 1000) != bucket_response_time(ms)],
        "negative": [tallies.rounded(seconds) for seconds in (-0.0001, -0.5, -100.0)],
    }


def take(script):
    """What ``take`` gives; a step is [moment, what]: "event", "open" or "take"."""
    tally, stats, given = Tally(), RequestStats(), []
    for at, what in script:
        if what == "event":
            second = tally.second(at)
            second.events += 1
            second.latency[5] += 1
        elif what == "open":
            tally.streams += 1
        else:
            taken = tally.take(at)
            for second, one in taken.items():
                member.tell(stats, one, second)
            given.append([[second, one.events, one.streams] for second, one in taken.items()])
    entry = stats.get("event", member.KIND)
    return {"given": given, "kept": sorted(tally.seconds), "told": entry.num_requests}


def tell(latencies, counts):
    """Seconds that Locust is told of as a whole, beside what it says when told of each thing by itself.

    ``latencies`` are milliseconds by second, ``counts`` [kind, code, number] by second.
    """
    tally, told, single = Tally(), RequestStats(), RequestStats()
    kind = member.KIND
    for at, values in enumerate(latencies, 1_000_000):
        for ms in values:
            tally.second(at).latency[tallies.rounded((ms + 0.5) / 1000)] += 1
            single.log_request(kind, "event", tallies.rounded((ms + 0.5) / 1000), 0)
    for at, rows in enumerate(counts, 1_000_000):
        for what, code, number in rows:
            getattr(tally.second(at), what)[code] += number
            for _ in range(number):
                single.log_request(kind, f"{what.removesuffix('s')} {code}", None, 0)
                if what == "errors":
                    single.log_error(kind, f"error {code}", code)
    for at in sorted(tally.seconds):
        member.tell(told, tally.seconds[at], at)

    def said(stats):
        entries = {
            f"{method} {name}": entry
            for (name, method), entry in sorted(stats.entries.items())
            if entry.num_requests
        }
        return {
            "entries": {
                name: {
                    "requests": entry.num_requests,
                    "none": entry.num_none_requests,
                    "failures": entry.num_failures,
                    "median": entry.median_response_time,
                    "mean": entry.avg_response_time,
                    "least": entry.min_response_time,
                    "most": entry.max_response_time,
                    "percentiles": [entry.get_response_time_percentile(part) for part in (0.5, 0.9, 0.99, 1)],
                    "ratio": entry.fail_ratio,
                }
                for name, entry in {**entries, "all": stats.total}.items()
            },
            "errors": {
                key: [each.method, each.name, each.error, each.occurrences]
                for key, each in sorted(stats.errors.items())
            },
        }

    entry = told.get("event", kind)
    per_second = {at: number for at, number in sorted(entry.num_reqs_per_sec.items()) if number}
    shown = [each.to_dict()["occurrences"] for each in told.errors.values()]
    return {"told": said(told), "single": said(single), "per_second": per_second, "shown": shown}


def percentiles(histogram, part):
    """A percentile, the spread, and both of the histogram in two parts put together."""
    whole = {int(ms): count for ms, count in histogram.items()}
    pieces = [Second(latency=Counter({ms: count // 2 for ms, count in whole.items()}))]
    pieces.append(Second(latency=Counter({ms: count - count // 2 for ms, count in whole.items()})))
    return {
        "percentile": tallies.percentile(whole, part),
        "spread": tallies.spread(whole),
        "together": dict(tallies.together(pieces).latency) == whole,
    }


def add():
    """The same second, seen by two processes."""
    one, other = Second(), Second()
    for second, times in ((one, 1), (other, 2)):
        for name in ("attempts", "reconnects", "opened", "events", "streams"):
            setattr(second, name, 10 * times)
        second.latency[5] += times
        second.latency[5 + times] += 1
        second.endings["cut"] += times
        second.refusals[f"status {times}"] += 1
    before = json.dumps(other.to_dict())
    one.add(other.to_dict())
    return {"both": one.to_dict(), "untouched": json.dumps(other.to_dict()) == before}


def target(url):
    """What a target makes of a URL, or why it makes nothing."""
    try:
        made = Target(url.split(","), SECRET)
    except ValueError as error:
        return {"error": str(error)}
    line, *fields = made.request(1, "u1", "5-1").decode().split("\r\n")
    return {
        "addresses": made.addresses,
        "tls": made.context is not None,
        "here": made.here,
        "line": line,
        "host": [field for field in fields if field.startswith("Host")],
        "place": [field for field in fields if field.startswith("Last")],
        "turns": [made.address(number)[1] for number in range(4)],
    }
