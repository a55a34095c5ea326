"""What clients get while the app is away."""

from __future__ import annotations

from collections.abc import Sequence

from ..finding import Finding, found, ok
from ..wire import Answer, End


def down(event_source: Sequence[Answer], other: Answer) -> list[Finding]:
    """What an EventSource and another client get while the app is away."""
    for reply in event_source:
        kind = reply.header("content-type").partition(";")[0]
        told = [line[6:].strip() for line in reply.body.split(b"\n") if line.startswith(b"retry:")]
        wrong = (
            (reply.status != 200 and f"status {reply.status or 'none'}")
            or (kind != "text/event-stream" and f"Content-Type {kind or 'missing'}")
            or (reply.end is not End.CLEAN and "no end")
            or ((not told or not told[-1].isdigit() or not int(told[-1])) and "no retry:")
        )
        if wrong:
            return [found("app away", "strands-browsers", f"an EventSource gets {wrong}{reply.by}")]
    times = {reply.body for reply in event_source}
    findings = [
        found(
            "app away",
            "herd",
            f"{len(event_source)} clients were told the same: {event_source[0].excerpt}",
        )
        if len(times) == 1 and len(event_source) > 1
        else ok("app away", "an EventSource gets 200, a varied retry: and a clean end")
    ]
    if other.status < 500:
        findings.append(found("real status", "hides-failure", f"other clients get {other.status}"))
    else:
        findings.append(ok("real status", f"other clients get {other.status}"))
    return findings
