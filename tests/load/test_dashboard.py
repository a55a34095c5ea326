"""deploy/grafana.json: what panels ask for exists, a real Prometheus has it, and without one they say so."""

import copy
import itertools
import json
import re
import time

import gevent
import pytest

from loadtest.dashboard import incidents, plot
from loadtest.dashboard.__main__ import SAVED
from loadtest.dashboard.incidents import Servers
from loadtest.dashboard.plot import draw, said
from loadtest.site.prometheus import ALERTS, prometheus
from servers.processes import command
from sse_edge.figures import FIGURES
from sse_edge.outcome import ENDINGS, REFUSALS

BOARD = json.loads(plot.BOARD.read_text())

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

LABELS = {"le", "pattern", "code", "reason", "outcome", "limit", "job", "instance", "worker"}
"""By which sums may be taken: few values each.  There is no label for channels or users."""

OF_PROMETHEUS = {"up", "ALERTS"}

SUFFIXES = {"gauge": [""], "counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}

EXPORTED = {f"sse_edge_{each.metric}{suffix}": each for each in FIGURES for suffix in SUFFIXES[each.kind]}
"""What a worker tells: the name of a series → its figure."""


def faults(dashboard):
    """What is wrong with it, a line each."""
    found = []
    shown = [each for each in dashboard["panels"] if each["type"] != "row"]
    ids = [each["id"] for each in dashboard["panels"]]
    found += [f"id {each} is there twice" for each in {each for each in ids if ids.count(each) > 1}]
    cells = {}
    for each in dashboard["panels"]:
        grid = each["gridPos"]
        if grid["x"] + grid["w"] > 24:
            found.append(f"{each['title']} is wider than the page")
        for cell in itertools.product(
            range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
        ):
            if cell in cells:
                found.append(f"{each['title']} lies on {cells[cell]}")
                break
            cells[cell] = each["title"]
    variables = [each for each in dashboard["templating"]["list"] if each["type"] != "datasource"]
    annotations = [each for each in dashboard["annotations"]["list"] if not each.get("builtIn")]
    for each in [*shown, *variables, *annotations]:
        if each["datasource"] != DATASOURCE:
            found.append(f"{each.get('title') or each['name']} has a data source of its own")
    for each in shown:
        if not each["description"] or not each["fieldConfig"]["defaults"].get("noValue"):
            found.append(f"{each['title']} does not say what it is, or that there is nothing")
        for target in each["targets"]:
            found += [f"{each['title']}: {fault}" for fault in wrong(target["expr"])]
    asked = " ".join(target["expr"] for each in shown for target in each["targets"])
    told = {EXPORTED[name].name for name in re.findall(r"\bsse_edge_\w+", asked) if name in EXPORTED}
    return found + [f"{each.name} is not shown" for each in FIGURES if each.name not in told]


def wrong(expr):
    """What is wrong with a query."""
    found = []
    names = re.findall(r"\b([a-zA-Z_]\w*)(?=\{)", expr)
    found += [f"no metric {name}" for name in names if name not in EXPORTED and name not in OF_PROMETHEUS]
    for name, selected in re.findall(r"\b(\w+)\{([^}]*)\}", expr):
        labels = dict(re.findall(r'(\w+)[=!~]+"([^"]*)"', selected))
        if name != "ALERTS" and (labels.get("job"), labels.get("instance")) != ("$job", "$instance"):
            found.append(f"{name} of all jobs and servers")
        figure = EXPORTED.get(name)
        if figure is not None:
            if labels.get("worker") != "$worker":
                found.append(f"{name} of all workers")
            bound = labels.pop("le", "")
            if bound and float(bound.removesuffix("([.]0)?")) not in figure.buckets:
                found.append(f"{name} has no bound {bound}")
            more = set(labels) - {"job", "instance", "worker"}
            if not more <= {figure.label} or not {labels[each] for each in more} <= set(figure.values):
                found.append(f"{name} has no {selected}")
    for labels in re.findall(r"\bby \(([^)]*)\)", expr):
        if not set(labels.split(", ")) <= LABELS | {"alertname", "severity"}:
            found.append(f"by {labels}")
    return found


def test_the_dashboard():
    """Ids, places, data source, metrics and labels are right; each figure is shown, each panel explained."""
    assert faults(BOARD) == []
    assert BOARD["schemaVersion"] >= 39
    assert BOARD["id"] is None  # Grafana takes the next that is free


def panel(dashboard, title):
    return next(each for each in dashboard["panels"] if each["title"] == title)


def retold(old, new):
    def change(dashboard):
        target = panel(dashboard, "Refused, by code")["targets"][0]
        assert old in target["expr"]
        target["expr"] = target["expr"].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda each: panel(each, "Streams").update(id=2), "id 2 is there twice"),
        (lambda each: panel(each, "Workers")["gridPos"].update(w=4), "Events arrive lies on Workers"),
        (lambda each: panel(each, "Alerts")["gridPos"].update(w=4), "Alerts is wider than the page"),
        (lambda each: panel(each, "Streams").update(datasource={"uid": "x"}), "a data source of its own"),
        (lambda each: panel(each, "Streams").update(description=""), "Streams does not say what it is"),
        (lambda each: panel(each, "Held and settling")["targets"].pop(), "settling is not shown"),
        (retold("refusals_total", "refused_total"), "no metric sse_edge_refused_total"),
        (retold('"$job"', '"sse-edge"'), "of all jobs"),
        (retold('=~"$worker"', '=~"$worker", code="full"'), "has no"),
        (retold('=~"$worker"', '=~"$worker", le="9"'), "no bound 9"),
        (retold("by (code)", "by (user)"), "by user"),
    ],
)  # fmt: skip
def test_faults_of_a_dashboard(change, fault):
    """Each kind of fault is found."""
    dashboard = copy.deepcopy(BOARD)
    for each in dashboard["panels"]:  # shown once alone
        if each["type"] == "table":
            each["targets"] = [each["targets"][0]]
    change(dashboard)
    assert any(fault in each for each in faults(dashboard)), faults(dashboard)


def test_names_that_have_a_colour():
    """Each code, reason and outcome that a panel gives a look of its own is one."""
    known = {each.code for each in REFUSALS} | {each.reason for each in ENDINGS} | {"published"}
    known |= {"dropped: malformed", "dropped: foreign"}
    for each in plot.panels():
        legends = {query["legendFormat"] for query in each.get("targets", ())}
        names = {one["matcher"]["options"] for one in each.get("fieldConfig", {}).get("overrides", ())}
        if each["type"] != "table":
            assert names <= legends | known, each["title"]


# ---- its picture


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (360, "short", "360"), (1234, "short", "1.23 K"), (0.05, "short", "0.05"), (99.96, "short", "100"),
        (0, "s", "0 s"), (0.00003, "s", "30 µs"), (0.0042, "s", "4.2 ms"), (75, "s", "1.25 min"),
        (0, "bytes", "0 B"), (20_000, "bytes", "19.5 KiB"), (1024, "bytes", "1 KiB"),
        (0.256, "percentunit", "25.6 %"), (12.34, "ops", "12.3/s"), (-20, "ops", "-20/s"),
        (1.02, "none", "1.02"),
    ],
)  # fmt: skip
def test_values_are_said_as_grafana_says_them(value, unit, text):
    """Three digits, and the unit's largest part."""
    assert said(value, unit) == text


def test_the_picture_is_of_this_dashboard():
    """What was recorded has each query of each panel, and something for each panel."""
    recorded = json.loads(SAVED.read_text())
    asked = {str(each["id"]): [query["refId"] for query in each.get("targets", ())] for each in plot.panels()}
    assert {number: list(shown) for number, shown in recorded["panels"].items()} == asked
    assert [panel for panel, shown in recorded["panels"].items() if shown and not any(shown.values())] == []
    assert "dashboard.png" in (plot.BOARD.parent / "DASHBOARD.md").read_text()


def test_a_picture_of_some_data(tmp_path):
    """A panel of each kind is drawn, and one that has no data says so."""
    recorded = json.loads(SAVED.read_text())
    first, *others = {each["type"]: each for each in plot.panels()}.values()
    for each in (first, *others):
        each["gridPos"]["y"] = 0
    shown = {str(each["id"]): recorded["panels"][str(each["id"])] for each in others}
    draw({**recorded, "panels": shown}, tmp_path / "some.png", [first, *others])
    assert (tmp_path / "some.png").read_bytes()[:4] == b"\x89PNG"


# ---- with a real Prometheus


QUIET = (
    'up == 1 unless on () ALERTS{alertstate="firing", alertname!~"SseEdgeSlowAdmission|SseEdgeLateEvents"}'
)
"""No alert says that all is not well; those two may be right on a machine that is busy."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A Prometheus that has seen two workers, clients, refusals, a drain and Redis go away; when that was.

    Its alerts wait for nothing.
    """
    command("prometheus")
    rules = tmp_path_factory.mktemp("rules") / "alerts.yaml"
    rules.write_text(re.sub(r"\bfor: \w+", "for: 0s", ALERTS.read_text()))
    site = Servers(tmp_path_factory.mktemp("site"), 1, processes=2)
    path = "/status/metrics?by=worker"
    began = time.time()  # when nothing is scraped yet
    with prometheus(site.targets, every="250ms", path=path, rules=rules) as ours, site:
        site.begin()
        happen(site, ours)
        yield ours, began, time.time()


def happen(site, ours):
    """A quiet moment, and then all of it."""
    crowd = site.swarm()
    crowd.add(12)
    publishing = gevent.spawn(incidents.publish, site, 0.02)
    until(ours, "up == 1")  # it looks for targets every five seconds
    until(ours, "sum(sse_edge_streams) >= 12")
    crowd.add(12)  # so that a rate sees who is let in: of the first ones it knows no before
    until(ours, "sum(sse_edge_streams) >= 24")
    until(ours, QUIET)
    crowd.drop()
    (server,), (redis,) = site.programs["worker"], site.programs["Redis"]
    at_once = [
        gevent.spawn(incidents.aside, incidents.refused, site),
        gevent.spawn(incidents.asleep, site, 2, 1),
        gevent.spawn(incidents.aside, incidents.ask, *site.ports, "POST", "/drain"),
        gevent.spawn(until, ours, "sse_edge_ready == 0"),
    ]
    gevent.joinall(at_once, raise_error=True)
    until(ours, "sum(rate(sse_edge_unsent_bytes_count[2s])) > 0")  # it looks with each keep-alive
    publishing.kill()
    incidents.aside(redis.stop)
    crowd.drop()  # so that leases are to be given back
    until(ours, "max(sse_edge_degraded) == 1")
    until(ours, 'count(ALERTS{alertname="SseEdgeBackendAway", alertstate="firing"}) == 2')
    crowd.close()
    assert crowd.loop.failure is None
    incidents.aside(server.stop)
    until(ours, 'ALERTS{alertname="SseEdgeWorkerDown", alertstate="firing"}')


def until(ours, expr):
    """Wait until Prometheus has this."""
    deadline = time.monotonic() + 20
    while not ours.ask("query", query=expr)["result"]:
        assert time.monotonic() < deadline, expr
        gevent.sleep(0.1)


@pytest.mark.live
def test_every_query_has_data(recorded):
    """Each query of each panel gives something of a run in which something happened."""
    ours, began, ended = recorded
    empty = [
        f"{panel['title']}: {query['expr']}"
        for panel in plot.panels("2s")
        for query in panel.get("targets", ())
        if not ours.over(query["expr"], began, ended + 0.5, 0.5)  # the last moment, too
    ]
    assert empty == []


@pytest.mark.live
def test_variables_find_what_there_is(recorded):
    """Jobs and servers to choose from are those that are scraped."""
    ours, began, ended = recorded
    found = {}
    for variable in BOARD["templating"]["list"][1:]:
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
        assert variable["query"]["query"] == variable["definition"]
        selector = plot.filled(series, "")
        several = ours.ask("series", **{"match[]": selector, "start": began, "end": ended})
        found[variable["name"]] = {each[label] for each in several if label in each}
    assert found == {"job": {"sse-edge"}, "instance": {"web-1"}, "worker": {"0", "1"}}


@pytest.mark.live
def test_a_dashboard_without_data(recorded):
    """Of a time in which nothing was scraped no query fails, and what is wrong is just that."""
    ours, began, _ = recorded
    said = {
        panel["title"]: [plot.named(query, each["metric"]) for each in result]
        for panel in plot.panels("1m")
        for query in panel.get("targets", ())
        if (result := ours.over(query["expr"], began - 7200, began - 7100, 10))
    }
    assert said == {
        "Alerts": ["Alerts"],
        "What is wrong, and where": ["nothing is scraped: see deploy/DASHBOARD.md"],
    }


@pytest.mark.live
def test_the_alerts_of_the_run(recorded):
    """While all was well none fired, though they wait for nothing; then those did whose trouble it was."""
    ours, began, ended = recorded
    fired = ours.over('ALERTS{alertstate="firing"}', began, ended + 0.5, 0.25)
    assert {each["metric"]["alertname"] for each in fired} >= {
        "SseEdgeDropped",
        "SseEdgeNotReady",
        "SseEdgeBackendAway",
        "SseEdgeLimitsAlone",
        "SseEdgeWorkerDown",
    }


@pytest.mark.live
def test_the_alerts_are_loaded(recorded):
    """Prometheus has every alert, none of them with an error."""
    ours, _, _ = recorded
    (group,) = ours.ask("rules")["groups"]
    assert len(group["rules"]) == ALERTS.read_text().count("- alert:")
    assert {each["health"] for each in group["rules"]} == {"ok"}
