"""The files in deploy/: each passes its checker, and a broken copy does not."""

import asyncio
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from apps.edge import AUTH
from parts.shipped import DEPLOY, SECRET, cookies, pod, run, unit
from servers.fronts import Apache, HAProxy
from servers.processes import BIN, command, free_port
from servers.sse import get
from sse_edge import Publisher, SSEMiddleware

# ---- all of them


def test_grace_periods():
    """Everywhere whoever stops a process waits longer than the server's grace, and that is longer than the
    drain.
    """
    drain = SSEMiddleware(
        backend="memory://", auth=AUTH, channels={"/events/me": "user:{user}"}
    )._drain_window
    settings = unit((DEPLOY / "systemd/sse-edge@.service").read_text())
    environment = dict(each.split("=", 1) for each in settings["Environment"])
    grace = int(environment["SSE_EDGE_SERVE_GRACE"])
    assert grace > drain + 5
    assert int(settings["TimeoutStopSec"][0]) > grace
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert int(compose["services"]["app1"]["stop_grace_period"].removesuffix("s")) > grace
    assert "SSE_EDGE_SERVE_GRACE=25" in (DEPLOY / "Dockerfile").read_text()
    container = pod()["containers"][0]
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    own = int(container["command"][container["command"].index("--grace") + 1])
    assert own > drain + 5
    assert pod()["terminationGracePeriodSeconds"] > before + own


def test_no_secret_has_a_default():
    """Secrets come from where they are kept: without them compose stops, and the pod has them by name."""
    text = (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(SESSION_SECRET|REDIS_PASSWORD)(:\?|.)", text)) == {
        ("SESSION_SECRET", ":?"), ("REDIS_PASSWORD", ":?"),
    }  # fmt: skip
    environment = pod()["containers"][0]["env"]
    (password,) = (each for each in environment if each["name"] == "REDIS_PASSWORD")
    assert password["valueFrom"]["secretKeyRef"] == {"name": "sse-edge", "key": "REDIS_PASSWORD"}
    assert {"name": "REDIS", "value": "redis://:$(REDIS_PASSWORD)@redis:6379/0"} in environment


# ---- the kernel


def test_sysctl_names():
    """Every name in the sysctl file exists in this kernel, and takes as many numbers as are given."""
    lines = [line for line in (DEPLOY / "sysctl.conf").read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) >= 8
    for line in lines:
        name, _, value = map(str.strip, line.partition("="))
        there = Path("/proc/sys", *name.split("."))
        assert there.exists(), name
        assert len(there.read_text().split()) == len(value.split()), name
        assert all(word.isdigit() for word in value.split()), line
    assert not Path("/proc/sys/net/core/no_such_name").exists()


def test_sysctl_values(tmp_path):
    """The kernel takes each value that belongs to the network, in a network of its own."""
    lines = [line for line in (DEPLOY / "sysctl.conf").read_text().splitlines() if line.startswith("net.")]
    assert len(lines) >= 7
    (own := tmp_path / "sysctl.conf").write_text("\n".join(lines))
    code, said = run(command("unshare"), "--map-root-user", "--net", command("sysctl"), "--load", own)
    assert code == 0, said
    assert [" ".join(line.split()) for line in said.splitlines()] == lines
    own.write_text("net.ipv4.tcp_retries2 = never\n")
    assert run(command("unshare"), "--map-root-user", "--net", command("sysctl"), "--load", own)[0] != 0


# ---- Redis


def test_redis_conf(private_redis):
    """Redis starts with the file, and what matters is what it says."""
    lines = [
        line
        for line in (DEPLOY / "redis.conf").read_text().splitlines()
        if line and line[0] != "#" and line.split()[0] not in ("port", "dir", "bind", "supervised")
    ]
    client = private_redis(config=lines).client()
    said = {key: client.config_get(key)[key] for key in (
        "maxmemory-policy", "maxmemory", "appendonly", "appendfsync", "save", "maxclients", "timeout",
    )}  # fmt: skip
    assert said == {
        "maxmemory-policy": "noeviction",
        "maxmemory": str(512 * 1024**2),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxclients": "10000",
        "timeout": "0",
    }
    limits = client.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
    assert f"pubsub {64 * 1024**2} {16 * 1024**2} 60" in limits


def test_the_whole_redis_conf(tmp_path, broken):
    """Redis takes the file itself, port and directory given besides; with a wrong value it ends."""

    def start(path):
        done = subprocess.Popen(
            [command("redis-server"), path, "--port", str(free_port()), "--dir", tmp_path,
             "--supervised", "no"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            for line in done.stdout:
                if "Ready to accept" in line or "FATAL CONFIG" in line:
                    return line
        finally:
            done.kill()
            done.stdout.close()
            done.wait()
        return ""

    assert "Ready to accept" in start(DEPLOY / "redis.conf")
    wrong = broken("redis.conf", "maxmemory-policy noeviction", "maxmemory-policy noevictions")
    assert "FATAL CONFIG" in start(wrong)


# ---- other proxies


def haproxy_check(path):
    return run(command("haproxy"), "-c", "-f", path)


def test_haproxy(broken):
    """HAProxy takes the file, and refuses one with a wrong word."""
    assert haproxy_check(DEPLOY / "proxies/haproxy.cfg")[0] == 0
    assert haproxy_check(broken("proxies/haproxy.cfg", "balance leastconn", "balance leastcon"))[0] != 0


@pytest.fixture
def haproxy(tmp_path, serve, redis_url):
    """HAProxy with the shipped file, its ports replaced, before two of the example app's processes."""
    ports = {"127.0.0.1:8080": free_port(), "127.0.0.1:8001": free_port(), "127.0.0.1:8002": free_port()}
    env = {"REDIS": redis_url, "SESSION_SECRET": SECRET}
    text = (DEPLOY / "proxies/haproxy.cfg").read_text().replace("maxconn 20000", "maxconn 2000")
    for place, port in ports.items():
        assert place in text
        text = text.replace(place, f"127.0.0.1:{port}")
    front, *apps = ports.values()
    started = [serve([BIN / "sse-edge", "serve", "app:app", "--port", port], port=port, env=env, cwd=DEPLOY)
               for port in apps]  # fmt: skip
    config = tmp_path / "haproxy.cfg"
    config.write_text(text)
    serve(["haproxy", "-db", "-f", config], port=front)
    return f"http://127.0.0.1:{front}", started


async def test_haproxy_counts_other_sites_pages_apart(tmp_path, serve, serve_app):
    """What pages of other sites make a browser ask does not count as the visitor's own, and is bounded."""
    app = serve_app("apps.everywhere:app")
    often = {f"sc_http_req_rate({number}) gt 600": f"sc_http_req_rate({number}) gt 2" for number in (0, 1)}
    proxy = HAProxy(tmp_path, app, often)
    proxy.start(serve)
    url = f"http://localhost:{proxy.port}"

    async def status(**headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await get(f"{url}/events/me", method="HEAD", headers={"Accept": "*/*", **headers})).status

    elsewhere = [
        {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "null"},
    ]
    assert [await status(**headers) for headers in elsewhere] == [403, 403, 429]
    own = [{}, {"Origin": url, "Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "same-origin"}]
    assert [await status(**headers) for headers in own] == [200, 200, 429]


async def test_haproxy_in_front(haproxy, connect, redis_url):
    """Events come through HAProxy at once, it hides the status, and while the app is away an EventSource is
    told to come back and others get a 503.
    """
    url, apps = haproxy
    stream = await connect(f"{url}/events/me", cookies=cookies(), headers={"X-Forwarded-For": "192.0.2.1"})
    async with Publisher(redis_url) as events:
        await events.publish("user:u42", "hello")
    assert (await stream.next()).data == "hello"
    assert (await get(f"{url}/status/ready")).status == 404
    stream.close()
    for app in apps:
        app.terminate()
    assert any("address=127.0.0.1" in app.log for app in apps)
    async with asyncio.timeout(20):
        while (away := await get(f"{url}/events/me", headers={"Accept": "text/event-stream"})).status != 200:
            assert away.status == 503  # until the checks have noticed
            await asyncio.sleep(0.1)
    assert away.header("content-type") == "text/event-stream"
    assert re.fullmatch(rb"retry: \d{4}\n", away.body)
    assert (await get(f"{url}/events/me", headers={"Accept": "*/*"})).status == 503


def test_apache(tmp_path, certificate):
    """Apache takes the file, and refuses one with a wrong word."""
    front = Apache(tmp_path, SimpleNamespace(port=8001), certificate=certificate)
    assert run(command("apache2"), "-t", "-f", front.config)[0] == 0
    front.config.write_text(front.config.read_text().replace("lbmethod=bybusyness", "lbmethod=bybusynes"))
    assert run(command("apache2"), "-t", "-f", front.config)[0] != 0


def envoy_check(text):
    """Read the file as Envoy's own messages; raises for a name, a value or a type that they do not have."""
    import importlib  # noqa: PLC0415
    import warnings  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own
        for package in set(re.findall(r"type\.googleapis\.com/([\w.]+)\.\w+", text)):
            importlib.import_module(f"envoy_data_plane.{package}")
        bootstrap = importlib.import_module("envoy_data_plane.envoy.config.bootstrap.v3").Bootstrap
        # The one name that the library, and not Envoy, reads as another: ..._5_xx.
        return bootstrap.from_dict(yaml.safe_load(text.replace("enforcing_consecutive_5xx: 0", "")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("circuit_breakers", "circuit_brakers"),
        ("stream_idle_timeout", "stream_idle_time"),
        ("FULL_SCAN", "FULL_SCANS"),
        ("timeout: 0s", "timeout: 0 s"),
    ],
)
def test_envoy(old, new):
    """The Envoy file fits Envoy's own definitions, and a wrong name or value does not."""
    text = (DEPLOY / "proxies/envoy.yaml").read_text()
    assert old in text
    found = envoy_check(text).static_resources
    assert (len(found.listeners), len(found.clusters)) == (1, 1)
    with pytest.raises((KeyError, ValueError)):
        envoy_check(text.replace(old, new, 1))


def test_traefik():
    """The Traefik files are YAML, what they name is defined, streams have nothing that holds them back, and
    nothing but a WebSocket of the app's is upgraded.

    What Traefik makes of them is in the tests of fronts, upgrades, spellings and proxy_logs.
    """
    static = yaml.safe_load((DEPLOY / "proxies/traefik.yaml").read_text())
    assert (DEPLOY / "proxies" / Path(static["providers"]["file"]["filename"]).name).exists()
    assert static["entryPoints"]["web"]["transport"]["respondingTimeouts"]["writeTimeout"] == "0s"
    http = yaml.safe_load((DEPLOY / "proxies/traefik-routes.yaml").read_text())["http"]
    for router in http["routers"].values():
        assert router["service"] in [*http["services"], "ping@internal"]
        assert set(router["middlewares"]) <= set(http["middlewares"])
    kinds = {kind for name in http["routers"]["streams"]["middlewares"] for kind in http["middlewares"][name]}
    assert kinds == {"inFlightReq", "headers"}
    event_sources = http["routers"]["event-sources"]
    assert event_sources["middlewares"] == [*http["routers"]["streams"]["middlewares"], "away"]
    assert event_sources["rule"].endswith(f"({http['routers']['streams']['rule']})")
    for name, router in http["routers"].items():
        if name == "away":
            continue
        upgrade = http["middlewares"][router["middlewares"][0]]["headers"]["customRequestHeaders"]
        assert upgrade == {"Upgrade": "websocket" if name == "websockets" else "", "HTTP2-Settings": ""}
    assert http["services"]["streams"]["loadBalancer"]["serversTransport"] in http["serversTransports"]
    for name in ("streams", "event-sources", "websockets", "pages"):
        assert "entryPoints" not in http["routers"][name]
    assert static["entryPoints"]["web"]["asDefault"]


# ---- the page about all of this


def test_the_table_of_files():
    """README.md says what each file here is, and names none that is not there."""
    named = set(re.findall(r"^\| \[?`([^`]+)`", (DEPLOY / "README.md").read_text(), re.MULTILINE))
    there = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}
    there = {path for path in there if "__pycache__" not in path}
    assert named >= there - {"README.md"}
    assert {name for name in named if not name.startswith("../")} <= there
    assert all((DEPLOY / name).exists() for name in named)


def test_each_file_says_how_it_was_run():
    """README.md says of each file that a program reads how that was tried, or what was not."""
    page = (DEPLOY / "README.md").read_text()
    _, _, rest = page.partition("| file | was run | was not |\n")
    said = re.findall(r"^\| `([^`]+)` \| (\S[^|]*) \|", rest.partition("\n\n")[0], re.MULTILINE)
    files = re.findall(r"^\| `([^`]+)`", page.partition("**How each was run**")[0], re.MULTILINE)
    assert sorted(name for name, _ in said) == sorted(files)
