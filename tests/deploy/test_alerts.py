"""deploy/alerts.yaml: every alert fires on figures that call for it, and on none that are near them."""

import json
import re
import subprocess

import pytest
import yaml

from servers.processes import TESTS, command
from sse_edge import outcome
from sse_edge.figures import FIGURES, complete
from sse_edge.status import exposition

RULES = TESTS.parent / "deploy/alerts.yaml"


def slow(metric, fast, rest, outcome=""):
    """Figures of a histogram of which so many observations a sample are fast, and so many are not."""
    labels = f'outcome="{outcome}",' if outcome else ""
    of = f'{{outcome="{outcome}"}}' if outcome else ""
    return {
        f'{metric}_seconds_bucket{{{labels}le="0.1"}}': f"0+{fast}x90",
        f'{metric}_seconds_bucket{{{labels}le="10"}}': f"0+{fast + rest}x90",
        f'{metric}_seconds_bucket{{{labels}le="+Inf"}}': f"0+{fast + rest}x90",
        f"{metric}_seconds_count{of}": f"0+{fast + rest}x90",
    }


CASES = {
    # alert: (series that make it fire, series that do not), name{labels} → promtool's notation, 30 s apart
    "SseEdgeNotScraped": ({'up{job="x"}': "1x60"}, {'up{job="sse-edge"}': "0x60"}),
    "SseEdgeWorkerDown": (
        {'up{job="sse-edge"}': "0x60"},
        {'up{job="sse-edge"}': "1x60", 'up{job="x"}': "0x60"},
    ),
    "SseEdgeFewerWorkers": (
        {'workers{instance="a",worker="0"}': "1x90", 'workers{instance="a",worker="1"}': "1x40 stale"},
        {
            'workers{instance="a"}': "4x90",
            'workers{instance="b"}': "3x40 4x50",
            'workers{instance="c"}': "4x9 3x80",
            'workers{instance="d"}': "4x30 5x12 4x50",  # each comes before one goes, in a rolling restart
        },
    ),
    "SseEdgeBackendAway": ({"connected": "0x60"}, {"connected": "1x60"}),
    "SseEdgePositionOld": (
        {"position_age_seconds": "31x60", "connected": "1x60"},
        {
            'position_age_seconds{instance="a"}': "31x60",
            'connected{instance="a"}': "0x60",
            'position_age_seconds{instance="b"}': "30x60",
            'connected{instance="b"}': "1x60",
        },
    ),
    "SseEdgeHeld": ({"held": "1x60"}, {"held": "9 0 " * 30}),
    "SseEdgeSettling": ({"settling": "1x60"}, {"settling": "9 0 " * 30}),
    "SseEdgeNotReady": (
        {"ready": "0x60", "connected": "1x60"},
        {"ready": "0x60", "connected": "0x60"},
    ),
    "SseEdgeLimitsAlone": (
        {'degraded{limit="leases"}': "1x60"},
        {'degraded{limit="leases"}': "0x60", 'degraded{limit="writes"}': "1x60"},
    ),
    "SseEdgeNoWrites": (
        {'degraded{limit="writes"}': "1x60"},
        {'degraded{limit="writes"}': "0x60", 'degraded{limit="leases"}': "1x60"},
    ),
    "SseEdgeWorkerFull": (
        {'refusals_total{code="worker-full"}': "0+3x60"},
        {'refusals_total{code="worker-full"}': "9x60", 'refusals_total{code="draining"}': "0+3x60"},
    ),
    "SseEdgeManyStreams": (
        {"streams": "24001x60", "workers": "2x60"},
        {"streams": "24000x60", "workers": "2x60"},
    ),
    "SseEdgeUneven": (
        {
            'streams{instance="a"}': "3000x90",
            'streams{instance="b"}': "10x90",
            'streams{instance="c"}': "10x90",
            'workers{instance="a"}': "1x90",
            'workers{instance="b"}': "1x90",
            'workers{instance="c"}': "1x90",
        },
        {
            'streams{instance="a"}': "3000x90",
            'workers{instance="a"}': "4x90",
            'streams{instance="b"}': "700x90",
            'workers{instance="b"}': "1x90",
        },
    ),
    "SseEdgeRefusals": (
        {'refusals_total{code="ip-limit"}': "0+60x60", "streams_opened_total": "0+60x60"},
        {'refusals_total{code="ip-limit"}': "0+6x60", "streams_opened_total": "0+60x60"},
    ),
    "SseEdgeIntruders": (
        {'refusals_total{code="origin"}': "0+330x60"},
        {'refusals_total{code="origin"}': "0+270x60", 'refusals_total{code="not-found"}': "0+900x60"},
    ),
    "SseEdgeSlowAdmission": (
        slow("admission", 80, 20, "accepted"),
        {**slow("admission", 91, 9, "accepted"), **slow("admission", 0, 99, "refused")},
    ),
    "SseEdgeLateEvents": (slow("delivery", 80, 20), slow("delivery", 99, 1)),
    "SseEdgeDropped": (
        {'dropped_total{reason="foreign"}': "0+1x60"},
        {'dropped_total{reason="foreign"}': "5x60"},
    ),
    "SseEdgeSlowClients": (
        {'endings_total{reason="slow"}': "0+3x90", 'endings_total{reason="client-gone"}': "0+30x90"},
        {'endings_total{reason="slow"}': "0+1x90", 'endings_total{reason="client-gone"}': "0+30x90"},
    ),
    "SseEdgeErrors": (
        {'endings_total{reason="error"}': "0+1x60"},
        {'endings_total{reason="error"}': "7x60", 'endings_total{reason="max-duration"}': "0+9x60"},
    ),
    "SseEdgeHerd": (
        {"streams_opened_total": "0+3000x60", "streams": "500x60"},
        {
            "streams_opened_total": "0+9000x60",
            'endings_total{reason="answered"}': "0+7500x60",
            "streams": "500x60",
        },
    ),
}
"""Each alert, with figures that are to make it fire and figures near them that are not."""


def cases(*names):
    """promtool's test cases for these alerts: half an hour on, it fires or it does not."""
    return [
        {
            "interval": "30s",
            "input_series": [
                {"series": each if each.startswith("up") else f"sse_edge_{each}", "values": values}
                for each, values in series.items()
            ],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) > bool 0',
                    "eval_time": "30m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }
        for name in names
        for series, fires in zip(CASES[name], (True, False), strict=True)
    ]


def promtool(*arguments):
    """Its exit code and everything it said."""
    done = subprocess.run(
        [command("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=50, check=False
    )
    return done.returncode, done.stdout + done.stderr


def tried(tmp_path, rules, tests):
    """``promtool test rules``: exit code and what it said."""
    path = tmp_path / "alerts.test.yaml"
    path.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}))
    return promtool("test", "rules", path)


def changed(tmp_path, old, new):
    """The alerts with one thing changed."""
    text = RULES.read_text()
    assert old in text
    copy = tmp_path / "alerts.yaml"
    copy.write_text(text.replace(old, new, 1))
    return copy


def test_alert_rules(tmp_path):
    """promtool finds nothing wrong with the alerts, and sees a broken expression."""
    assert promtool("check", "rules", RULES)[0] == 0
    code, said = promtool("check", "rules", changed(tmp_path, "== 0", "=== 0"))
    assert code == 1
    assert "parse" in said


def test_every_alert_fires_and_does_not(tmp_path):
    """Each alert fires on figures that call for it, and not on figures near them."""
    names = {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
    assert names == set(CASES)
    code, said = tried(tmp_path, RULES, cases(*CASES))
    assert code == 0, said


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("SseEdgeManyStreams", "sse_edge_workers > 12000", "sse_edge_workers > 12001"),
        ("SseEdgeManyStreams", "sse_edge_workers > 12000", "sse_edge_workers >= 12000"),
        ("SseEdgeUneven", "max(sse_edge_streams / sse_edge_workers)", "max(sse_edge_streams)"),
        ("SseEdgeFewerWorkers", "quantile_over_time(0.5,", "max_over_time("),
        ("SseEdgeWorkerFull", 'code="worker-full"', 'code="worker_full"'),
        ("SseEdgeBackendAway", "sse_edge_connected == 0", "sse_edge_backend_connected == 0"),
    ],
)
def test_a_changed_alert_is_noticed(tmp_path, name, old, new):
    """The figures tell a threshold, a label or a name that is a little off."""
    assert tried(tmp_path, changed(tmp_path, old, new), cases(name))[0] == 1


def test_metrics_that_alerts_name():
    """Each metric and label that an alert names is one that a worker exports, and each code exists."""
    text = RULES.read_text()
    named = set(re.findall(r"sse_edge_\w+", re.sub(r"name: sse_edge$", "", text, flags=re.MULTILINE)))
    assert len(named) >= 6
    exported = {
        (sample.name, tuple(sample.labels))
        for each in FIGURES
        for sample in exposition.family(each, [exposition.Row(complete({}))]).samples
    }
    assert named <= {name for name, _ in exported}
    codes = {each.code for each in vars(outcome).values() if isinstance(each, outcome.Refusal)}
    reasons = {each.reason for each in vars(outcome).values() if isinstance(each, outcome.Ending)}
    for value in re.findall(r'code=~?"([^"]+)"', text):
        assert set(value.split("|")) <= codes
    for value in re.findall(r'reason=~?"([^"]+)"', text):
        assert set(value.split("|")) <= reasons
