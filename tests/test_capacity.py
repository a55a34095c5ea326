"""The capacity run: every event of every stream is counted, and the table says what was measured."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.capacity import __main__ as command
from loadtest.capacity import table
from loadtest.capacity.measure import Capacity, Step, percentile
from loadtest.capacity.reader import Streams, reading
from loadtest.client.addresses import PER_SOURCE, source
from loadtest.measure.usage import READER, Cpu, busy_seconds, kernel_memory
from loadtest.site.deployment import running
from loadtest.site.layout import Host, arrange, remarks
from servers.processes import descendants, still_there

ROOT = Path(__file__).parents[1]

HOST = Host(files=20_000, ports=28_232, memory=24 << 30, cores=2)

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

PARTS = {"worker": 1.0, "proxy": 2.0, "Redis": 3.0, "kernel": 4.0, READER: 100.0}

STEP = Step(
    streams=1000,
    memory={name: 1024 * size for name, size in PARTS.items()},
    files={"worker": 1.0, "proxy": 2.0, "Redis": 0.0, READER: 1.0},
    others=0,
    buffers=2048.0,
    connect={name: 1e-3 * size for name, size in PARTS.items()},
    connects_per_second=500.0,
    idle={name: 1e-6 * size for name, size in PARTS.items()},
    keep_alives=4.0,
    events={name: 1e-6 * size for name, size in PARTS.items()},
    personal={name: 2e-6 * size for name, size in PARTS.items()},
    published=5,
    expected=5000,
    received=5000,
    lost=0,
    repeated=0,
    ended=0,
    p50=0.01,
    p99=0.1,
    longest=0.2,
)


def chunk(text):
    """A chunk as it is sent."""
    return b"%x\r\n%b\r\n" % (len(text), text)


def event(number, moment=1.0):
    """An event as it is sent."""
    return b"id: 1-%d\ndata: %d %.6f ...\n\n" % (number, number, moment)


# What fits


@pytest.mark.parametrize(
    ("streams", "proxy", "workers", "readers", "proxies"),
    [
        (10, "nginx", 1, 1, 2),
        (10_000, "nginx", 2, 1, 2),
        (10_001, "nginx", 2, 2, 2),
        (20_000, "nginx", 2, 2, 4),  # two sockets for each, and half as many again
        (9_900, "caddy", 2, 1, 1),
        (10_000, "caddy", 2, 1, 2),
        (10_000, "none", 2, 1, 0),
        (50_000, "nginx", 4, 5, 8),
    ],
)
def test_processes_are_as_many_as_their_descriptors_demand(streams, proxy, workers, readers, proxies):
    """No process holds more than the machine lets it."""
    layout = arrange(streams, proxy, workers, HOST, tls=proxy != "none")
    assert (layout.readers, layout.proxies) == (readers, proxies)
    assert layout.proxy_files <= HOST.files


@pytest.mark.parametrize(
    ("host", "streams", "workers", "said"),
    [
        (HOST, 50_000, 2, "--workers 2 would be 25,000 streams each, .*per_worker=15_000.*: --workers 4"),
        (
            replace(HOST, files=1024),
            10_000,
            2,
            "may have 1,024 descriptors .*: --workers 13, or raise that to 5200",
        ),
        (replace(HOST, files=256), 10_000, 2, r"may have only 256 .* raise that \(ulimit -Hn\) to 11000"),
        (replace(HOST, ports=4000), 10_000, 2, "there are 4,000 local ports: --workers 3, or sysctl"),
        (replace(HOST, memory=1 << 20), 10_000, 2, "about 1,[0-9]+ MiB of memory .* 1 MiB are available"),
    ],
)
def test_what_does_not_fit_is_said_with_its_remedy(host, streams, workers, said):
    """A run that could not be finished does not begin."""
    with pytest.raises(RuntimeError, match=said):
        arrange(streams, "nginx", workers, host, tls=True)


def test_what_differs_from_production_is_said():
    """The report names what was changed for this machine."""
    plain = " ".join(remarks(arrange(20_000, "nginx", 2, HOST, tls=False), 2))
    assert "no TLS" in plain
    assert "nginx has 4 workers on 2 cores" in plain
    many = " ".join(remarks(arrange(20_000, "caddy", 2, HOST, tls=True), 2))
    assert "3 Caddys beside each other, since one would need 48,000 descriptors" in many
    assert "no proxy" in " ".join(remarks(arrange(10, "none", 2, HOST, tls=False), 2))


def test_clients_stay_below_every_cap_per_address():
    """So many streams from one address, and then the next; no address is used twice."""
    sources = [source(number) for number in range(0, 2_000_000, PER_SOURCE)]
    assert len(set(sources)) == len(sources)
    assert {source(number) for number in range(PER_SOURCE)} == {"127.1.0.1"}
    assert PER_SOURCE < 100
    for place in sources:
        assert socket.inet_aton(place)


# The figures


def test_the_kernels_memory_is_divided_by_sockets():
    """The clients' sockets cost as much as the others, and are not ours."""
    assert kernel_memory(4000.0, {"worker": 1, "proxy": 2, READER: 1}) == pytest.approx(3000 + 3 * 1150)
    assert kernel_memory(4000.0, {"worker": 1, READER: 1}) == pytest.approx(2000 + 1150)
    assert kernel_memory(4000.0, {"worker": 0, READER: 0}) == 0.0


def test_cpu_is_counted_without_what_is_used_anyway():
    """What processes use without streams is no stream's."""
    before, after = Cpu(10.0, {"worker": 1.0, "Redis": 5.0}), Cpu(12.0, {"worker": 4.0, "Redis": 5.1})
    assert after.since(before) == pytest.approx({"worker": 3.0, "Redis": 0.1})
    assert after.since(before, {"worker": 0.5, "Redis": 0.5}) == pytest.approx({"worker": 2.0, "Redis": 0.0})


def test_a_process_has_used_cpu():
    """The kernel's account of this process grows when it works, and so does the kernel's share."""
    parts = {"worker": [os.getpid()], READER: []}
    before = Cpu.of(parts)
    while Cpu.of(parts).since(before)["kernel"] == 0.0:
        Path("/proc/self/smaps_rollup").read_text()
    assert Cpu.of(parts).since(before)["worker"] > 0.0
    assert Cpu.of(parts).since(before)[READER] == 0.0


@pytest.mark.parametrize(("part", "expected"), [(0.5, 51), (0.99, 100), (1.0, 100)])
def test_percentiles(part, expected):
    """The middle one of all waits, the one that a hundredth exceeds, the longest."""
    assert percentile(range(1, 101), part) == expected
    assert percentile([], part) == 0.0


def test_the_tables_have_every_part_and_its_sum():
    """Memory adds the kernel's to the others'; CPU does not, since the kernel's is within theirs."""
    printed = table.tables([STEP], PARTS, PARTS, "nginx")
    rows = [line.split() for line in printed.splitlines() if line.strip().startswith("1,000")]
    heads = ["streams", "worker", "nginx", "Redis", "kernel", "all", "(clients)"]
    assert [line.split() for line in printed.splitlines()].count(heads) == 5
    memory, files, connect, idle, events, personal, delivery, besides = rows
    assert memory == ["1,000", "1", "2", "3", "4", "10", "100"]
    assert files == ["1,000", "1", "2", "0", "1"]
    assert connect == ["1,000", "1,000", "2,000", "3,000", "4,000", "6,000", "100,000"]
    assert idle == events == ["1,000", "1", "2", "3", "4", "6", "100"]
    assert personal == ["1,000", "2", "4", "6", "8", "12", "200"]
    assert delivery == ["1,000", "5", "5,000", "5,000", "0", "0", "0", "10", "100", "200"]
    assert besides == ["1,000", "500", "4", "2"]


@pytest.mark.parametrize(
    "changes",
    [{"received": 4999, "lost": 1}, {"received": 5001, "repeated": 1}, {"ended": 1}, {"received": 1}],
)
def test_what_went_wrong_is_said(changes):
    """A step with anything lost, repeated or ended is not whole."""
    assert STEP.whole
    assert not table.faults([STEP])
    (said,) = table.faults([STEP, replace(STEP, **changes)])
    assert said.startswith("1,000 streams: ")


@pytest.mark.parametrize(("others", "said"), [(300, "opened 300"), (-1000, "closed 1,000")])
def test_other_programs_are_noticed(others, said):
    """Where others open or close many sockets, the kernel's memory is not the streams'."""
    assert not table.doubts([STEP, replace(STEP, others=200), replace(STEP, others=-200)])
    (doubt,) = table.doubts([STEP, replace(STEP, others=others)])
    assert doubt.startswith("1,000 streams: the kernel's memory is not to be trusted")
    assert said in doubt


# The clients


@pytest.fixture
def streams():
    """Opened streams to a server that the test plays: the reader's side, and the server's sockets."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        pool = stack.enter_context(ThreadPoolExecutor())
        reader = Streams(None)
        stack.callback(reader.poll.close)
        stack.callback(reader.close)

        def accept():
            server, _ = listener.accept()
            server.recv(1000)
            for piece in (
                HEAD[:20],
                HEAD[20:],
                chunk(b": stream open\nretry: 3000\nid: 1-0\nevent: edge-position\n\n"),
            ):
                server.sendall(piece)
                time.sleep(0.01)
            return stack.enter_context(server)

        accepting = [pool.submit(accept), pool.submit(accept)]
        assert reader.open([listener.getsockname()[1]], [b"GET"] * 2, 0) == 2
        reader.begin(0)
        yield reader, [one.result() for one in accepting]


def read_until(reader, newest, seconds=10.0):
    """Read until every stream has this event."""
    deadline = time.monotonic() + seconds
    while reader.behind(newest) and time.monotonic() < deadline:
        reader.turn(0.05)


def test_events_are_counted_wherever_a_read_ends(streams):
    """Events in pieces, in several chunks or several in one: each is counted once."""
    reader, (one, other) = streams
    whole = chunk(event(1)[:9]) + chunk(event(1)[9:]) + chunk(event(2) + b": keep-alive\n" + event(3))
    for place in range(0, len(whole), 7):
        one.sendall(whole[place : place + 7])
        reader.turn(0.05)
    other.sendall(chunk(event(1) + event(2) + event(3)))
    read_until(reader, 3)
    report = reader.report(3)
    assert (report.received, report.lost, report.repeated, report.ended) == (6, 0, 0, 0)
    assert report.keep_alives == 1
    assert len(report.latencies) == 6


def test_what_is_missing_or_twice_is_counted(streams):
    """A hole, an event that never came and one that came again: none makes up for another."""
    reader, (one, other) = streams
    one.sendall(chunk(event(1) + event(3) + event(3) + event(4)))
    other.sendall(chunk(event(1) + event(2) + event(3)))
    read_until(reader, 4, 0.5)
    report = reader.report(4)
    assert (report.received, report.lost, report.repeated) == (7, 2, 1)


def test_a_stream_that_ends_is_counted(streams):
    """What it would have got is lost."""
    reader, (one, other) = streams
    one.sendall(chunk(event(1)))
    one.close()
    other.sendall(chunk(event(1) + event(2)))
    read_until(reader, 2, 0.5)
    report = reader.report(2)
    assert (report.received, report.lost, report.ended) == (3, 1, 1)


def test_a_refused_stream_is_said():
    """A refusal is shown, and no stream is counted."""
    with (
        reading(1, None) as readers,
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor() as pool,
    ):

        def refuse():
            server, _ = listener.accept()
            with server:
                server.recv(1000)
                server.sendall(b"HTTP/1.1 429 Too Many Requests\r\n\r\n")
                server.recv(1000)

        refusing = pool.submit(refuse)
        with pytest.raises(RuntimeError, match="no stream: .*429 Too Many"):
            readers.open([listener.getsockname()[1]], [b"GET"])
        readers.end()
        refusing.result()


# The whole


@pytest.mark.live
def test_a_small_run_fills_the_table(tmp_path):
    """Forty streams over TLS through the shipped nginx.conf: each gets every event, each figure is there."""
    said = []
    layout = arrange(40, "nginx", 2, Host.read(), tls=True)
    with running(layout, tmp_path) as site, reading(layout.readers, site.authority) as readers:
        capacity = Capacity(site, readers, said.append, idle=0.3, events=2)
        capacity.run([20, 40])
    first, last = capacity.steps
    assert (first.streams, last.streams) == (20, 40)
    for step in capacity.steps:
        assert step.whole
        assert step.received == step.expected == step.streams * (2 + 1)
        assert 0 < step.p50 <= step.p99 <= step.longest
        assert (step.files["proxy"], step.files[READER]) == (2.0, 1.0)
        assert step.files["worker"] >= 1.0
        assert step.connects_per_second > 0
        # What a worker does without streams is no less than this little, so it is not compared with 0.
        for what in (step.connect, step.events, step.personal):
            assert what["proxy"] > 0
            assert what[READER] > 0
        for what in (step.memory, step.connect, step.idle, step.events, step.personal):
            assert what.keys() == {"worker", "proxy", "Redis", "kernel", READER}
    printed, whole = command.report(capacity, layout, {"cpu": "this", "kernel": "one"}, "the command")
    assert "Every stream stayed open and got every event once." in printed
    assert [step["streams"] for step in json.loads(json.dumps(whole))["steps"]] == [20, 40]
    assert whole["missed"] == []
    assert len(said) == 2 + 4 * 2


@pytest.mark.live
def test_ctrl_c_stops_everything():
    """An interrupted run leaves no process behind, and says that it was interrupted."""
    arguments = [sys.executable, "-m", "loadtest.capacity", "--streams", "40"]
    with subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for line in process.stderr:
            if "no streams" in line:
                break
        started = descendants(process.pid)
        assert len(started) > 5
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
        process.stdout.read()
    assert process.returncode == 130, rest
    assert "interrupted; everything it started is stopped" in rest
    deadline = time.monotonic() + 20
    while left := still_there(started):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


# The command


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--streams", "many"], "--streams: must be a positive whole number: 'many'"),
        (["--streams", "0"], "--streams: must be a positive whole number: '0'"),
        (["--steps", "10,x"], "--steps: must be a positive whole number: 'x'"),
        (["--steps", "10,20", "--streams", "15"], "--steps has 20, more than --streams 15"),
        (["--idle", "nan"], "--idle: must be seconds, more than 0 and up to 3600: 'nan'"),
        (["--proxy", "apache"], "'apache'"),
        (["--proxy", "none", "--tls"], "--proxy is none"),
    ],
)
def test_a_wrong_option_is_named(given, said, capsys):
    """Nothing is started for a command line that makes no sense."""
    with pytest.raises(SystemExit) as exit:
        command.arguments(given)
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "steps", "tls"),
    [
        ([], [1000, 3000, 10_000], True),
        (["--streams", "2"], [1, 2], True),
        (["--steps", "30,10"], [10, 30], True),
        (["--streams", "50", "--steps", "10", "--no-tls"], [10, 50], False),
        (["--streams", "10", "--proxy", "none"], [1, 3, 10], False),
    ],
)
def test_steps_end_with_all_streams(given, steps, tls):
    """Steps go up, whatever their order, and TLS is there wherever it can be."""
    found = command.arguments(given)
    assert (found.steps, found.tls) == (steps, tls)


def test_the_machine_works():
    """What all cores have done grows by what this process does, and is no more than they could."""
    before, began = busy_seconds(), time.monotonic()
    while time.monotonic() < began + 0.3:
        pass
    worked, passed = busy_seconds() - before, time.monotonic() - began
    assert 0.2 <= worked <= passed * (os.cpu_count() or 1) + 0.1
