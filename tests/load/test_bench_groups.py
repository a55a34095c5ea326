"""What the benchmark measures only when it is asked for it: the whole of each group, with small numbers."""

from dataclasses import replace

import pytest

from loadtest.bench import __main__ as command
from loadtest.bench import groups
from loadtest.bench.groups import memory, publishing
from loadtest.bench.run import Plan, Run
from loadtest.bench.targets import PUBLISHED, TABLES, TARGETS, WRITTEN, medians, verdicts

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

PLAN = Plan(
    sizes=(50,),
    streams=200,
    stuck=5,
    stuck_events=30,
    stuck_spacing=0.02,
    few_rounds=1,
    kept_sizes=(50, 1000),
    kept=(1, 20),
    kept_bytes=100_000,
    written=40,
    written_seconds=0.5,
)


@pytest.fixture
def measured():
    """What is measured of a part: the run, and what is printed of it."""

    def measure(part, **numbers):
        run = Run(replace(PLAN, **numbers), ["sse_edge"], {part}, lambda what: None)
        groups.measure(run)
        text, _ = command.report(run, {}, "the command")
        return run, text

    return measure


def test_stuck(measured):
    """Those that stop reading are ended as slow, the others get everything, and all is measured."""
    run, text = measured("stuck")
    assert run.samples["stuck_wrong"] == {"sse_edge": {200: [0]}}
    assert run.notes["of 5 that stop reading ended as slow"].startswith("5 (")
    for phase in ("before", "stuck", "after"):
        found = {what: run.samples[f"stuck_{what}"][phase][200] for what in ("p50", "p99", "cpu", "memory")}
        assert 0 < found["p50"][0] <= found["p99"][0]
        assert found["cpu"][0] > 0
        assert found["memory"][0] > 1_000_000
    assert "half have an event after, stuck ÷ before" in text
    assert "after ÷ before" in text


@pytest.mark.parametrize(("wrong", "verdict"), [([0, 0], "met"), ([0, 1], "MISSED")])
def test_each_stuck_stream_is_to_be_ended(wrong, verdict):
    """One that was not ended, or one more that was, fails the run; what it costs the others is told."""
    samples = {"stuck_wrong": {"sse_edge": {30: wrong}}}
    samples["stuck_p50"] = {"before": {30: [2.0, 20.0]}, "stuck": {30: [4.0, 40.0]}}
    rows = [target.judge(samples) for target in TARGETS if target.part == "stuck"]
    assert rows[-1]["verdict"] == verdict
    assert (rows[0]["figure"], rows[0]["verdict"]) == (2.0, "-")
    assert verdicts(rows).splitlines()[-1].endswith(f"≤ 0  {verdict}")


@pytest.mark.heavy
def test_footprint(measured):
    """What lines ask for is told by what they are for, and is about what the process holds."""
    run, text = measured("footprint", streams=1000)  # with few, what is freed meanwhile counts for much
    for case in memory.CASES:
        parts = {part: by[1000][0] for part, by in run.samples[f"footprint: {case}"].items()}
        asked, held = parts.pop("asked for"), parts.pop("held by the process")
        assert asked == pytest.approx(sum(parts.values()))
        assert 1500 < asked < 8000
        assert held < 20_000
        assert parts["the stream"] > 200
        assert parts["its sink"] > 100
    assert text.count("its sink") == 1


def test_kept(measured):
    """A real Redis takes no more than is reckoned, which is the row that says so."""
    run, text = measured("kept")
    assert {name: sorted(by) for name, by in run.samples["kept_part"].items()} == {
        "of 50 bytes": [1, 20],
        "of 1,000 bytes": [1, 20],
    }
    assert all(0.3 < one <= 1.05 for by in run.samples["kept_part"].values() for (one,) in by.values())
    figure, _, highest = next(target for target in TARGETS if target.part == "kept").find(run.samples)
    assert figure == highest
    assert 100 < int(run.notes["a dedupe key takes"].removesuffix(" bytes")) < 300
    assert "reckoned, bytes" in text


def test_writing(measured):
    """A writer makes fewer events of the same tokens; what nobody publishes costs Redis nothing."""
    run, text = measured("writing")
    found = {name: by[40][0] for name, by in run.samples["token_events"].items()}
    assert found[publishing.NOTHING] == 0
    # All channels' events count, not those of the last to end.
    assert 0.03 < found[WRITTEN] < found[PUBLISHED] == 1
    calls = {name: by[40][0] for name, by in run.samples["token_calls"].items()}
    assert calls[publishing.NOTHING] == 0 < calls[WRITTEN]
    assert all(by[40][0] > 0 for by in run.samples["token_cpu"].values())
    assert medians(run.samples, TABLES["Tokens"], "channels") in text
