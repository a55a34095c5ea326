"""The scenarios of a load test: what each does, what has to hold, and what may be asked for."""

import argparse
import contextlib
import math
from collections import Counter
from types import SimpleNamespace

import pytest

from loadtest.client.target import PER_SOURCE
from loadtest.run.options import declare, secret
from loadtest.scenarios import SCENARIOS
from loadtest.scenarios.scenario import NOTICED, Threshold, compared
from loadtest.scenarios.script import crowd
from sse_edge import Limits

NAMES = {
    "steady",
    "ramp",
    "broadcast",
    "personal",
    "churn",
    "storm",
    "deploy",
    "slow",
    "abuse",
    "soak",
}

CAPS = Limits()

FINE = {"clients": 100, "received": 1000, "lost": 0, "repeated": 0, "disordered": 0, "stranded": 0, "away": 0}


def options(*given):
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="loadtest")
    declare(parser.add_argument)
    return parser.parse_args(given)


class Run:
    """A conductor that does nothing, and remembers what it was to do."""

    def __init__(self, name, *given):
        self.options = options("--streams", "100", *given)
        self.scenario = SCENARIOS[name](self.options)
        self.users, self.per_user = crowd(100)
        self.began = 0.0
        self.verdict = dict(FINE)
        self.found = {}
        self.phases = []
        self.orders = []
        self.happened = {"endings": Counter(), "refusals": Counter(), "errors": Counter()}
        self.happened["refusals"]["abuse: ip-limit"] = 1
        self.herd = {"count": 100, "mean": 10.0, "peak": 20, "seconds": 10}
        self.press = SimpleNamespace(failed=0, burst=lambda *given: self.orders.append("burst"))
        self.sampler = SimpleNamespace(
            at_full=lambda: self.orders.append("full"), growth=lambda name, first: 1.0
        )
        self.deployment = SimpleNamespace(
            workers=2,
            files=lambda: 40,
            kill=lambda number: self.orders.append(f"kill {number}"),
            restart=lambda number: self.orders.append(f"restart {number}"),
        )
        self.open_users = 0
        self.busy = False
        self.looks = 0

    def ask(self, order, **given):
        self.orders.append(order)
        answers = {
            "range": [(0, 50), (1_000_000, 50)],
            "stall": [5, 5],
            "retreat": [{"address": 100, "user": 0}, {"address": 0, "user": 5}],
        }
        return answers.get(order, [1, 1])

    def open(self, users=None):
        self.open_users = self.users if users is None else users
        self.orders.append(f"open {self.open_users}")

    @contextlib.contextmanager
    def phase(self, name):
        part = {"name": name}
        self.phases.append(part)
        yield part

    def delivery(self, name):
        return {"p99": 0.1 if {"name": name} in self.phases else None}

    @contextlib.contextmanager
    def publishing(self, rate, size=110, channels=None, hands=1):
        self.orders.append(f"publish {rate:g}")
        self.heard = channels
        self.hands = hands
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            self.orders.append("silence")

    def level(self, seconds=60.0, fresh=1.0):
        return 1.5

    def state(self):
        self.looks += 1
        return {"live": 4 if self.looks > 1 else 5, "wanted": 5}

    def wait(self, seconds, what):
        assert seconds > 0
        assert self.open_users

    def stay(self, seconds, phase, what=""):
        with self.phase(phase):
            self.wait(seconds, what)

    def judge(self, seconds=60.0):
        self.orders.append("judge")

    def progress(self, what):
        pass

    @property
    def whole(self):
        return SimpleNamespace(**self.happened)

    def reconnects(self):
        return self.herd

    def missed(self):
        """What does not hold, after the script."""
        return [each.what for each in self.scenario.thresholds(self) if not each.met]


def test_every_scenario_is_there():
    """Each is found by its own name, and says in a sentence what it does."""
    # What capacity does to real processes is in test_load.py, and its thresholds are in test_capacity.py.
    assert SCENARIOS.keys() == NAMES | {"capacity"}
    for name, each in SCENARIOS.items():
        assert each.name == name
        assert 20 < len(each.what) < 120
        assert not each.what.endswith(".")
        assert each.seconds > 0
        assert each.rate > 0


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_script_opens_publishes_and_is_silent_again(name):
    """All streams are opened, memory is looked at, events go out and stop; then every threshold is met."""
    run = Run(name)
    run.scenario.script(run)
    assert "open 2" in run.orders
    assert "full" in run.orders
    assert any(order.startswith("publish") for order in run.orders)
    assert not run.busy
    assert len({part["name"] for part in run.phases}) == len(run.phases) >= 1
    thresholds = run.scenario.thresholds(run)
    assert len(thresholds) >= 9
    assert all(each.what and isinstance(each.to_dict()["limit"], str) for each in thresholds)
    assert run.missed() == []


@pytest.mark.parametrize(
    ("name", "given", "orders"),
    [
        ("steady", [], ["open 2", "full", "publish 1", "silence"]),
        ("steady", ["--rate", "7"], ["open 2", "full", "publish 7", "silence"]),
        ("ramp", [], ["publish 1", "open 1", "open 2", "full", "silence"]),
        ("broadcast", [], ["open 2", "full", "publish 1", "silence", "burst", "burst", "burst"]),
        ("personal", [], ["open 2", "full", "range", "publish 200", "silence"]),
        (
            "churn",
            [],
            ["open 2", "full", "publish 1", "churn", "churn", "silence", "judge", "open 0"],
        ),
        ("storm", [], ["open 2", "full", "publish 1", "kill 0", "silence"]),
        ("storm", ["--drop"], ["open 2", "full", "publish 1", "drop", "silence"]),
        ("deploy", [], ["open 2", "full", "publish 1", "restart 0", "restart 1", "silence"]),
        ("slow", [], ["open 2", "full", "publish 1", "stall", "wake", "silence"]),
        ("abuse", [], ["open 2", "full", "publish 1", "range", "abuse", "retreat", "silence"]),
        ("soak", [], ["open 2", "full", "publish 1", "silence"]),
    ],
)
def test_what_a_script_does(name, given, orders):
    """What happens to the streams, to the servers and to who publishes, in its order."""
    run = Run(name, *given)
    run.scenario.script(run)
    assert run.orders == orders


def test_personal_events_go_to_every_user():
    """Each stream's own channel has its turn, whatever process holds it and whatever the channel's name."""
    run = Run("personal", "--own-channel", "inbox/{user}")
    run.scenario.script(run)
    assert len(run.heard) == len(set(run.heard)) == 100
    assert run.heard[0] == "inbox/u0"
    assert run.heard[50] == "inbox/u1000000"
    assert run.hands == 8


def test_no_publisher_is_without_a_channel():
    """With few streams there are fewer publishers, so that all events go out that were asked for."""
    run = Run("personal")
    run.ask = lambda order, **given: [(0, 2), (1_000_000, 1)]
    run.scenario.script(run)
    assert run.heard == ["user:u0", "user:u1", "user:u1000000"]
    assert run.hands == 3


def test_an_order_that_fails_ends_the_publishing():
    """Whatever goes wrong in a script, nobody publishes afterwards."""
    run = Run("storm", "--drop")
    run.ask = lambda order, **given: (_ for _ in ()).throw(RuntimeError("one does not answer"))
    with pytest.raises(RuntimeError, match="one does not answer"):
        run.scenario.script(run)
    assert run.orders[-1] == "silence"


COMMON = [
    ({"verdict": "lost"}, "events lost"),
    ({"verdict": "repeated"}, "events repeated"),
    ({"verdict": "disordered"}, "events out of order"),
    ({"verdict": "stranded"}, "clients stranded"),
    ({"verdict": "away"}, "clients not open at the end"),
    ({"errors": "ECONNREFUSED"}, "connections that failed"),
    ({"endings": "heartbeat"}, "unexpected endings"),
    ({"refusals": "status 401"}, "unexpected refusals"),
]


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize(("wrong", "missed"), COMMON)
def test_what_must_never_happen(name, wrong, missed):
    """One event, ending, refusal or error that should not be is found in every scenario."""
    run = Run(name)
    run.scenario.script(run)
    for what, code in wrong.items():
        (run.verdict if what == "verdict" else run.happened[what])[code] = 1
    assert run.missed() == [missed]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_events_that_nobody_knows_of_are_a_fault(name):
    """A verdict over events that may be published and may be not is none."""
    run = Run(name)
    run.scenario.script(run)
    run.press.failed = 1
    assert run.missed() == ["events that nobody knows were published"]


def test_without_a_verdict_nothing_is_met():
    """What was never found out is no success."""
    run = Run("steady")
    run.verdict = None
    assert {"events lost", "clients stranded", "clients not open at the end"} <= set(run.missed())


@pytest.mark.parametrize(
    ("name", "what", "code", "fine"),
    [
        *[(name, "endings", "max-duration", True) for name in sorted(NAMES)],
        *[(name, "refusals", "abuse: ip-limit", True) for name in sorted(NAMES)],
        *[(name, "endings", "cut", name in ("slow", "storm")) for name in sorted(NAMES)],
        *[(name, "refusals", "proxy", name in ("deploy", "storm")) for name in sorted(NAMES)],
        ("storm", "endings", "dropped", True),
        ("storm", "refusals", "worker-full", True),
        ("storm", "endings", "drain", False),
        ("deploy", "endings", "drain", True),
        ("deploy", "refusals", "draining", True),
        ("slow", "endings", "slow", True),
        ("abuse", "refusals", "ip-limit", False),
    ],
)
def test_what_belongs_to_a_scenario_is_no_fault(name, what, code, fine):
    """How streams end and why they are refused is judged by what the scenario does."""
    run = Run(name)
    run.scenario.script(run)
    run.happened[what][code] = 3
    assert (run.missed() == []) is fine


@pytest.mark.parametrize(
    ("name", "change", "missed"),
    [
        ("broadcast", {"bursts": 2}, "bursts that did not arrive within a minute"),
        ("churn", {"left": 1_000_000}, "descriptors of the workers after all have left"),
        ("storm", {"level": 120.5}, "all level again after"),
        ("storm", {"level": None}, "all level again after"),
        ("deploy", {"level": 61.0}, "all level again after the last restart"),
        ("slow", {"level": 61.0}, "all level again after"),
        ("abuse", {"address": CAPS.per_ip + 1}, "streams that the one address got"),
        ("abuse", {"user": CAPS.per_user + 1}, "streams that the one user got"),
    ],
)
def test_what_a_scenario_adds(name, change, missed):
    """Each has thresholds of its own, and what is beyond one is told by its name."""
    run = Run(name)
    run.scenario.script(run)
    run.found.update(change)
    assert run.missed() == [missed]


def test_a_herd_is_found():
    """The busiest second of a deploy is no more than three times the mean."""
    run = Run("deploy")
    run.scenario.script(run)
    run.herd = {"count": 100, "mean": 10.0, "peak": 31, "seconds": 10}
    assert run.missed() == ["reconnects in the busiest second ÷ mean"]
    run.herd = None
    assert run.missed() == ["reconnects in the busiest second ÷ mean"]


@pytest.mark.parametrize(
    ("seconds", "missed"), [("60", []), ("7200", ["growth of the workers' memory in an hour"])]
)
def test_only_a_long_soak_tells_of_growth(seconds, missed):
    """In a minute memory grows by chance."""
    run = Run("soak", "--seconds", seconds)
    run.sampler.growth = lambda name, first: 50.0
    run.scenario.script(run)
    assert run.missed() == missed


# Thresholds


@pytest.mark.parametrize(
    ("value", "most", "met"),
    [(0, 0, True), (1, 0, False), (None, 0, False), (None, 10, False), (5.0, 5.0, True), (5.001, 5, False),
     (-1, 0, True), (math.nan, 10, False)],
)  # fmt: skip
def test_a_threshold_is_met_up_to_its_limit(value, most, met):
    """No more than the limit; what was not found is not met."""
    assert Threshold("x", value, most).met is met


@pytest.mark.parametrize(
    ("threshold", "shown", "limit"),
    [
        (Threshold("x", 0, 0), 0, "0"),
        (Threshold("x", None, 0), "not found", "0"),
        (Threshold("x", 1.23456, 3.0), 1.235, "at most 3.0"),
        (Threshold("x", 17.4321, 120.0, " s"), "17.432 s", "at most 120.0 s"),
        (Threshold("x", None, 120.0, " s"), "not found", "at most 120.0 s"),
        (Threshold("x", 12345, 20_000, " ms"), "12,345 ms", "at most 20,000 ms"),
    ],
)
def test_a_threshold_is_shown_with_its_unit(threshold, shown, limit):
    """Value and limit are what the report prints."""
    found = threshold.to_dict()
    assert (found["what"], found["value"], found["limit"]) == ("x", shown, limit)
    assert found["met"] is threshold.met


def measured(p99):
    """A run whose phases had these latencies."""
    return SimpleNamespace(delivery=lambda name: {"p99": p99.get(name)})


@pytest.mark.parametrize(
    ("before", "during", "times", "value", "most", "met"),
    [
        (0.4, 0.49, 1.25, 490, 500, True),
        (0.4, 0.501, 1.25, 501, 500, False),
        (0.4, 0.2, 1.25, 200, 500, True),
        (0.1, 0.15, 1.25, 150, 150, True),  # nobody notices
        (0.1, 0.151, 1.25, 151, 150, False),
        (0.004, 0.055, 1.25, 55, 54, False),
        (0.0, 0.0, 1.25, 0, 50, True),  # less than a millisecond
        (0.0, 0.051, 1.25, 51, 50, False),
        (0.1, 0.0, 1.25, 0, 150, True),
    ],
)
def test_latency_is_compared_with_before(before, during, times, value, most, met):
    """So many times what it was, or what nobody notices more."""
    found = compared(
        measured({"without": before, "with": during}), "the others' p99", "without", "with", times
    )
    assert (found.value, found.most, found.unit, found.met) == (value, most, " ms", met)
    assert found.what == f"the others' p99; without: {before * 1000:.0f} ms"
    assert NOTICED == 0.05


@pytest.mark.parametrize("p99", [{}, {"without": 0.1}, {"with": 0.1}, {"without": None, "with": None}])
def test_what_cannot_be_compared_is_not_met(p99):
    """Without events in both there is nothing to compare."""
    found = compared(measured(p99), "x", "without", "with", 2.0)
    assert (found.value, found.met) == (None, False)


def test_abuse_that_nobody_refused_is_none():
    """A scenario in which nothing was refused has shown nothing."""
    run = Run("abuse")
    run.scenario.script(run)
    run.happened["refusals"].clear()
    assert run.missed() == ["abuse that was not refused at all"]


# Options


@pytest.mark.parametrize(
    ("streams", "expected"),
    [(1, (1, 1)), (50, (1, 50)), (51, (2, 26)), (100, (2, 50)), (1000, (20, 50)), (20_001, (401, 50))],
)
def test_a_user_of_locust_is_an_address(streams, expected):
    """So many users with so many streams each; no fewer than were asked for, and few more."""
    assert crowd(streams) == expected
    users, each = expected
    assert each <= PER_SOURCE
    assert streams <= users * each < streams + users


def test_what_is_asked_for_by_default():
    """A thousand streams; the rest is the scenario's."""
    found = options()
    assert (found.streams, found.seconds, found.rate, found.share, found.drop) == (
        1000,
        None,
        None,
        0.1,
        False,
    )
    asked = options("--streams", "20000", "--seconds", "5", "--rate", "0.5", "--drop")
    storm = SCENARIOS["storm"](asked)
    assert (asked.streams, storm.length, storm.pace) == (20_000, 5.0, 0.5)
    usual = SCENARIOS["personal"](found)
    assert (usual.length, usual.pace) == (60.0, 200.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--streams", "0"], "--streams: must be a whole number from 1 to 1000000: '0'"),
        (["--streams", "1000001"], "--streams: must be a whole number from 1 to 1000000: '1000001'"),
        (["--streams", "many"], "--streams: must be a whole number from 1 to 1000000: 'many'"),
        (["--streams", "1.5"], "--streams: must be a whole number from 1 to 1000000: '1.5'"),
        (["--streams=-5"], "--streams: must be a whole number from 1 to 1000000: '-5'"),
        (["--seconds", "0"], "--seconds: must be a number more than 0 and up to 1000000: '0'"),
        (["--seconds", "nan"], "--seconds: must be a number more than 0 and up to 1000000: 'nan'"),
        (["--rate", "inf"], "--rate: must be a number more than 0 and up to 1000000: 'inf'"),
        (["--rate", "fast"], "--rate: must be a number more than 0 and up to 1000000: 'fast'"),
        (["--idle=-1"], "--idle: must be a number more than 0 and up to 1000000: '-1'"),
        (["--share", "0"], "--share: must be a share, more than 0 and less than 1: '0'"),
        (["--share", "1"], "--share: must be a share, more than 0 and less than 1: '1'"),
        (["--share", "half"], "--share: must be a share, more than 0 and less than 1: 'half'"),
        (["--share", "nan"], "--share: must be a share, more than 0 and less than 1: 'nan'"),
    ],
)
def test_a_wrong_option_is_named(given, said, capsys):
    """The message has the option, what it must be, and what was given."""
    with pytest.raises(SystemExit) as exit:
        options(*given)
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


def test_the_secret_comes_from_the_environment(monkeypatch):
    """No list of processes shows it."""
    monkeypatch.setenv("SSE_EDGE_SECRET", "shh")
    assert secret() == "shh"
    monkeypatch.delenv("SSE_EDGE_SECRET")
    assert secret() == ""
