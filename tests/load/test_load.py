"""``python -m loadtest`` with real deployments: scenarios do what they say, and what is wrong is said."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtest.site.programs import Program
from servers.processes import descendants, free_port, still_there

ROOT = Path(__file__).parents[2]
SECRET = "a secret of the tests"

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


def load(*arguments, secret=SECRET, command=("-m", "loadtest"), **options):
    """Run it; exit code and output."""
    env = {**os.environ, "SSE_EDGE_SECRET": secret, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command, *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=110, cwd=ROOT, env=env, **options,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def figures(out):
    """What a run has found."""
    return json.loads((out / "summary.json").read_text())


def phases(summary):
    """The names of a run's phases."""
    return [each["name"] for each in summary["phases"]]


# Every scenario, and what it does besides losing nothing


def steady(summary, out):
    """Each stream gets each event, Locust has counted as many, and the report has every part."""
    verdict = summary["verdict"]
    assert verdict["received"] == verdict["published"] * 100 == summary["latency"]["count"]
    assert max(second["streams"] for second in summary["timeline"]) == 100
    assert sum(second["events"] for second in summary["timeline"]) == verdict["received"]
    rows = (out / "locust_stats.csv").read_text().splitlines()
    assert any(row.startswith(f"SSE,event,{verdict['received']},0,") for row in rows)
    assert any(row.startswith("SSE,connect,100,0,") for row in rows)
    assert list(summary["memory"]) == ["worker", "proxy", "Redis", "kernel", "Locust"]
    assert all(summary["memory"][name]["per_stream"] > 0 for name in ("worker", "proxy", "Locust"))
    assert all(summary["cpu"][name] > 0 for name in ("worker", "proxy", "Redis", "Locust"))
    assert len(summary["samples"]) > 3
    assert "<svg" in (out / "index.html").read_text()
    assert "SSE" in (out / "locust.html").read_text()


def ramp(summary, out):
    """There are more streams in each phase than in the one before."""
    assert phases(summary) == ["50", "100"]


def broadcast(summary, out):
    """Three bursts of a hundred events go to all."""
    bursts = next(each for each in summary["phases"] if each["name"] == "bursts")
    assert bursts["events"] == 3 * 100 * 100


def personal(summary, out):
    """An event has one hearer."""
    assert summary["verdict"]["received"] == summary["verdict"]["published"] >= 100


def churn(summary, out):
    """More clients have come than there are at once, and to leave is no ending."""
    assert summary["verdict"]["clients"] > 100
    assert max(second["streams"] for second in summary["timeline"]) <= 101
    assert summary["endings"] == {}


def storm(summary, out):
    """The killed worker's streams are cut, and come back."""
    assert 0 < summary["endings"]["cut"] < 100
    assert summary["reconnects"]["count"] >= summary["endings"]["cut"]
    assert summary["away"]["count"] == summary["endings"]["cut"]


def deploy(summary, out):
    """Each stream is told why it ends, and every worker is restarted."""
    assert set(summary["endings"]) == {"drain"}
    assert summary["endings"]["drain"] >= 100
    assert [name for name in phases(summary) if name.startswith("restart")] == ["restart 1", "restart 2"]


def slow(summary, out):
    """Some are stuck for a while, and get everything when they read again."""
    during = {each["name"]: each["events"] for each in summary["phases"]}
    assert 0 < during["stuck"] <= 90 * 6
    assert summary["verdict"]["received"] == summary["verdict"]["published"] * 100


def abuse(summary, out):
    """The one address and the one user meet their caps, again and again, and nobody else is refused."""
    refusals = summary["refusals"]
    assert refusals["abuse: user-limit"] > 100
    assert refusals["abuse: ip-limit"] > 100
    assert all(name.startswith("abuse: ") for name in refusals)


def soak(summary, out):
    """The workers' memory is looked at all the time."""
    assert all(sample["memory"]["worker"] > 0 for sample in summary["samples"])


def capacity(summary, out):
    """Each step has every figure of every part, and a table."""
    steps = summary["steps"]
    assert [step["streams"] for step in steps] == [50, 100]
    for step in steps:
        assert step["received"] == step["expected"] == step["streams"] * (2 + 1)
        assert 0 <= step["p50"] <= step["p99"] <= step["longest"]
        assert (step["files"]["proxy"], step["files"]["Locust"]) == (2.0, 1.0)
        assert step["files"]["worker"] >= 1.0
        assert step["connects_per_second"] > 0
        # What a worker does without streams is no less than this little, so it is not compared with 0.
        for what in ("connect", "events", "personal"):
            assert step[what]["proxy"] > 0
            assert step[what]["Locust"] > 0
        for what in ("memory", "connect", "idle", "events", "personal"):
            assert step[what].keys() == {"worker", "proxy", "Redis", "kernel", "Locust"}
    assert "Memory per stream, KiB" in (out / "summary.txt").read_text()
    assert "per idle stream" in (out / "steps.svg").read_text()
    assert (out / "index.html").read_text().count("<svg") == 2


HEAVY = [steady, ramp, broadcast, personal, churn, deploy, slow, abuse, soak]
"""What is as the others, as far as what runs it goes."""


@pytest.mark.parametrize(
    "check",
    [
        storm,
        capacity,
        *(pytest.param(each, marks=pytest.mark.heavy) for each in HEAVY),
    ],
    ids=lambda check: check.__name__,
)
def test_a_scenario(check, tmp_path):
    """Through the shipped nginx.conf and TLS, over two processes of Locust: it meets its thresholds."""
    name = check.__name__
    seconds = {"ramp": "5", "abuse": "8", "slow": "4"}.get(name, "2")
    given = ["--streams", "100", "--seconds", seconds, "--idle", "1", "--processes", "2", "--pause", "1"]
    code, said = load(name, *given, "--out", tmp_path)
    assert code == 0, said
    assert "All thresholds met" in said
    assert str(tmp_path / "index.html") in said
    summary = figures(tmp_path)
    assert all(each["met"] for each in summary["thresholds"])
    verdict = summary["verdict"]
    assert verdict["clients"] >= 100
    assert verdict["received"] >= 100
    assert verdict["lost"] == verdict["repeated"] == verdict["disordered"] == verdict["stranded"] == 0
    check(summary, tmp_path)


@pytest.mark.heavy
def test_storm_can_cut_everybody(tmp_path):
    """With --drop every connection is cut at once, and every client comes back when it was told to."""
    given = ["--streams", "100", "--seconds", "2", "--idle", "1", "--drop", "--out", tmp_path]
    code, said = load("storm", *given)
    assert code == 0, said
    summary = figures(tmp_path)
    assert summary["endings"] == {"dropped": 100}
    assert summary["reconnects"]["count"] == 100
    assert summary["reconnects"]["peak"] < 100


# Where it can run


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--proxy", "caddy"], marks=pytest.mark.heavy),
        pytest.param(["--proxy", "none"], marks=pytest.mark.heavy),
        pytest.param(["--no-tls"], marks=pytest.mark.heavy),
    ],
    ids=" ".join,
)
def test_other_ways(options, tmp_path):
    """Without a proxy, through Caddy, and without TLS: nothing is lost."""
    given = ["--streams", "60", "--seconds", "2", "--idle", "1", "--out", tmp_path]
    code, said = load("steady", *given, *options)
    assert code == 0, said
    assert figures(tmp_path)["verdict"]["received"] >= 2 * 60


@pytest.mark.heavy  # the next has a target too
def test_a_running_deployment(behind, redis_url, tmp_path):
    """With --target nothing but Locust is started; every stream opens through the proxy that is there."""
    site = behind("nginx", apps=1)
    target = ["--target", f"https://localhost:{site.proxy.port}/events/me", "--redis", redis_url]
    given = ["--streams", "60", "--seconds", "2", "--idle", "1", "--cacert", site.proxy.authority]
    code, said = load("steady", *given, *target, "--out", tmp_path)
    assert code == 0, said
    summary = figures(tmp_path)
    assert list(summary["memory"]) == ["kernel", "Locust"]
    assert summary["verdict"]["received"] >= 2 * 60


def test_locust_by_itself(behind, redis_url, tmp_path):
    """The locustfile runs under the locust command, over its own processes, and its exit code tells."""
    site = behind("nginx", apps=1)
    target = ["--target", f"https://localhost:{site.proxy.port}/events/me", "--redis", redis_url]
    given = ["--streams", "60", "--seconds", "2", "--idle", "1", "--cacert", site.proxy.authority]
    locust = ["--headless", "--scenario", "steady", "--summary", tmp_path / "summary.json"]
    command = ("-m", "locust", "-f", "loadtest/locustfile.py")
    code, said = load(*locust, *given, *target, command=command)
    assert code == 0, said
    summary = figures(tmp_path)
    assert summary["verdict"]["received"] == summary["verdict"]["published"] * 60
    assert all(each["met"] for each in summary["thresholds"])


# What is wrong is said before the load starts


def test_a_wrong_secret(behind, redis_url, tmp_path):
    """The message says what the app answers, and which setting that is."""
    site = behind("nginx", apps=1)
    given = ["--target", f"https://localhost:{site.proxy.port}/events/me", "--cacert", site.proxy.authority]
    code, said = load("steady", *given, "--redis", redis_url, "--out", tmp_path, secret="another")
    assert code == 2
    assert "answers 401: SSE_EDGE_SECRET is not the secret of the app" in said
    assert not list(tmp_path.iterdir())


def test_a_proxy_that_buffers(behind, redis_url, tmp_path):
    """A proxy that holds events back is found out with one stream."""
    site = behind("nginx", apps=1)
    config = site.proxy.config
    text = config.read_text()
    kept = "proxy_buffering off;"
    assert text.count(kept) == 1
    config.write_text(text.replace(kept, "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"))
    site.proxy.reload()
    given = ["--target", f"https://localhost:{site.proxy.port}/events/me", "--cacert", site.proxy.authority]
    code, said = load("steady", *given, "--redis", redis_url, "--out", tmp_path)
    assert code == 2
    assert "holds the stream back (proxy_buffering on" in said


def test_another_redis(behind, private_redis, tmp_path):
    """Events that go to another Redis than the target's never arrive, which is said."""
    site = behind("nginx", apps=1)
    given = ["--target", f"https://localhost:{site.proxy.port}/events/me", "--cacert", site.proxy.authority]
    code, said = load("steady", *given, "--redis", private_redis().url, "--out", tmp_path)
    assert code == 2
    assert "did not arrive within 5 s" in said
    assert "--redis" in said


BAD = [
    (["steadily"], "SCENARIO: invalid choice: 'steadily' (choose from"),
    (["steady", "--streams", "0"], "--streams: must be a whole number from 1 to 1000000: '0'"),
    (
        ["steady", "--seconds", "soon"],
        "--seconds: must be a number more than 0 and up to 1000000: 'soon'",
    ),
    (["slow", "--share", "1.5"], "--share: must be a share, more than 0 and less than 1: '1.5'"),
    (["steady", "--target", "example"], "--target: 'example' is no http(s) URL"),
    (
        ["steady", "--target", "http://127.0.0.1:1/events/me"],
        "127.0.0.1:1 cannot be reached: Connection refused",
    ),
    (
        ["steady", "--target", "http://127.0.0.1:1/", "--workers", "2"],
        "--workers is for what is started here",
    ),
    (
        ["steady", "--target", "http://127.0.0.1:1/", "--proxy", "caddy"],
        "--proxy is for what is started here, and --target names what runs already",
    ),
    (["steady", "--proxy", "none", "--tls"], "--tls is between clients and proxy"),
    (["capacity", "--steps", "10,x"], "--steps: must be a whole number from 1 to 1000000: 'x'"),
    (["capacity", "--steps", "10,20", "--streams", "15"], "--steps has 20, more than --streams 15"),
    (["capacity", "--steps", "10,5"], "--steps: each must be more than the one before: '10,5'"),
    (["capacity", "--target", "http://127.0.0.1:1/"], "capacity looks at what is started here"),
    (["steady", "--redis", "redis://127.0.0.1:6379/0"], "--redis is for --target, which names what runs"),
    (["all", "--own-channel=inbox:{user}"], "--own-channel is for --target, which names what runs"),
    (
        ["steady", "--target", "https://127.0.0.1:1/events/me", "--cacert", "/nowhere"],
        "--cacert: /nowhere: No such file or directory",
    ),
    (["steady", "--proxy", "apache"], "'apache'"),
    (["steady", "--streams", "900000"], "MiB are available: give fewer streams"),
    (["steady", "--streams", "40000", "--workers", "2"], "per_worker=15_000): --workers 3"),
    (["steady", "--workers", "100000"], "workers: must be a whole number from 1 to 512 (got 100000)"),
]
"""What makes no sense, and what is said of it."""

EACH = """
import contextlib, io, json, sys
import locust
from loadtest.run.command import main

found = []
for sys.argv[1:] in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        try:
            code = main()
        except SystemExit as error:
            code = error.code
    found.append((code, said.getvalue()))
json.dump(found, sys.stdout)
"""


def test_bad_usage(tmp_path):
    """Option and value are named, and nothing is started."""
    asked = [[*arguments, "--out", str(tmp_path)] for arguments, _ in BAD]
    env = {**os.environ, "SSE_EDGE_SECRET": SECRET, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", EACH],
        input=json.dumps(asked), env=env, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for (arguments, said), (code, printed) in zip(BAD, json.loads(done.stdout), strict=True):
        assert (code, said in printed) == (2, True), (arguments, printed)
        assert "Traceback" not in printed
    assert not list(tmp_path.iterdir())


def test_locust_without_a_target():
    """Under the locust command too: what is missing is said, and no user is spawned."""
    command = ("-m", "locust", "-f", "loadtest/locustfile.py", "--headless")
    code, said = load("--scenario", "steady", "--target", "http://127.0.0.1:1/events/me", command=command)
    assert code == 2, said
    assert "--target: 127.0.0.1:1 cannot be reached: Connection refused" in said
    assert "Traceback" not in said


def test_no_secret(tmp_path):
    """A target's secret is asked for by the variable's name."""
    code, said = load("steady", "--target", f"http://127.0.0.1:{free_port()}/events/me", secret="")
    assert code == 2
    assert "set SSE_EDGE_SECRET" in said


def test_too_few_descriptors(tmp_path):
    """What to raise is said, and to how much."""
    command = 'ulimit -n 1000; exec "$0" -m loadtest steady --streams 5000 --out "$1"'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, str(tmp_path)],
        check=False, capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert (
        "a process may have 1,000 descriptors: --processes 8, or raise the hard limit (ulimit -Hn) to 5300"
        in (done.stderr)
    )


# What goes wrong while it runs


@pytest.fixture
def running(tmp_path):
    """A long run that has come to its events: the process, and where its report goes."""
    arguments = ["steady", "--streams", "60", "--seconds", "100", "--idle", "1", "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest", *arguments], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        for line in process.stderr:
            if "events" in line:
                break
        yield process, tmp_path
        if process.poll() is None:
            process.terminate()  # it ends what it has started
            process.communicate(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.heavy)])
def test_an_interrupted_run(running, number):
    """It stops all it has started, and writes the report of what was measured; also when the signal comes
    twice, as ``timeout`` sends it."""
    process, out = running
    started = descendants(process.pid)
    assert len(started) > 7
    time.sleep(2.5)  # so that there is something to report
    os.kill(process.pid, number)
    os.killpg(process.pid, number)
    said, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "interrupted; the report of what was measured follows" in rest
    assert "Traceback" not in rest
    summary = figures(out)
    assert summary["interrupted"]
    assert summary["verdict"]["received"] >= 60
    assert summary["verdict"]["lost"] == 0
    assert "interrupted" in said
    assert (out / "index.html").exists()
    deadline = time.monotonic() + 20
    while left := still_there(started):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


WORKER = """
import pathlib, socket, sys
print("hello", flush=True)
if pathlib.Path(sys.argv[2]).exists():
    sys.exit("cannot begin")
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    server.accept()
"""


def test_a_worker_that_does_not_come_back(tmp_path):
    """What it wrote is said, and still there for the report, with what it wrote in its first life."""
    port, broken = free_port(), tmp_path / "broken"
    worker = Program([sys.executable, "-c", WORKER, str(port), str(broken)], port)
    try:
        worker.kill()
        broken.touch()
        with pytest.raises(RuntimeError, match="did not start:\\nhello\\nhello\\ncannot begin"):
            worker.start()
        assert worker.exit_code == 1
        assert worker.log == "hello\nhello\ncannot begin\n"
    finally:
        worker.close()


def test_a_run_that_is_interrupted_before_it_begins(tmp_path):
    """Nothing that it has started is left, though Locust's processes are only just starting."""
    arguments = ["steady", "--streams", "60", "--proxy", "none", "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest", *arguments], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        for line in process.stderr:
            if "processes of Locust" in line:
                break
        deadline = time.monotonic() + 20
        started = []
        while not any(b"locustfile.py" in _words(pid) for pid, _ in started):
            assert time.monotonic() < deadline
            time.sleep(0.02)
            started = descendants(process.pid)
        process.terminate()
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "interrupted before anything was measured" in rest
    assert not still_there(started)


def _words(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


INTERRUPTED = """
import gevent
from types import SimpleNamespace
import locust.runners
from loadtest.run.conductor import Conductor

class Runner:
    clients = [1, 2]
    def send_message(self, what, told):
        if conductor.over:  # a run that is over tells Locust's processes to go
            self.clients.clear()
        for index in range(len(self.clients)):
            answer = {"received": 3, "resets": {}, "findings": []} if told["order"] == "judge" else {}
            conductor.told("answered", {"number": told["number"], "index": index, "answer": answer})

locust.runners.MasterRunner = Runner
given = dict(streams=10, scenario="steady", redis="memory://", seconds=0, rate=0, idle=0)
options = SimpleNamespace(**given)
environment = SimpleNamespace(parsed_options=options, runner=Runner())
conductor = Conductor(environment, SimpleNamespace(parts={}), str)
conductor.scenario = SimpleNamespace(script=lambda run: gevent.sleep(100))
gevent.sleep(0.05)
conductor.interrupt(1.0)
print(conductor.over, conductor.failure, conductor.script.verdict["received"])
"""


def test_an_interrupted_run_is_over_when_it_is_judged():
    """Locust's processes are let go when they have said what they got, and not while they are asked."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        check=False, capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout == "True None 6\n", done.stderr


@pytest.mark.heavy
def test_a_process_of_locust_dies(running):
    """The run ends, says which process ended, and writes what there is."""
    process, out = running
    for pid, _ in descendants(process.pid):
        if b"locustfile.py" in _words(pid):
            os.kill(pid, signal.SIGKILL)
    _, rest = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "a process of Locust has ended with -9" in rest
    assert figures(out)["failure"]


def test_streams_that_are_refused(tmp_path, behind, redis_url):
    """A deployment that has no room for all ends the run, and the refusals are named."""
    site = behind("nginx", apps=1, env={"PER_WORKER": "20"})
    given = ["--target", f"https://localhost:{site.proxy.port}/events/me", "--cacert", site.proxy.authority]
    env = {**os.environ, "SSE_EDGE_SECRET": SECRET}
    arguments = ["steady", "--streams", "60", *map(str, given), "--redis", redis_url, "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest", *arguments], cwd=ROOT, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        for line in process.stderr:
            if "opening: 20 of 60" in line:
                break
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert figures(tmp_path)["refusals"]["worker-full"] >= 40
    assert not all(each["met"] for each in figures(tmp_path)["thresholds"])


def test_a_round(tmp_path):
    """``all`` plays every scenario it is told to and says how each went; a wrong option ends each."""
    code, said = load("all", "--streams", "60", "--proxy", "none", "--tls", "--out", tmp_path)
    assert code == 2
    assert "--proxy is none" in said


@pytest.mark.heavy
def test_an_interrupted_round(tmp_path):
    """The scenario that is under way is interrupted as if it were alone, and none comes after it."""
    arguments = ["all", "--streams", "60", "--proxy", "none", "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest", *arguments], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        while not (tmp_path / "steady" / "locust_stats.csv").exists():
            assert process.poll() is None
            time.sleep(0.1)
        started = descendants(process.pid)
        assert len(started) > 5
        os.kill(process.pid, signal.SIGTERM)
        os.killpg(process.pid, signal.SIGTERM)
        said, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "interrupted" in said
    assert [path.name for path in tmp_path.iterdir()] == ["steady"]
    assert (tmp_path / "steady" / "index.html").exists()
    deadline = time.monotonic() + 20
    while left := still_there(started):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
