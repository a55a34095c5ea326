"""The capacity run: every event of every stream is counted, and the table says what was measured."""

import os
import socket
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from loadtest.client.tally import Second
from loadtest.client.target import PER_SOURCE, source
from loadtest.measure.machine import busy_seconds, kernel_memory
from loadtest.measure.process import CLIENTS, used_cpu
from loadtest.report.capacity import draw, tables
from loadtest.scenarios.capacity import Capacity, since, thirds
from loadtest.site.layout import Host, arrange, remarks

HOST = Host(files=20_000, ports=28_232, memory=24 << 30)

PARTS = {"worker": 1.0, "proxy": 2.0, "Redis": 3.0, "kernel": 4.0, CLIENTS: 100.0}

STEP = {
    "streams": 1000,
    "memory": {name: 1024 * size for name, size in PARTS.items()},
    "files": {"worker": 1.0, "proxy": 2.0, "Redis": 0.0, CLIENTS: 1.0},
    "others": 0,
    "buffers": 2048.0,
    "connect": {name: 1e-3 * size for name, size in PARTS.items()},
    "connects_per_second": 500.0,
    "idle": {name: 1e-6 * size for name, size in PARTS.items()},
    "keep_alives": 4.0,
    "events": {name: 1e-6 * size for name, size in PARTS.items()},
    "personal": {name: 2e-6 * size for name, size in PARTS.items()},
    "published": 5,
    "expected": 5000,
    "received": 5000,
    "p50": 0.01,
    "p99": 0.1,
    "longest": 0.2,
}

SUMMARY = {
    "steps": [STEP, {**STEP, "streams": 3000}],
    "without_streams": {"memory": PARTS, "cpu_per_second": PARTS},
    "setup": {"proxy": "nginx", "tls": True},
    "machine": {"cpu": "this one", "kernel": "6.1"},
}


# What fits


@pytest.mark.parametrize(
    ("streams", "proxy", "workers", "proxies"),
    [
        (10, "nginx", 1, 2),
        (10_000, "nginx", 2, 2),
        (20_000, "nginx", 2, 4),  # two sockets for each, and half as many again
        (9_900, "caddy", 2, 1),
        (10_000, "caddy", 2, 2),
        (10_000, "none", 2, 0),
        (50_000, "nginx", 4, 8),
    ],
)
def test_processes_are_as_many_as_their_descriptors_demand(streams, proxy, workers, proxies):
    """No process holds more than the machine lets it."""
    layout = arrange(streams, proxy, workers, HOST, tls=proxy != "none")
    assert layout.proxies == proxies
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
    assert kernel_memory(4000.0, {"worker": 1, "proxy": 2, CLIENTS: 1}) == pytest.approx(3000 + 3 * 1150)
    assert kernel_memory(4000.0, {"worker": 1, CLIENTS: 1}) == pytest.approx(2000 + 1150)
    assert kernel_memory(4000.0, {"worker": 0, CLIENTS: 0}) == 0.0


def test_cpu_is_counted_without_what_is_used_anyway():
    """What processes use without streams is no stream's."""
    before, after = {"worker": 1.0, "Redis": 5.0}, {"worker": 4.0, "Redis": 5.1}
    assert since(before, after, 2.0, {}) == pytest.approx({"worker": 3.0, "Redis": 0.1})
    anyway = {"worker": 0.5, "Redis": 0.5}
    assert since(before, after, 2.0, anyway) == pytest.approx({"worker": 2.0, "Redis": 0.0})


def test_a_process_has_used_cpu():
    """The kernel's account of this process grows when it works, and so does the kernel's share."""
    parts = {"worker": [os.getpid()], CLIENTS: []}
    before = used_cpu(parts)
    while used_cpu(parts)["kernel"] == before["kernel"]:
        Path("/proc/self/smaps_rollup").read_text()
    assert used_cpu(parts)["worker"] > before["worker"]
    assert used_cpu(parts)[CLIENTS] == 0.0


def test_the_tables_have_every_part_and_its_sum():
    """Memory adds the kernel's to the others'; CPU does not, since the kernel's is within theirs."""
    found = tables(SUMMARY)
    heads = ["streams", "worker", "nginx", "Redis", "kernel", "all", "(clients)"]
    assert [rows[0] for rows in found.values()].count(heads) == 5
    memory, files, connect, idle, events, personal, delivery, besides, without = (
        rows[1] for rows in found.values()
    )
    assert all(rows[2][0] == "3,000" for rows in list(found.values())[:-1])
    assert memory == ["1,000", "1", "2", "3", "4", "10", "100"]
    assert files == ["1,000", "1", "2", "0", "1"]
    assert connect == ["1,000", "1,000", "2,000", "3,000", "4,000", "6,000", "100,000"]
    assert idle == events == ["1,000", "1", "2", "3", "4", "6", "100"]
    assert personal == ["1,000", "2", "4", "6", "8", "12", "200"]
    assert delivery == ["1,000", "5", "5,000", "5,000", "10", "100", "200"]
    assert besides == ["1,000", "500", "4", "2"]
    assert without[0] == "MiB"


def test_other_scenarios_have_no_steps():
    """A run that looked at none has no such tables."""
    assert tables({**SUMMARY, "steps": []}) == tables({"setup": {}}) == {}


def test_the_picture_names_parts_and_steps(tmp_path):
    """Memory and CPU by part, the proxy by its own name, over the numbers of streams."""
    draw(SUMMARY, tmp_path / "steps.svg")
    svg = (tmp_path / "steps.svg").read_text()
    for said in ("worker", "nginx", "Redis", "kernel", "1,000", "3,000", "99 %", "this one, Linux 6.1"):
        assert f">{said}</text>" in svg or said in svg
    assert ">proxy</text>" not in svg


def run(*steps):
    """What the scenario sees at the end of a run without a fault."""
    verdict = {"lost": 0, "repeated": 0, "disordered": 0, "stranded": 0, "away": 0}
    return SimpleNamespace(
        found={"steps": list(steps)},
        verdict=verdict,
        whole=Second(),
        press=SimpleNamespace(failed=0),
    )


CAPACITY = Capacity(SimpleNamespace(seconds=None, rate=None, idle=None, steps=None, streams=100))


@pytest.mark.parametrize("changes", [{"received": 4999}, {"received": 5001}, {"received": 1}])
def test_what_went_wrong_is_said(changes):
    """A step with fewer or more events than were due is a missed threshold, and so is a run without steps."""
    assert all(each.met for each in CAPACITY.thresholds(run(STEP, STEP)))
    for bad in (run(STEP, {**STEP, **changes}), run()):
        (missed,) = (each.what for each in CAPACITY.thresholds(bad) if not each.met)
        assert missed == "events by which what came differs from what was due"


@pytest.mark.parametrize(("others", "said"), [(300, "opened 300"), (-1000, "closed 1,000")])
def test_other_programs_are_noticed(others, said):
    """Where others open or close many sockets, the kernel's memory is not the streams'."""
    assert not CAPACITY.remarks(run(STEP, {**STEP, "others": 200}, {**STEP, "others": -200}))
    (doubt,) = CAPACITY.remarks(run(STEP, {**STEP, "others": others}))
    assert doubt.startswith("1,000 streams: the kernel's memory is not to be trusted")
    assert said in doubt


@pytest.mark.parametrize(("streams", "steps"), [(10_000, [1000, 3000, 10_000]), (2, [1, 1, 2])])
def test_steps_go_up_to_all(streams, steps):
    """A tenth, three tenths, and all."""
    assert thirds(streams) == steps


def test_the_machine_works():
    """What all cores have done grows by what this process does, and is no more than they could."""
    before, began = busy_seconds(), time.monotonic()
    while time.monotonic() < began + 0.3:
        pass
    worked, passed = busy_seconds() - before, time.monotonic() - began
    assert 0.2 <= worked <= passed * (os.cpu_count() or 1) + 0.1
