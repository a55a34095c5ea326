"""The measurement of what stuck clients cost: the whole of it, with few streams, and its table."""

import pytest

from loadtest import stuck
from loadtest.measure import machine

pytestmark = pytest.mark.live


def test_run(monkeypatch):
    """Those that stop reading are ended as slow, the others get everything, and all is measured."""
    monkeypatch.setattr(stuck, "EVENTS", 30)
    monkeypatch.setattr(stuck, "SPACING", 0.02)
    monkeypatch.setattr(machine, "cores", lambda: (machine.os.sched_getaffinity(0),) * 2)
    result = stuck.run(30, 5, 1)
    (seen,) = result["rounds"]
    assert seen["ended"] == 5
    for phase in stuck.PHASES:
        figures = seen["phases"][phase]
        assert 0 < figures["p50"] <= figures["p99"]
        assert figures["cpu"] > 0
        assert seen["memory"][phase] > 1_000_000


def test_table():
    """Ratios are taken within a round, and their median counts."""
    rounds = []
    for machine_speed, cost in ((1, 2), (10, 3), (1, 4)):
        before = {"p50": 1.0 * machine_speed, "p99": 2.0 * machine_speed, "cpu": 3.0 * machine_speed}
        worse = {name: value * cost for name, value in before.items()}
        rounds.append(
            {
                "phases": {"before": before, "stuck": worse, "after": before},
                "memory": dict.fromkeys(stuck.PHASES, 1 << 20),
                "ended": 5,
                "ended_before_the_last_event": 4,
            }
        )
    whole = {"streams": 30, "stuck": 5, "events": 3, "size": 10, "spacing": 0.2, "rounds": rounds}
    whole["ratios"] = stuck.ratios(rounds)
    assert whole["ratios"]["p50"] == {"stuck": [2.0, 3.0, 4.0], "after": [1.0, 1.0, 1.0]}
    lines = stuck.table(whole).splitlines()
    assert lines[3].split()[-5:] == ["1.0", "4.0", "1.0", "3.00", "1.00"]
    assert lines[-1] == "ended as slow in each round: 5, 5, 5 (before the last event: 4, 4, 4)"
