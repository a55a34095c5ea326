"""``sse-edge top`` on a real Redis, into a pipe and in a real terminal."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner

from parts.delivery import ListSink, join
from parts.reported import SAID
from servers.processes import TESTS
from sse_edge import Anonymous, RedisBackend, SSEMiddleware
from sse_edge.backends.redis.presence import RedisPresence
from sse_edge.cli import main

SSE_EDGE = Path(sys.executable).with_name("sse-edge")
HERE = ":{leases}:here"
EVIL = "evil\x1b[2J\n\u202eщ山"


def top(*arguments, **options):
    """Run it in this process."""
    return CliRunner().invoke(main, ["top", "--once", *map(str, arguments)], **options)


async def run(*arguments, **environment):
    """Run it as its users do; its exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        SSE_EDGE, "top", *map(str, arguments),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "120", **environment},
    )  # fmt: skip
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


@pytest.fixture
async def worker(redis_url, monkeypatch):
    """An edge of this process that reports often, with clients that do not read."""
    monkeypatch.setattr(RedisPresence.__init__, "__kwdefaults__", {"heartbeat": 0.1})
    backend = RedisBackend(redis_url)
    edge = SSEMiddleware(backend=backend, auth=Anonymous(), channels={"/events/news": "news"})
    await edge.start()
    for user in ("u42", EVIL):
        stream = await join(edge._worker.hub, "news", user=user, sink=ListSink())
        stream.sink.lag, stream.behind = 100_000, 1
    async with asyncio.timeout(10):
        while not [each for each in (await backend.reports()).told if each["slowest"]]:
            await asyncio.sleep(0.02)
    yield edge
    await edge.stop()
    await backend.close()


# ---- Into a pipe


async def test_a_page(worker, redis_url):
    """Once, without colours, and with nothing in it that moves a cursor."""
    code, out, errors = await run("--redis", redis_url, "--channel", "news", "--user", "u42")
    assert (code, errors) == (0, "")
    assert "1 worker  2 streams" in out
    assert re.search(rf"^\S+:{os.getpid()} +ready +2 ", out, re.MULTILINE)
    assert re.search(r"^u42 .* 100 KB ", out, re.MULTILINE)
    assert r"evil\x1b[2J\n\u202eщ山" in out
    assert ("channel news: 2 streams" in out, "user u42: 1 stream\n" in out) == (True, True)
    assert all(line.isprintable() for line in out.splitlines())


async def test_an_ascii_terminal(worker, redis_url):
    """Is sent nothing else."""
    code, out, _ = await run("--redis", redis_url, PYTHONIOENCODING="ascii")
    assert code == 0
    assert r"evil\x1b[2J\n\u202e\u0449" in out


async def test_for_programs(worker, redis_url):
    """An object on each line, with rates once a worker has told twice; who stops reading ends it."""
    process = await asyncio.create_subprocess_exec(
        SSE_EDGE, "top", "--json", "--interval", "0.3", "--redis", redis_url, "--filter", "u42",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, limit=2**20,
    )  # fmt: skip
    said = json.loads(await process.stdout.readline())
    assert said["totals"]["opened"] is None
    async with asyncio.timeout(20):
        while said["totals"]["opened"] is None:
            said = json.loads(await process.stdout.readline())
    assert said["totals"]["opened"] == 0.0
    assert [each["user"] for each in said["slowest"]] == ["u42"]
    assert (said["workers"], said["notes"]) == ([], [])
    process._transport.get_pipe_transport(1).close()
    assert await process.stderr.read() == b""
    assert await process.wait() == 0


async def test_redis_that_goes_away(worker, proxy):
    """Is said in the next object, and the one after that is there when it is back."""
    process = await asyncio.create_subprocess_exec(
        SSE_EDGE, "top", "--json", "--interval", "0.2", "--redis", proxy.url,
        stdout=subprocess.PIPE, limit=2**20,
    )  # fmt: skip

    async def until(key):
        async with asyncio.timeout(20):
            while key not in (said := json.loads(await process.stdout.readline())):
                pass
        return said

    await until("totals")
    proxy.refusing = True
    proxy.cut()
    assert "Redis" in (await until("error"))["error"]
    proxy.refusing = False
    assert (await until("totals"))["totals"]["workers"] == 1
    process.terminate()
    await process.wait()


# ---- What cannot be shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--redis", "redis://:s3cret@127.0.0.1:1/0"], 1, "redis://:***@127.0.0.1:1/0: Redis: Error 111"),
        (["--redis", "memory://"], 2, "memory:// lives inside one process"),
        (["--redis", "http://x"], 2, "backend: must begin with redis://"),
        (["--interval", "0"], 2, "--interval"),
        (["--sort", "nothing"], 2, "--sort"),
        (["--count", "0"], 2, "--count"),
        (["--partitions", "0"], 2, "partitions: must be a whole number"),
        (["--prefix", "a{b"], 2, "prefix: must be text"),
    ],
)
def test_what_it_cannot_do(arguments, code, said):
    """One line says why, and repeats no password."""
    result = top(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert "s3cret" not in result.stderr


def test_a_wrong_password(private_redis):
    """It is said what to give, and not what was given."""
    port = private_redis(password="right").port
    for credentials, said in (("me:wr0ng@", "invalid username-password"), ("", "Authentication required")):
        result = top("--redis", f"redis://{credentials}127.0.0.1:{port}/0")
        assert result.exit_code == 1
        assert said in result.stderr
        assert "give user and password in the URL" in result.stderr
        assert "wr0ng" not in result.stderr


def test_an_error_for_programs(private_redis):
    """With --json the one object says it, whatever is wrong with Redis, and the exit code is 1."""
    server = private_redis(password="right")
    server.client().set(f"str{HERE}:workers", "something")
    address = f"127.0.0.1:{server.port}/0"
    for url, error in (
        ("redis://:s3cret@127.0.0.1:1/0", "Redis: "),
        (f"redis://{address}", "give user and password in the URL"),
        (f"redis://me:s3cret@{address}", "give user and password in the URL"),
        (f"redis://:right@{address}", "there are keys of something else"),
    ):
        result = top("--json", "--redis", url, "--prefix", "str:")
        assert result.exit_code == 1
        said = json.loads(result.stdout)
        assert error in said.pop("error")
        assert abs(said.pop("at") - time.time()) < 60
        assert said == {}
        assert "s3cret" not in result.output


async def test_nobody_reports(worker, redis_url):
    """It says where somebody does, in other databases too."""
    for url, prefix, place in (
        (redis_url, "other:", "'other:' in database 0; prefixes with workers: 'sse:'"),
        (
            redis_url.removesuffix("0") + "1",
            "sse:",
            "'sse:' in database 1; prefixes with workers: 'sse:' in database 0",
        ),
    ):
        code, out, _ = await run("--redis", url, "--prefix", prefix, "--once", COLUMNS="200")
        assert code == 0
        assert f"no worker reports under prefix {place}\n" in out


def test_an_empty_redis(redis_url):
    """Is no error."""
    result = top("--redis", redis_url)
    assert result.exit_code == 0
    assert "no worker reports under prefix 'sse:' in database 0\n" in result.stdout


def test_keys_of_another_kind(redis_server, redis_url):
    """A list of workers that is none is somebody else's; a worker that is none is no worker."""
    client = redis_server.client()
    client.zadd(f"sse{HERE}:workers", {"x": time.time() * 1000})
    client.set(f"sse{HERE}:x", "something")
    assert "no worker reports" in top("--redis", redis_url).stdout
    client.set(f"str{HERE}:workers", "something")
    result = top("--redis", redis_url, "--prefix", "str:")
    assert result.exit_code == 1
    assert "under prefix 'str:' there are keys of something else than sse_edge" in result.stderr


def test_another_version(redis_server, redis_url):
    """A worker whose report cannot be read is counted."""
    client = redis_server.client()
    client.zadd(f"sse{HERE}:workers", {"x": time.time() * 1000})
    client.hset(f"sse{HERE}:x", mapping={"report": "1", "told": '{"v": 2}'})
    assert "1 worker says nothing that this version" in top("--redis", redis_url).stdout


WATCHER = re.search(r"^user (.*)", (TESTS.parent / "deploy/TOP.md").read_text(), re.MULTILINE)[1].split()


@pytest.mark.parametrize("given", [WATCHER, [each for each in WATCHER if each != "+info"]])
def test_a_user_of_redis_who_may_little(private_redis, given):
    """What the page says is enough; without INFO there is only what the workers say."""
    server = private_redis()
    server.cli("ACL", "SETUSER", *given)
    server.client().zadd(f"sse{HERE}:workers", {"x": time.time() * 1000})
    server.client().hset(f"sse{HERE}:x", mapping={"report": "1", "told": json.dumps(SAID)})
    result = top("--redis", f"redis://watcher:password@127.0.0.1:{server.port}/0", "--user", "u42")
    assert result.exit_code == 0, result.stderr
    assert "1 worker" in result.stdout
    assert ("memory" in result.stdout) == ("+info" in given)


# ---- In a terminal


class Tmux:
    """A terminal of its own server, in which one command runs."""

    def __init__(self, *command, columns=80, lines=24, **environment):
        self._name = f"sse-edge-{uuid.uuid4().hex[:8]}"
        said = [f"{name}={value}" for name, value in environment.items()]
        shell = shlex.join(["env", *said, *map(str, command)])
        script = f'trap : INT; before=$(stty -g); {shell}; echo "exit $?"; '
        script += 'test "$before" = "$(stty -g)" && echo as it was; exec sleep 1000'
        size = ["-x", str(columns), "-y", str(lines)]
        self._do("-f", "/dev/null", "new-session", "-d", *size, "sh", "-c", script)

    def _do(self, *command):
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        environment.pop("TMUX", None)
        done = subprocess.run(
            ["tmux", "-L", self._name, *command], check=True, capture_output=True, text=True, env=environment
        )
        return done.stdout

    def keys(self, *keys):
        self._do("send-keys", *keys)

    def resize(self, columns, lines):
        self._do("resize-window", "-x", str(columns), "-y", str(lines))

    async def until(self, *patterns, escapes=False):
        """Wait until all of them are on the screen; the screen."""
        async with asyncio.timeout(20):
            while True:
                shown = self._do("capture-pane", "-p", *["-e"] * escapes)
                if all(re.search(each, shown, re.MULTILINE) for each in patterns):
                    return shown
                await asyncio.sleep(0.05)

    def close(self):
        self._do("kill-server")


@pytest.fixture
def tmux():
    """``tmux(*command, columns=…, lines=…, **environment)``: a Tmux."""
    made = []

    def make(*command, **options):
        made.append(Tmux(*command, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.live
async def test_in_a_terminal(worker, tmux, proxy):
    """Sections, a filter, ranking, another size; Redis that goes away and comes back; and q."""
    terminal = tmux(SSE_EDGE, "top", "--redis", proxy.url, "--interval", "0.2", TERM="xterm-256color")
    shown = await terminal.until("^WORKERS", "^news +2$", r"^evil\\x1b\[2J", "^q quit", r"opened 0.0/s")
    assert len(shown.splitlines()) == 24
    assert "\x1b[7m" in await terminal.until("WORKERS", escapes=True)  # titles stand out
    terminal.keys("3")
    await terminal.until(r"takes writes.*\n\nSLOWEST \(2\)")
    terminal.keys("/", "u42", "Enter", "s")
    await terminal.until("filter: u42", r"^SLOWEST \(1\) .* UNSENT\*")
    terminal.resize(20, 10)
    await terminal.until(r"^SLOW\S*")
    terminal.resize(160, 50)
    terminal.keys("Escape")
    shown = await terminal.until("^q quit", "SERVER +PATH")
    assert len(shown.splitlines()) == 50
    proxy.refusing = True
    proxy.cut()
    await terminal.until(r"as of \d+ s ago: Redis")
    proxy.refusing = False
    await terminal.until(r"\A(?!.*ago: Redis)", "1 worker ")
    terminal.keys("q")
    await terminal.until("^exit 0\nas it was$")


@pytest.mark.live
async def test_ctrl_c_and_no_colours(worker, tmux, redis_url):
    """The terminal is left as it was; and there are no colours for those who want none."""
    terminal = tmux(SSE_EDGE, "top", "--redis", redis_url, NO_COLOR="1", TERM="xterm-256color")
    assert not re.search(r"\x1b\[3[0-7]m", await terminal.until("ready", escapes=True))
    terminal.keys("C-c")
    await terminal.until("^exit 0\nas it was$")


@pytest.mark.live
async def test_a_terminal_that_cannot(worker, tmux, redis_url):
    """One whose cursor cannot be moved is given a page."""
    terminal = tmux(SSE_EDGE, "top", "--redis", redis_url, TERM="dumb")
    await terminal.until("^WORKERS", "^exit 0")
