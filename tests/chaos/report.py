"""A campaign's outcome in words."""

from collections import Counter

SHOWN = 5
"""Violations of one kind that are told at most."""

AROUND = 8.0
"""Seconds before and after a violation whose faults are told with it."""


def line(outcome):
    """The verdict on one line."""
    plan, verdict = outcome.plan, outcome.verdict
    settings = plan.settings
    kinds = Counter(incident.kind for incident in outcome.record.incidents)
    wrong = Counter(violation.kind for violation in verdict.violations)
    parts = [
        f"{plan.layout} seed {plan.seed}: {'ok' if verdict.ok else 'FAILED (' + _counts(wrong) + ')'}",
        f"{verdict.published} published, {verdict.delivered} delivered, {verdict.resumes} resumes",
        f"resets: {_counts(verdict.resets) or 'none'}",
        f"{len(outcome.record.incidents)} faults: {_counts(kinds)}",
        f"answers: {_counts(outcome.statuses)}",
        f"history {settings.history} for {settings.history_ttl:g} s"
        + ", durable" * settings.durable
        + ", no data lost" * (not settings.loses)
        + ", accepts blindly" * settings.accepts_blindly
        + ", calm" * settings.calm,
    ]
    if verdict.repeated:
        parts.append(f"{verdict.repeated} repeated")
    if splits := sum(incident.splits for incident in outcome.record.incidents):
        parts.append(f"{splits} times a server took over from one that lived: not judged around it")
    if outcome.lag > 1:
        parts.append(f"this process was late by {outcome.lag:.1f} s")
    return "; ".join(parts)


def details(outcome):
    """What went wrong, with the faults around it, and how to play it again."""
    told, lines = Counter(), []
    for violation in outcome.verdict.violations:
        told[violation.kind] += 1
        if told[violation.kind] > SHOWN:
            continue
        lines.append(f"- {violation}")
        around = [
            incident
            for incident in outcome.record.incidents
            if incident.began - AROUND <= violation.at <= incident.ended + AROUND
        ]
        lines += [f"    {incident}" for incident in sorted(around, key=lambda each: each.began)]
    lines += [f"- {count - SHOWN} more of {kind}" for kind, count in sorted(told.items()) if count > SHOWN]
    lines.append(f"To play it again: {outcome.plan.again}")
    return "\n".join(lines)


def _counts(counter):
    return ", ".join(
        f"{count} {what}" for what, count in sorted(counter.items(), key=lambda each: str(each[0]))
    )
