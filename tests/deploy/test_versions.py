"""What holds on which version of nginx and Caddy: the table of deploy/PROXIES.md, held to what is seen."""

import re
import time

import pytest

from servers.processes import TESTS
from servers.proxies import COOKIES, EVENT_SOURCE, NewNginx, ask, streams, until, wait_until
from servers.sse import StreamEndedError
from servers.table import Table
from sse_edge import Publisher
from sse_edge.tune import dialect
from sse_edge.tune.template import shipped

PAGE = TESTS.parent / "deploy" / "PROXIES.md"
COLUMNS = {
    "nginx": "nginx 1.22",
    "new nginx": "nginx of these days",
    "caddy": "Caddy 2.6",
    "new caddy": "Caddy of these days",
}
SHIPPED = "the file as it is shipped is taken"
TUNED = "… and as `sse-edge tune` writes it"
VERSION = "without `proxy_http_version`, the app is asked in"
LOST = "a process is lost in mid-stream: its clients see"
AWAY = "no process is there: the answer comes"
ENCODED = "`encode` with its own types, and `minimum_length 1`"
UNSEEN = "`flush_interval -1`: that a client has left is"
CUT = "`flush_interval -1`: a reload"
ROWS = [SHIPPED, TUNED, VERSION, LOST, AWAY, ENCODED, UNSEEN, CUT]

EVERY = pytest.mark.parametrize("kind", COLUMNS)
NGINX = pytest.mark.parametrize("kind", ["nginx", "new nginx"])
CADDY = pytest.mark.parametrize("kind", ["caddy", "new caddy"])


@pytest.fixture
def holds(pytestconfig):
    """``holds(row, kind, found)``: that the page says this, or with --tables that it is to say so."""
    table = Table(PAGE, "versions", writing=pytestconfig.getoption("--tables"), rows=ROWS)
    return lambda row, kind, found: table.holds(row, column(kind), found)


def test_the_page_is_written():
    """The page has what the results say, and nothing of its table is written by hand."""
    assert Table(PAGE, "versions", rows=ROWS).is_written


def column(kind):
    """Where the page has what is found of the program."""
    between = kind == "new nginx" and NewNginx.version() < (1, 29, 7)
    return "nginx 1.26" if between else COLUMNS[kind]


def changed(site, pattern, new):
    """Change the site's file in one place, and reload."""
    text, count = re.subn(pattern, new, site.proxy.config.read_text(), flags=re.MULTILINE)
    assert count == 1
    site.proxy.config.write_text(text)
    site.proxy.reload()


def warnings(said):
    """What a check of a file warns of; not that tests run it as somebody else."""
    if "test is successful" in said:
        found = set(re.findall(r"\[warn\] \S+ (.*?) in /", said))
        return {each for each in found if not each.startswith('the "user" directive')}
    assert "Valid configuration" in said
    return set(re.findall(r'"level":"(?:warn|error)".*', said))


@EVERY
def test_the_shipped_file(behind, holds, monkeypatch, kind):
    """It is taken by all; newer nginx warns of how it says http2, which ``tune`` says otherwise for it."""
    found = warnings(behind(kind, apps=1).proxy.check())
    if "nginx" in kind:
        holds(TUNED, kind, "without a word" if not found else str(found))
        monkeypatch.setattr(dialect, "spoken", lambda text, reader: text)
        found = warnings(behind(kind, apps=1).proxy.check())
    old = {'the "listen ... http2" directive is deprecated, use the "http2" directive instead'}
    told = {frozenset(): "without a word", frozenset(old): "with a warning of `listen … http2`"}
    holds(SHIPPED, kind, told.get(frozenset(found), str(found)))


@NGINX
async def test_the_version_towards_the_app(behind, holds, kind):
    """The shipped file names it, for the older ones."""
    site = behind(kind, apps=1)
    await ask(site, "/large")
    assert '"GET /large HTTP/1.1" 200' in site.apps[0].log
    changed(site, r"^    proxy_http_version 1\.1;$", "")
    await ask(site, "/")
    holds(VERSION, kind, re.search(r'"GET / (HTTP/1\.\d)" 200', site.apps[0].log)[1])


@EVERY
async def test_a_process_is_lost(behind, stream, holds, kind):
    """In either case a client comes back and resumes; but not everybody tells the one from the other."""
    site = behind(kind, apps=1)
    client = await stream(site)
    site.apps[0].kill()
    holds(LOST, kind, "an end in good order" if await client.ended() else "a cut")


@EVERY
async def test_nobody_is_there(behind, holds, kind):
    """Where all processes are known to be away, some answer at once and some look for one first."""
    site = behind(kind, apps=1)
    site.apps[0].kill()
    if site.proxy.kind == "caddy":  # which asks once a second who is there
        wait_until(lambda: "connection refused" in site.proxy.log, "Caddy knows")
    began = time.monotonic()
    assert (await ask(site, headers=EVENT_SOURCE)).status == 200
    holds(AWAY, kind, "after 2 s (`lb_try_duration`)" if time.monotonic() - began > 1.5 else "at once")


@CADDY
async def test_encode(behind, connect, redis_url, holds, kind):
    """Where it is said for streams too; by itself it lets alone what begins with less than 512 bytes."""
    site = behind(kind, apps=1)
    encode = "encode {\n\t\t\tgzip\n\t\t\tminimum_length 1\n\t\t}"
    changed(site, r"^\thandle @streams \{$", f"\thandle @streams {{\n\t\t{encode}")
    began = {"cookies": COOKIES, "headers": {"Accept-Encoding": "gzip"}, "timeout": 2}
    try:
        client = await connect(f"{site.url}/events/me", ssl=site.ssl, **began)
        async with Publisher(redis_url) as events:
            await events.publish("news", "1")
            assert (await client.next(timeout=2)).data == "1"
    except TimeoutError:
        found = "holds events back"
    else:
        found = f"passes events on, {client.header('content-encoding') or 'uncompressed'}"
    holds(ENCODED, kind, found)


@CADDY
async def test_flush_interval(behind, stream, redis_url, holds, kind):
    """Which many a recipe for Server-Sent Events has, and which the shipped file does without."""
    site = behind(kind, apps=1, env={"KEEP_ALIVE": "3600"})
    changed(site, r"^\t\t\tlb_policy least_conn$", "\t\t\tlb_policy least_conn\n\t\t\tflush_interval -1")
    client = await stream(site)
    other = await stream(site)
    client.abort()

    async def one_left():
        return await streams(site) == 1

    try:
        await until(one_left, 1)
    except TimeoutError:
        holds(UNSEEN, kind, "not seen, until something is written")
    else:
        holds(UNSEEN, kind, "seen at once")
    site.proxy.reload()
    async with Publisher(redis_url) as events:
        await events.publish("news", "after")
    try:
        assert (await other.next()).data == "after"
    except StreamEndedError:
        holds(CUT, kind, "cuts every stream")
    else:
        holds(CUT, kind, "cuts none")


def test_a_module_that_may_be_missing(tmp_path, certificate):
    """Where nginx was built without stub_status it refuses that line of the file as it is written for it, and
    nothing else; the page and the file say so.
    """

    class Whole(NewNginx):
        text = property(lambda self: dialect.spoken(shipped("nginx.conf"), self.version()))

    assert NewNginx(tmp_path, certificate, ["127.0.0.1:1"], {}).check()
    whole = Whole(tmp_path, certificate, ["127.0.0.1:1"], {})
    refusal = 'unknown directive "stub_status"'
    if NewNginx.has_status():
        assert whole.check()
    else:
        with pytest.raises(pytest.fail.Exception, match=refusal):
            whole.check()
    assert refusal in PAGE.read_text()
    assert refusal in shipped("nginx.conf")
