"""The operator's guide says what is true: its commands, settings, files, codes and alerts exist."""

import importlib.util
import inspect
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from loadtest.scenarios import SCENARIOS
from sse_edge import Limits, RedisBackend, SSEMiddleware
from sse_edge.cli import main
from sse_edge.cli.serve import serve
from sse_edge.cli.serving.collector import THRESHOLDS
from sse_edge.delivery.backlog import Bounds
from sse_edge.doctor.catalogue import FAULTS
from sse_edge.figures import FIGURES
from sse_edge.outcome import REFUSALS
from sse_edge.tune.files import tuned
from sse_edge.tune.sizing import MIB, size

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GUIDE = re.sub(r"<!--.*?-->", "", (DEPLOY / "TUNING.md").read_text(), flags=re.DOTALL)
BLOCKS = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"^```.*?^```", "", GUIDE, flags=re.DOTALL | re.MULTILINE)


def section(title):
    """The text under a heading."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE)[1]


def rows(text):
    """The cells of each row of the tables in a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = {number for number, row in enumerate(cells) if all(set(cell) <= {"-"} for cell in row)}
    return [row for number, row in enumerate(cells) if number not in rules and number + 1 not in rules]


# Commands


def commands():
    """Every ``sse-edge …`` and ``python -m …`` of the guide, as words."""
    lines = "\n".join(BLOCKS).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`([^`\n]+)`", PROSE)
    for line in lines:
        for start in re.finditer(r"(?:^|[\s(/])(sse-edge (?=[a-z])|python -m )", line):
            words = line[start.start(1) :].partition(" #")[0].partition(" &")[0].partition(")")[0]
            yield shlex.split(words.replace('"', "").replace("'", ""))


COMMANDS = [words for words in commands() if words[0] == "sse-edge"]
MODULES = [words for words in commands() if words[0] == "python"]


def options_of(command):
    """Option → whether it takes a value."""
    return {
        name: not each.is_flag
        for each in command.params
        if isinstance(each, click.Option)
        for name in (*each.opts, *each.secondary_opts)
    }


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_exists_with_its_options(words):
    """Each command line of the guide names a subcommand, and options that it has, with values."""
    command = main.commands[words[1]]
    known, rest = options_of(command), iter(words[2:])
    for word in rest:
        if word.startswith("--"):
            assert word in known
            if known[word]:
                next(rest)


@pytest.mark.parametrize("words", MODULES, ids=" ".join)
def test_a_module_exists_with_its_options(words):
    """Each ``python -m`` of the guide names a module here, and options that its source names."""
    spec = importlib.util.find_spec(words[2])
    if spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{words[2]}.__main__")
    source = Path(spec.origin).read_text()
    if words[2] == "loadtest":  # what it says is in the modules that it calls
        source += "".join(path.read_text() for path in (ROOT / "loadtest/run").glob("*.py"))
        assert words[3] in {*SCENARIOS, "all", "SCENARIO"}
    for word in words[3:]:
        assert not word.startswith("--") or f'"{word}"' in source


def test_make_targets():
    """Each ``make`` of the guide is a target."""
    made = re.findall(r"`make (\w+)", PROSE)
    assert "bench" in made
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in made)


def test_many_commands_are_found():
    """The patterns that find commands find them."""
    assert {"tune", "doctor", "publish", "token", "serve"} <= {words[1] for words in COMMANDS}
    assert {"loadtest"} <= {words[2] for words in MODULES}


def test_the_walkthrough_installs_what_tune_writes():
    """Each file that the walk-through copies from tune's directory is one that tune writes, and all are."""
    block = next(each for each in BLOCKS if each.startswith("cd /root/edge"))
    copied = {name for line in re.findall(r"^cp (.+) \S+$", block, re.MULTILINE) for name in line.split()}
    assert copied == set(tuned(size(10_000)))


def test_the_walkthroughs_name_is_in_the_proxy_file():
    """What sed replaces is there to be replaced."""
    pattern = re.search(r"sed -i 's/([^/]+)/", GUIDE)[1]
    assert (ROOT / "nginx.conf").read_text().count(pattern) == 2  # with TLS and without


# Knobs

KNOBS = [row for row in rows(section("Every knob")) if row[0] not in ("browser",)]

FILES = {
    "kernel": ("sysctl.conf", "{} = {}"),
    "nginx": ("../nginx.conf", "{} {};"),
    "Caddy": ("../Caddyfile", "{} {}"),
    "systemd, proxy": ("systemd/proxy-limits.conf", "{}={}"),
    "systemd, worker": ("systemd/sse-edge@.service", "{}={}"),
    "Redis": ("redis.conf", "{} {}"),
}

SIGNATURES = {"app": SSEMiddleware, "Limits": Limits, "RedisBackend": RedisBackend}


@pytest.mark.parametrize(("where", "knob", "elsewhere", "ours", "why"), KNOBS)
def test_a_knob_is_what_the_guide_says(where, knob, elsewhere, ours, why):
    """Each knob of the table exists, and has the value that the table calls ours."""
    name, value = re.match(r"`(.+?)`", knob)[1], ours.strip("`")
    if where in SIGNATURES:
        default = inspect.signature(SIGNATURES[where]).parameters[name].default
        assert default == eval(value)
    elif where == "serve":
        option = next(each for each in serve.params if name in each.opts)
        assert str(option.default) == value
    else:
        file, form = FILES[where]
        lines = (DEPLOY / file).read_text().splitlines()
        setting = form.format(name, value)
        own = [line.strip().removeprefix("Environment=").partition(" #")[0].strip() for line in lines]
        assert setting in own


def test_knobs_that_tune_replaces():
    """A star stands at the knobs that tune sets by the number of streams, and at no other."""
    few, many = tuned(size(10_000)), tuned(size(1_000_000, workers=20))
    for where, knob, *_ in KNOBS:
        if where in FILES and where != "Caddy":
            name = Path(FILES[where][0]).name
            line = re.compile(
                rf"^\s*(?:Environment=)?{re.escape(re.match('`(.+?)`', knob)[1])}\b.*", re.MULTILINE
            )
            assert knob.endswith("*") == (line.findall(few[name]) != line.findall(many[name])), knob


def test_the_knobs_are_many():
    """The table is read."""
    assert len(KNOBS) > 50
    assert {row[0] for row in KNOBS} == {*FILES, *SIGNATURES, "serve"}


def test_the_bounds_of_slow_clients():
    """The section on slow clients has the defaults."""
    text = section("Slow clients")
    bounds = Bounds()
    assert f"`max_unsent` ({bounds.max_unsent // MIB} MiB)" in text
    assert f"`max_unsent_age` ({bounds.max_unsent_age:.0f} s" in text


def test_the_collectors_thresholds():
    """The lines for plain uvicorn are those of sse-edge serve."""
    assert f"gc.set_threshold({', '.join(f'{each:_}' for each in THRESHOLDS)})" in GUIDE


# Sizes


@pytest.mark.parametrize(("column", "streams"), [(1, 1_000), (2, 10_000), (3, 50_000), (4, 100_000)])
def test_the_table_of_sizes(column, streams):
    """The first table of sizes is tune's answer."""
    table = {row[0].strip("*"): row[column].strip("*") for row in rows(section("Size"))[:13]}
    nginx, caddy = size(streams), size(streams, proxy="caddy")

    def mib(bytes):
        return f"{bytes // MIB:,} MiB"

    assert table["workers (app processes)"] == str(nginx.workers)
    assert table["streams in each, and while one is away"] == (
        f"{nginx.streams_per_worker:,}, {nginx.streams_after_loss:,}"
    )
    assert table["memory: workers"] == mib(nginx.worker_memory)
    assert table["memory: nginx, with TLS"] == mib(nginx.proxy_memory)
    assert table["memory: kernel, sockets"] == mib(nginx.kernel_memory)
    assert table["memory: Redis"] == mib(nginx.redis_memory)
    assert table["memory in all"] == mib(nginx.memory)
    assert table["the same with Caddy"] == mib(caddy.memory)
    cores = (nginx.worker_cpu, nginx.proxy_cpu, max(nginx.redis_cpu, 0.01))
    assert table["cores to deliver: workers, nginx, Redis"] == ", ".join(f"{each:.2f}" for each in cores)
    assert table["CPU until all are back after all were cut, at least"] == f"{nginx.herd_cpu:.0f} s"
    assert table["nginx: `worker_connections`, processes"] == (
        f"{nginx.worker_connections:,}, {nginx.proxy_workers}"
    )
    assert table["open files of one nginx process"] == f"{nginx.proxy_files:,}"
    assert table["backlog"] == f"{nginx.backlog:,}"


# Names


def test_every_alert():
    """The guide says what to do for each alert, and names no other."""
    groups = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]
    there = {rule["alert"] for group in groups for rule in group["rules"]}
    assert {
        row[0].strip("`") for row in rows(section("Monitoring and alerts")) if "SseEdge" in row[0]
    } == there


def test_every_metric():
    """The metrics that the guide names are those that a worker tells."""
    named = set(re.findall(r"`sse_edge_(\w+?)(?:_total)?[`{]", GUIDE))
    assert len(named) > 5
    assert named <= {each.metric for each in FIGURES}


def test_the_doctors_codes():
    """Each code that the table of symptoms has in brackets is one of the doctor's."""
    groups = re.findall(r"\((`[a-z1-9-]+`(?:, `[a-z1-9-]+`)*)\)", section("Symptoms"))
    codes = {code for group in groups for code in re.findall(r"`(.+?)`", group)}
    assert len(codes) > 10
    assert codes <= set(FAULTS)


def test_refusals():
    """The refusals that the section on limits names are in the catalogue."""
    named = set(re.findall(r"`([a-z]+-[a-z]+)`", section("Limits")))
    assert named >= {"ip-limit", "user-limit", "connect-rate", "worker-full"}
    assert named <= {each.code for each in REFUSALS}
