"""``sse-edge tune``: sizing, what this machine lacks, and the files it writes."""

import json
import re
import subprocess
from dataclasses import fields

import pytest
from click.testing import CliRunner

from servers.processes import TESTS, command
from sse_edge import ConfigError, Limits
from sse_edge.backends.redis.recent import RECENT_BYTES
from sse_edge.backends.retention import DEFAULT, Retention
from sse_edge.cli import main
from sse_edge.cli.serve import RESERVED_FILES
from sse_edge.tune import dialect, files, sizing, template
from sse_edge.tune.machine import Machine, shortfalls
from sse_edge.tune.sizing import MIB, size

ROOT = TESTS.parent
AMPLE = Machine(
    cores=64, memory=256 * 1024 * MIB, files=1 << 20, nr_open=1 << 20, file_max=1 << 30, somaxconn=65_536,
    syn_backlog=131_072, ports=55_296, conntrack=1 << 22, tcp_memory=64 * 1024 * MIB,
)  # fmt: skip


def invoke(*arguments):
    """Run ``sse-edge tune``."""
    return CliRunner().invoke(main, ["tune", *map(str, arguments)])


# ---- sizing


@pytest.mark.parametrize(
    ("connections", "given", "expected"),
    [
        (1, {}, {"workers": 2, "worker_connections": 4096, "backlog": 4096, "worker_files": 16_384}),
        (1_000, {}, {"workers": 2, "worker_connections": 4096, "proxy_files": 5000}),
        (7_500, {}, {"workers": 3}),
        (10_000, {}, {
            "workers": 4, "per_worker": 15_000, "worker_files": 16_384, "proxy_workers": 2,
            "worker_connections": 16_384, "proxy_files": 20_000, "backlog": 4096, "syn_backlog": 8192,
            "streams_per_worker": 2_500, "streams_after_loss": 3_334, "memory_max": 1024 * MIB,
            "maxmemory": 512 * MIB, "redis_connections": 12, "conntrack": 262_144,
        }),
        (50_000, {}, {"workers": 5, "backlog": 16_384, "proxy_workers": 2, "worker_connections": 77_824}),
        (100_000, {}, {"workers": 10, "backlog": 32_768, "proxy_workers": 4, "conntrack": 524_288}),
        (10_000, {"rate": 100}, {"workers": 19, "publishes": 100_000}),
        (10_000, {"audience": 10_000}, {"publishes": 1, "history_memory": 66_704}),
        (10_000, {"rate": 0}, {"publishes": 0, "history_memory": 0, "cpu": 0}),
        (10_000, {"workers": 1}, {"workers": 1, "streams_after_loss": 10_000}),
        (40_000, {"workers": 3}, {"per_worker": 20_000, "worker_files": 32_768}),
        (10_000, {"proxy": "caddy"}, {"proxy_workers": 1, "worker_connections": 0, "proxy_files": 24_000}),
        (1_000_000, {}, {"workers": 100, "backlog": 65_536}),
        (5, {"audience": 10}, {"audience": 5, "publishes": 1}),
    ],
)  # fmt: skip
def test_sizes(connections, given, expected):
    """What so many streams need."""
    found = size(connections, **given)
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("connections", [1, 999, 10_000, 33_333, 100_000, 400_000])
@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_what_holds_for_every_sizing(connections, proxy):
    """Room for every stream in workers and proxy, also while one worker is away, and memory adds up."""
    found = size(connections, proxy=proxy)
    assert found.workers * found.streams_per_worker >= connections
    assert (found.workers - 1) * found.streams_after_loss >= connections
    assert found.per_worker >= found.streams_after_loss
    assert found.worker_files >= found.per_worker + RESERVED_FILES
    if proxy == "nginx":
        assert found.proxy_workers * found.worker_connections >= 2 * connections
        assert found.proxy_files > found.worker_connections
    else:
        assert found.proxy_files > 2 * connections
    assert found.memory_max > sizing.WORKER_BYTES + found.per_worker * sizing.WORKER_STREAM_BYTES
    parts = found.worker_memory + found.proxy_memory + found.kernel_memory + found.redis_memory
    assert found.memory == parts
    assert found.maxmemory > found.redis_memory
    twice = size(2 * connections, proxy=proxy)
    assert twice.memory > found.memory
    assert twice.herd_cpu == pytest.approx(2 * found.herd_cpu)


def test_figures_that_are_defaults_elsewhere():
    """The figures that repeat a default agree with it."""
    assert Limits().per_worker == sizing.PER_WORKER
    assert sizing.RECENT_BYTES == RECENT_BYTES
    assert Retention(sizing.HISTORY, sizing.HISTORY_SECONDS) == DEFAULT.default
    assert sizing.RESERVED_FILES == RESERVED_FILES
    sysctl = (ROOT / "deploy/sysctl.conf").read_text()
    assert f"ip_local_port_range = {sizing.FIRST_PORT} {sizing.LAST_PORT}\n" in sysctl
    redis = (ROOT / "deploy/redis.conf").read_text()
    assert f"pubsub {sizing.PUBSUB_BYTES // MIB}mb " in redis


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"connections": 0}, "connections: must be a whole number from 1 to 1000000 (got 0)"),
        ({"connections": -1}, "connections: must be"),
        ({"connections": 1_000_001}, "connections: must be"),
        ({"connections": True}, "connections: must be"),
        ({"workers": 0}, "workers: must be a whole number from 1 to 512 (got 0)"),
        ({"workers": 513}, "workers: must be"),
        ({"proxy": "apache"}, "proxy: must be one of nginx, caddy (got 'apache')"),
        ({"rate": -1}, "rate: must be events per second"),
        ({"rate": float("nan")}, "rate: must be events per second"),
        ({"audience": 0}, "audience: must be"),
        ({"connections": 1_000_000, "rate": 1000}, "rate: needs 18334 workers, more than 512"),
    ],
)
def test_sizes_that_make_no_sense(given, message):
    """Nonsense is refused, with its name and value."""
    with pytest.raises(ConfigError) as error:
        size(**{"connections": 1000, **given})
    assert str(error.value).startswith(message)


# ---- this machine


def test_a_machine_that_is_enough():
    """Nothing is said of a machine that has what is needed, nor of what is not known."""
    assert shortfalls(size(100_000), AMPLE) == []
    assert shortfalls(size(100_000), Machine()) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("cores", 3, "cores are 3"),
        ("memory", 1024 * MIB, "memory is 1,024 MiB"),
        ("files", 1024, "RLIMIT_NOFILE"),
        ("nr_open", 1024, "fs.nr_open"),
        ("file_max", 300_000, "fs.file-max"),
        ("somaxconn", 4096, "net.core.somaxconn is 4,096, and 32,768 are needed"),
        ("syn_backlog", 2048, "net.ipv4.tcp_max_syn_backlog"),
        ("ports", 10_000, "net.ipv4.ip_local_port_range"),
        ("conntrack", 100_000, "net.netfilter.nf_conntrack_max"),
        ("tcp_memory", 100 * MIB, "net.ipv4.tcp_mem"),
    ],
)
def test_what_a_machine_lacks(field, value, said):
    """Each thing that falls short is said by name, with what is needed, and nothing else."""
    values = {each.name: getattr(AMPLE, each.name) for each in fields(Machine)}
    found = shortfalls(size(100_000), Machine(**{**values, field: value}))
    assert found
    assert all(line.startswith(said) for line in found)


def test_what_no_machine_has():
    """Too few workers for the events, and more events than one Redis takes, are said."""
    found = shortfalls(size(10_000, rate=100, workers=4), AMPLE)
    assert [line.split(",")[0] for line in found] == ["workers are 4", "Redis has one core"]


def test_reading_a_machine(tmp_path):
    """What the kernel says is read; what it does not say is None."""
    assert Machine.read(tmp_path) == Machine(cores=Machine.read().cores, memory=Machine.read(tmp_path).memory)
    for name, text in {
        "meminfo": "MemTotal:        2048 kB\nMemFree: 1 kB\n",
        "self/limits": "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   20000   files\n",
        "sys/fs/nr_open": "1048576\n",
        "sys/fs/file-max": "9223372036854775807\n",
        "sys/net/core/somaxconn": "4096\n",
        "sys/net/ipv4/tcp_max_syn_backlog": "512\n",
        "sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
        "sys/net/ipv4/tcp_mem": "1\t2\t3\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = Machine.read(tmp_path)
    assert (found.memory, found.files, found.nr_open) == (2048 * 1024, 20_000, 1 << 20)
    assert (found.somaxconn, found.syn_backlog, found.ports) == (4096, 512, 28_232)
    assert (found.conntrack, found.tcp_memory) == (None, 3 * 4096)
    here = Machine.read()
    assert here.cores
    assert here.memory


# ---- the files


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_the_shipped_files_are_what_it_writes(tmp_path, proxy):
    """For 10,000 streams it writes the shipped files, byte for byte."""
    reader = ["--nginx", "1.22.1"] if proxy == "nginx" else []
    result = invoke("--connections", 10_000, "--proxy", proxy, *reader, "--write", tmp_path / "out")
    assert result.exit_code == 0, result.output
    places = {"nginx.conf": "nginx.conf", "Caddyfile": "Caddyfile", **files.DEPLOY}
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(written) == {files.PROXY_FILES[proxy], *files.DEPLOY}
    differ = {name for name, content in written.items() if content != (ROOT / places[name]).read_bytes()}
    # Caddy is one process, which needs more open files than each of nginx's.
    assert differ == ({"proxy-limits.conf"} if proxy == "caddy" else set())


def test_files_for_more(tmp_path):
    """For more streams the marked values differ, and nothing else does."""
    assert invoke("--connections", 100_000, "--write", tmp_path).exit_code == 0
    found = {name: files.marked((tmp_path / name).read_text()) for name in files.DEPLOY}
    assert found == {
        "sse-edge@.service": {"backlog": "32768", "files": "16384", "memory_max": "1024M"},
        "sse-edge.target": {"instances": " ".join(f"sse-edge@{port}.service" for port in range(8001, 8011))},
        "proxy-limits.conf": {"proxy_files": "94000"},
        "sysctl.conf": {"backlog": "32768", "syn_backlog": "65536", "conntrack": "524288"},
        "redis.conf": {"maxmemory": "2048mb"},
    }
    nginx = template.marked((tmp_path / "nginx.conf").read_text())
    assert nginx["upstream"] == [f"127.0.0.1:{port}" for port in range(8001, 8011)]
    assert (nginx["worker_connections"], nginx["files"], nginx["backlog"]) == ("77824", "94000", "32768")
    for name in files.DEPLOY:
        old, new = files.text(name).splitlines(), (tmp_path / name).read_text().splitlines()
        assert len(old) == len(new)
        changed = [number for number, (one, two) in enumerate(zip(old, new, strict=True)) if one != two]
        assert all(old[number - 1].startswith("# tune: ") for number in changed)


@pytest.mark.parametrize(
    ("proxy", "places", "expected"),
    [
        ("nginx", ["unix:/run/a/1.sock", "app2:8000"], ["unix:/run/a/1.sock", "app2:8000"]),
        ("caddy", ["unix:/run/a/1.sock", "app2:8000"], ["unix//run/a/1.sock", "app2:8000"]),
    ],
)
def test_other_upstreams(tmp_path, proxy, places, expected):
    """--upstream names the workers, as either proxy writes them."""
    options = [word for place in places for word in ("--upstream", place)]
    assert invoke("--connections", 10, "--proxy", proxy, *options, "--write", tmp_path).exit_code == 0
    assert template.marked((tmp_path / files.PROXY_FILES[proxy]).read_text())["upstream"] == expected


@pytest.mark.parametrize(
    ("reader", "newer"),
    [(None, False), ("1.22", False), ("1.25.0", False), ("1.25.1", True), ("1.26.3", True), ("2.0", True)],
)
def test_the_words_of_a_version(reader, newer):
    """From 1.25.1 on HTTP/2 is said in a line of its own, and nothing else is said otherwise."""
    found = files.tuned(size(10_000), nginx=reader and dialect.version(reader))["nginx.conf"]
    text = template.shipped("nginx.conf")
    changed = [line for line in found.splitlines() if line not in text.splitlines()]
    lines = ["listen 443 ssl default_server;", "listen 443 ssl reuseport backlog=4096;  # tune: backlog"]
    every = ["http2 on;", *(each.replace("443", place) for each in lines for place in ("443", "[::]:443"))]
    assert [line.strip() for line in changed] == (every if newer else [])


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("nginx version: nginx/1.30.6", "1.30.6"),
        ("nginx version: nginx/1.22.1 (Ubuntu)", "1.22.1"),
        ("nginx version: openresty/1.27.1.2", "1.27.1"),
        ("nginx: [alert] could not open error log file\nnginx version: nginx/1.26.3", "1.26.3"),
        ("", None),
    ],
)
def test_the_version_that_is_installed(tmp_path, monkeypatch, said, found):
    """The file is written for the nginx that is installed, whatever it is called; else for every one."""
    program = tmp_path / "nginx"
    program.write_text(f'#!/bin/sh\n[ "$1" = -v ] && printf "%s\\n" "{said}" >&2\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert dialect.installed() == found
    out = tmp_path / "out"
    written = invoke("--connections", 10, "--write", out)
    assert written.exit_code == 0
    newer = found is not None and dialect.version(found) >= dialect.HTTP2
    assert ("\n    http2 on;" in (out / "nginx.conf").read_text()) == newer
    assert (f"Written, for nginx {found}" in written.stdout) == (found is not None)


def test_an_nginx_that_is_too_old(tmp_path, monkeypatch):
    """Where an nginx before 1.22 is installed nothing is written for it, unless another is named."""
    program = tmp_path / "nginx"
    program.write_text("#!/bin/sh\necho nginx version: nginx/1.18.0 >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = invoke("--connections", 10, "--write", tmp_path / "out")
    assert (result.exit_code, not (tmp_path / "out").exists()) == (2, True)
    assert result.stderr.startswith("Error: nginx: must be 1.22.0 or later")
    assert invoke("--connections", 10, "--nginx", "1.30", "--write", tmp_path / "out").exit_code == 0
    assert invoke("--connections", 10).exit_code == 0


def test_marks_of_the_deploy_files():
    """A mark without a value, and a name that is not marked, are refused."""
    assert files.replace("# tune: a\nx = 1 2\n", {"a": "3 4"}) == "# tune: a\nx = 3 4\n"
    assert files.replace("# tune: a\nE=X=1\n", {"a": "2"}) == "# tune: a\nE=X=2\n"
    assert files.replace("# tune: a\nmaxmemory 1gb\n", {"a": "2gb"}) == "# tune: a\nmaxmemory 2gb\n"
    assert files.replace("# tune: a\n# x.y = 1\n", {"a": "2"}) == "# tune: a\n# x.y = 2\n"
    with pytest.raises(ConfigError, match="a mark names no value"):
        files.marked("# tune: a\n\nx 1\n")
    with pytest.raises(ConfigError, match="a mark names no value, or one that is marked before"):
        files.marked("# tune: a\nx 1\n# tune: a\ny 2\n")
    with pytest.raises(ConfigError, match=r"^b: is not marked in this file; marked are a"):
        files.replace("# tune: a\nx 1\n", {"b": "1"})


def test_nothing_is_overwritten(tmp_path):
    """A file that is there and different stops it before it writes anything; --force overwrites."""
    (tmp_path / "redis.conf").write_text("mine\n")
    result = invoke("--connections", 10, "--write", tmp_path)
    assert result.exit_code == 2
    assert f"{tmp_path / 'redis.conf'} exists and is different; nothing was written" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["redis.conf"]
    assert invoke("--connections", 10, "--write", tmp_path, "--force").exit_code == 0
    assert (tmp_path / "redis.conf").read_text().startswith("# Redis 7")
    assert invoke("--connections", 10, "--write", tmp_path).exit_code == 0  # the same again


def test_a_directory_that_cannot_be(tmp_path):
    """A place that cannot be written to is named."""
    (tmp_path / "file").write_text("")
    result = invoke("--connections", 10, "--write", tmp_path / "file" / "below")
    assert result.exit_code == 1
    assert f"cannot write {tmp_path / 'file'}" in result.stderr


def test_written_proxy_files_pass_their_checkers(tmp_path, certificate):
    """nginx and Caddy take what is written for 25,000 streams, paths put right and nothing else."""
    for proxy in ("nginx", "caddy"):
        assert invoke("--connections", 25_000, "--proxy", proxy, "--write", tmp_path / proxy).exit_code == 0
    nginx = tmp_path / "nginx" / "nginx.conf"
    nginx.write_text(template.render(nginx.read_text(), {
        "pid": str(tmp_path / "nginx.pid"), "error_log": ["stderr"], "access_log": [str(tmp_path / "log")],
        "temp": str(tmp_path / "tmp"), "certificate": str(certificate[0]),
        "certificate_key": str(certificate[1]),
    }))  # fmt: skip
    check([command("nginx"), "-e", "stderr", "-t", "-c", nginx])
    caddy = tmp_path / "caddy" / "Caddyfile"
    caddy.write_text(template.render(caddy.read_text(), {"access_log": str(tmp_path / "caddy.log")}))
    check([command("caddy"), "validate", "--config", caddy], env={"HOME": str(tmp_path)})


def check(arguments, **options):
    """Run a checker, which is to be content."""
    done = subprocess.run(
        list(map(str, arguments)), capture_output=True, text=True, timeout=30, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---- the command


def test_what_people_read():
    """The figures, what was assumed, and what this machine lacks, in lines that fit a terminal."""
    result = invoke("--connections", 100_000, "--rate", 5)
    assert result.exit_code == 0
    for words in (
        "100,000 streams", "Limits(per_worker=15_000)", "worker_connections", "net.core.somaxconn",
        "maxmemory", "Assumed", "5 events a second for each stream", "This machine", "! ",
    ):  # fmt: skip
        assert words in result.stdout, words
    figures = result.stdout.partition("This machine")[0]
    assert max(map(len, figures.splitlines())) <= 100


def test_json(tmp_path):
    """--json is the same for programs."""
    result = invoke("--connections", 10_000, "--json", "--write", tmp_path)
    answer = json.loads(result.stdout)
    assert answer["sizing"]["workers"] == 4
    assert answer["sizing"]["memory"] == size(10_000).memory
    assert answer["machine"]["cores"] == Machine.read().cores
    assert answer["warnings"] == shortfalls(size(10_000), Machine.read())
    assert set(answer["written"]) == {str(path) for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--connections", "0"], "connections: must be a whole number from 1 to 1000000 (got 0)"),
        (["--connections", "10", "--proxy", "apache"], "proxy: must be one of nginx, caddy (got 'apache')"),
        (["--connections", "10000", "--memory", "512M"], "--memory is 512 MiB, and 10,000 streams need"),
        (["--connections", "10000", "--memory", "lots"], "--memory 'lots' is no size"),
        (["--connections", "10", "--workers", "3", "--upstream", "a:1"], "--workers is 3, and"),
        (["--connections", "10", "--nginx", "1.18", "--write", "out"], "nginx: must be 1.22.0 or later"),
        (["--connections", "10", "--nginx", "new"], "nginx: must be a version, such as 1.30.6 (got 'new')"),
        (["--connections", "10", "--nginx", "1.30", "--proxy", "caddy"], "--nginx is 1.30, and --proxy is"),
        *((["--connections", "10", "--upstream", place, "--write", "out"], "--upstream: must be host:port or")
            for place in ("a b;", "::1", "a:65536", "unix:run/a.sock")),
        *((["--connections", "10", "--nginx", "1.30", "--resolver", place, "--write", "out"],
           "--resolver: must be a name server's host or host:port, with IPv6 in brackets")
            for place in ("a b", "::1", "127.0.0.11:65536", "")),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, monkeypatch, options, said):
    """What makes no sense is refused in one line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    result = invoke(*options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {said}")
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


def test_enough_memory():
    """--memory that is enough is taken in place of the machine's."""
    result = invoke("--connections", 10_000, "--memory", "2G", "--json")
    assert result.exit_code == 0
    assert not [line for line in json.loads(result.stdout)["warnings"] if line.startswith("memory")]


@pytest.mark.parametrize(
    ("streams", "zone"), [(1_000, "10m"), (10_000, "10m"), (50_000, "13m"), (100_000, "25m")]
)
def test_the_zone_has_room_for_every_address_twice(streams, zone):
    """A full zone refuses everybody, so it grows with the streams; the shipped file is for 10,000."""
    text = files.tuned(size(streams))["nginx.conf"]
    assert f"limit_conn_zone $network zone=per_address:{zone};" in text


def test_names_that_are_asked_for_again(tmp_path):
    """With --resolver each server of nginx's is looked up while it runs; without, the file is as ever."""
    places = ["--upstream", "app1:8000", "--upstream", "app2:8000"]
    new, resolver = ["--nginx", "1.30"], ["--resolver", "127.0.0.11"]
    for name, more in (("once", []), ("again", resolver)):
        assert invoke("--connections", 1000, *new, *places, *more, "--write", tmp_path / name).exit_code == 0
    once, again = ((tmp_path / name / "nginx.conf").read_text() for name in ("once", "again"))
    changed = [line for line in again.splitlines() if line not in once.splitlines()]
    assert [line.split()[:3] for line in changed] == [
        ["resolver", "127.0.0.11", "valid=2s;"],
        *[["server", f"app{number}:8000", "resolve"] for _ in range(2) for number in (1, 2)],
    ]
    assert len(again.splitlines()) == len(once.splitlines())
    assert invoke("--connections", 1, "--nginx", "1.27.3", *resolver).exit_code == 0
    mixed = [
        word
        for place in ("127.0.0.1:8001", "[::1]:8001", "unix:/run/a.sock", "localhost:1", "b:1")
        for word in ("--upstream", place)
    ]
    for places, asked_for in ((mixed, ["b:1"] * 2), ([], [])):
        directory = tmp_path / f"of {len(places)}"
        assert invoke("--connections", 9, *new, *places, *resolver, "--write", directory).exit_code == 0
        text = (directory / "nginx.conf").read_text()
        assert re.findall(r"^ +server (\S+) resolve ", text, re.MULTILINE) == asked_for
    old = invoke("--connections", 1, "--nginx", "1.27.2", *resolver)
    assert old.exit_code == 2
    assert "--resolver takes nginx 1.27.3, and this is 1.27.2" in old.output
    caddys = invoke("--connections", 1, "--proxy", "caddy", *resolver)
    assert caddys.exit_code == 2
    assert "--resolver is for nginx" in caddys.output
