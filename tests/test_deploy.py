"""The files in deploy/: each passes its checker, and a broken copy does not."""

import asyncio
import ipaddress
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import redis
import yaml

from apps.edge import AUTH
from servers.processes import BIN, TESTS, command, free_port
from servers.proxies import HAProxy
from servers.sse import get
from sse_edge import Publisher, SignedCookie, SSEMiddleware

ROOT = TESTS.parent
DEPLOY = ROOT / "deploy"
SECRET = "a secret of the tests"
COOKIE = "__Host-session"


def cookies():
    """What lets u42 into the example app."""
    return {COOKIE: SignedCookie(SECRET, COOKIE).issue("u42")}


def run(*arguments, cwd=None):
    """A checker's exit code and everything it said."""
    done = subprocess.run(
        list(map(str, arguments)), capture_output=True, text=True, timeout=50, cwd=cwd, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def broken(tmp_path):
    """``broken(name, old, new)`` is a copy of a file of deploy/ with one thing changed."""

    def make(name, old, new):
        text = (DEPLOY / name).read_text()
        assert text.count(old) >= 1, f"{old!r} is not in {name}"
        copy = tmp_path / Path(name).name
        copy.write_text(text.replace(old, new, 1))
        return copy

    return make


# ---- systemd


def verify(directory, service, target):
    """``systemd-analyze verify`` with a command that exists here in place of the app's own."""
    text = service.read_text()
    assert "/srv/app/.venv/bin/sse-edge" in text
    (directory / "sse-edge@.service").write_text(
        text.replace("/srv/app/.venv/bin/sse-edge", str(BIN / "sse-edge"))
    )
    (directory / "sse-edge.target").write_text(target.read_text())
    (directory / "sse-edge@8001.service").symlink_to("sse-edge@.service")
    return run(
        command("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no",
        directory / "sse-edge@8001.service", directory / "sse-edge.target",
    )  # fmt: skip


def test_systemd_units(tmp_path):
    """systemd finds nothing wrong with the units, not even an unknown setting."""
    code, said = verify(tmp_path, DEPLOY / "systemd/sse-edge@.service", DEPLOY / "systemd/sse-edge.target")
    assert (code, said) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("Type=exec", "Type=exek", "Failed to parse"),
        ("LimitNOFILE=16384", "LimitNOFILES=16384", "Unknown key"),
        ("/srv/app/.venv/bin/sse-edge serve", "/srv/app/.venv/bin/sse-edge-none serve", "not executable"),
    ],
)
def test_broken_systemd_units(tmp_path, broken, old, new, why):
    """systemd's checker sees a wrong value, a wrong name and a missing command."""
    directory = tmp_path / "units"
    directory.mkdir()
    service = broken("systemd/sse-edge@.service", old, new)
    _, said = verify(directory, service, DEPLOY / "systemd/sse-edge.target")
    assert why in said


def test_the_proxy_drop_in(tmp_path):
    """The proxy's drop-in is read as one: with it the file limit of a unit is another."""
    unit = tmp_path / "proxy.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    dropins = tmp_path / "proxy.service.d"
    dropins.mkdir()
    (dropins / "limits.conf").write_text((DEPLOY / "systemd/proxy-limits.conf").read_text())
    verified = run(command("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit)
    assert verified == (0, "")
    (dropins / "limits.conf").write_text("[Service]\nLimitNOFILE=many\n")
    assert "many" in run(command("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit)[1]


def exposure(service):
    """systemd's own score of a unit's hardening, 0 (all) to 10 (none)."""
    code, said = run(command("systemd-analyze"), "security", "--offline=true", service)
    assert code == 0, said
    return float(re.search(r"exposure level for \S+: ([\d.]+)", said)[1])


def test_hardening(broken):
    """systemd scores the unit's hardening as good, and each part counts."""
    kept = exposure(DEPLOY / "systemd/sse-edge@.service")
    assert kept < 2
    assert exposure(broken("systemd/sse-edge@.service", "ProtectSystem=strict\n", "")) > kept


def unit(text):
    """The settings of a unit: name → values."""
    found = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


async def test_the_unit_starts_and_drains(serve, connect, redis_url):
    """ExecStart as it is written, in a directory with the example app: it is ready, streams, and a stop
    ends the stream with a reason and the process with 0.
    """
    settings = unit((DEPLOY / "systemd/sse-edge@.service").read_text())
    port = free_port()
    program, *arguments = shlex.split(settings["ExecStart"][0].replace("%i", str(port)))
    assert Path(program).name == "sse-edge"
    env = dict(each.split("=", 1) for each in settings["Environment"])
    env |= {"REDIS": redis_url, "SESSION_SECRET": SECRET}
    process = serve([BIN / "sse-edge", *arguments], port=port, env=env, cwd=DEPLOY)
    url = f"http://127.0.0.1:{port}"
    assert (await get(f"{url}/status/live")).status == 200
    stream = await connect(f"{url}/events/me", cookies=cookies())
    metrics = (await get(f"{url}/status/metrics")).body.decode()
    assert "sse_edge_ready 1.0" in metrics  # it waited for Redis before it took the stream
    process.signal(signal.SIGTERM)
    assert json.loads((await stream.until(lambda event: event.event == "edge-close")).data) == {
        "reason": "drain"
    }
    assert await process.exited() == 0


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
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    own = int(container["command"][container["command"].index("--grace") + 1])
    assert own > drain + 5
    assert pod()["terminationGracePeriodSeconds"] > before + own


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


# ---- containers


def lint(dockerfile):
    return run(BIN / "hadolint", "--no-color", dockerfile)


def test_dockerfile(broken):
    """The linter finds nothing in the Dockerfile, and finds a fault in a broken one."""
    assert lint(DEPLOY / "Dockerfile") == (0, "")
    assert "DL3000" in lint(broken("Dockerfile", "WORKDIR /srv/app", "WORKDIR srv/app"))[1]


def test_what_the_dockerfile_copies_and_runs():
    """Each path it copies is there, the extras exist, and the command is one that `sse-edge` has."""
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = re.search(r'"\.\[([\w,]+)\]"', text)[1].split(",")
    assert set(extras) <= set(project["project"]["optional-dependencies"])
    forced = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    copied = " ".join(re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)).split()
    assert {path.split("/")[0] for path in forced} <= set(copied)
    assert json.loads(re.search(r"^CMD (\[.+)$", text, re.MULTILINE)[1])[:2] == ["sse-edge", "serve"]


def test_what_the_image_is_built_from(tmp_path):
    """The paths that the Dockerfile copies are enough to build the package."""
    source = tmp_path / "src"
    for line in re.findall(r"^COPY (?!--from)(.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)[:3]:
        *paths, _ = line.split()
        for path in paths:
            if (ROOT / path).is_dir():
                shutil.copytree(ROOT / path, source / path)
            else:
                source.mkdir(exist_ok=True)
                shutil.copy(ROOT / path, source)
    build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    code, said = run(*build, "--no-build-isolation", "--wheel-dir", tmp_path / "out", source)
    assert code == 0, said
    assert list((tmp_path / "out").glob("sse_edge-*.whl"))


def compose_check(path):
    return run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)


def test_compose(broken):
    """The compose file fits the specification's schema, and a misspelt key does not."""
    assert compose_check(DEPLOY / "compose.yaml")[0] == 0
    code, said = compose_check(broken("compose.yaml", "stop_grace_period:", "stop_grace_time:"))
    assert code == 1
    assert "stop_grace_time" in said


def test_what_compose_mounts():
    """The files that compose mounts and builds from are there, or are said to be made first."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert (DEPLOY / compose["services"]["app1"]["build"]["context"] / "deploy/Dockerfile").exists()
    made = {"./nginx-compose.conf", "./tls"}
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or source in made or (DEPLOY / source).exists(), source


def test_the_password_of_redis_in_compose(tmp_path, serve):
    """As compose starts it, Redis lets in who has the secret and nobody else, and no process shows it.

    It is the process itself that hears SIGTERM, no shell in front of it.
    """
    text = (DEPLOY / "compose.yaml").read_text()
    service = yaml.safe_load(text)["services"]["redis"]
    assert service["secrets"] == ["redis"]
    port, secret = free_port(), tmp_path / "secret"
    secret.write_text("f00d" * 8)
    config = tmp_path / "redis.conf"
    config.write_text((DEPLOY / "redis.conf").read_text().replace("port 6379", f"port {port}"))
    places = {
        "/usr/local/etc/redis/redis.conf": config, "/run/secrets/redis": secret,
        "--bind 0.0.0.0": "--bind 127.0.0.1", "--dir /data": f"--dir {tmp_path} --supervised no", "$$": "$",
    }  # fmt: skip
    shell, *arguments = service["command"]
    for old, new in places.items():
        assert old in arguments[-1]
        arguments[-1] = arguments[-1].replace(old, str(new))
    process = serve([shell, *arguments], port=port)
    shown = Path(f"/proc/{process.pid}/cmdline").read_text()
    assert shown.startswith("redis-server")
    assert "f00d" not in shown
    with redis.Redis(port=port) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()
    with redis.Redis(port=port, password="f00d" * 8) as app:
        assert app.ping()
    assert process.terminate() == 0


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


def test_redis_is_alone_with_the_apps_in_compose():
    """Redis is in a network of its own with the apps, which leads nowhere; nginx is not in it."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert compose["networks"]["data"] == {"internal": True}
    there = {name for name, each in compose["services"].items() if "data" in each["networks"]}
    assert there == {"app1", "app2", "redis"}
    assert compose["services"]["redis"]["networks"] == ["data"]
    assert all("ports" not in each for name, each in compose["services"].items() if name != "nginx")


def every_manifest(path=DEPLOY / "kubernetes/app.yaml"):
    """Each manifest of the file."""
    return list(yaml.safe_load_all(path.read_text()))


def manifests():
    """Kind → manifest."""
    return {each["kind"]: each for each in every_manifest() if each["kind"] != "NetworkPolicy"}


def policies():
    """Name → specification of each NetworkPolicy."""
    return {
        each["metadata"]["name"]: each["spec"]
        for each in every_manifest() if each["kind"] == "NetworkPolicy"
    }  # fmt: skip


def pod():
    """The app's pod."""
    return manifests()["Deployment"]["spec"]["template"]["spec"]


def kubernetes_check(path):
    return run(BIN / "kubernetes-validate", "--strict", path)


def test_kubernetes(broken):
    """The manifests fit Kubernetes's schemas, strictly, and a misspelt key does not."""
    code, said = kubernetes_check(DEPLOY / "kubernetes/app.yaml")
    assert code == 0, said
    assert set(manifests()) == {"Deployment", "PodDisruptionBudget", "Service", "Ingress"}
    assert set(policies()) == {"sse-edge", "redis"}
    code, said = kubernetes_check(
        broken("kubernetes/app.yaml", "terminationGracePeriodSeconds", "terminationGraceSeconds")
    )
    assert code != 0
    assert "terminationGraceSeconds" in said


def test_kubernetes_names_agree():
    """Selectors and ports name what is there; probes ask what the status answers."""
    parts = manifests()
    labels = parts["Deployment"]["spec"]["template"]["metadata"]["labels"]
    container = pod()["containers"][0]
    for selector in (
        parts["Deployment"]["spec"]["selector"]["matchLabels"],
        parts["Service"]["spec"]["selector"],
        parts["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert container["ports"][0]["name"] == parts["Service"]["spec"]["ports"][0]["targetPort"]
    backend = parts["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == parts["Service"]["metadata"]["name"]
    assert backend["port"]["name"] == parts["Service"]["spec"]["ports"][0]["name"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/status/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/status/live"


def test_who_may_talk_to_whom_in_kubernetes():
    """The app hears the ingress and Prometheus, and reaches names and Redis; Redis hears the app alone.  All
    else is closed, in both directions.
    """
    parts, rules = manifests(), policies()
    labels = parts["Deployment"]["spec"]["template"]["metadata"]["labels"]
    app, store = rules["sse-edge"], rules["redis"]
    for policy in (app, store):
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        # An empty selector, or a rule without one, would be everybody.
        for rule in [*policy["ingress"], *policy.get("egress", [])]:
            peers = rule.get("from") or rule["to"]
            assert rule["ports"]
            assert all(peer["podSelector"]["matchLabels"] for peer in peers)
    assert app["podSelector"]["matchLabels"].items() <= labels.items()
    (inward,) = app["ingress"]
    spaces = [peer["namespaceSelector"]["matchLabels"] for peer in inward["from"]]
    assert spaces == [{"kubernetes.io/metadata.name": name} for name in ("ingress-nginx", "monitoring")]
    assert inward["ports"] == [{"port": pod()["containers"][0]["ports"][0]["name"]}]
    assert [[each["port"] for each in rule["ports"]] for rule in app["egress"]] == [[53, 53], [6379]]
    assert app["egress"][1]["to"] == [{"podSelector": store["podSelector"]}]
    assert store["ingress"] == [{"from": [{"podSelector": app["podSelector"]}], "ports": [{"port": 6379}]}]
    assert "egress" not in store


def test_what_the_pod_is_trusted_with():
    """The pod has no token of Kubernetes's, and believes no network until the operator names one."""
    assert pod()["automountServiceAccountToken"] is False
    environment = {each["name"]: each.get("value") for each in pod()["containers"][0]["env"]}
    nobodys = ipaddress.ip_network("192.0.2.0/24")  # RFC 5737
    assert ipaddress.ip_network(environment["PROXIES"]) == nobodys
    allowed = {ipaddress.ip_network(each) for each in environment["STATUS_ALLOW"].split(",")}
    assert allowed == {nobodys, ipaddress.ip_network("127.0.0.0/8")}


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


def envoy_check(text):
    """Read the file as Envoy's own messages; raises for a name, a value or a type that they do not have."""
    import importlib  # noqa: PLC0415
    import warnings  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own
        for package in set(re.findall(r"type\.googleapis\.com/([\w.]+)\.\w+", text)):
            importlib.import_module(f"envoy_data_plane.{package}")
        bootstrap = importlib.import_module("envoy_data_plane.envoy.config.bootstrap.v3").Bootstrap
        return bootstrap.from_dict(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("circuit_breakers", "circuit_brakers"),
        ("stream_idle_timeout", "stream_idle_time"),
        ("LEAST_REQUEST", "LEAST_REQUESTS"),
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

    What Traefik makes of them is in test_upgrades.py, test_spellings.py and test_proxy_logs.py.
    """
    static = yaml.safe_load((DEPLOY / "proxies/traefik.yaml").read_text())
    assert (DEPLOY / "proxies" / Path(static["providers"]["file"]["filename"]).name).exists()
    assert static["entryPoints"]["web"]["transport"]["respondingTimeouts"]["writeTimeout"] == "0s"
    http = yaml.safe_load((DEPLOY / "proxies/traefik-routes.yaml").read_text())["http"]
    for router in http["routers"].values():
        assert router["service"] in http["services"]
        assert set(router["middlewares"]) <= set(http["middlewares"])
    kinds = {kind for name in http["routers"]["streams"]["middlewares"] for kind in http["middlewares"][name]}
    assert kinds == {"inFlightReq", "headers"}
    for name, router in http["routers"].items():
        upgrade = http["middlewares"][router["middlewares"][0]]["headers"]["customRequestHeaders"]
        assert upgrade == {"Upgrade": "websocket" if name == "websockets" else "", "HTTP2-Settings": ""}
    for service in http["services"].values():
        assert service["loadBalancer"]["serversTransport"] in http["serversTransports"]


# ---- the page about all of this


def test_the_table_of_files():
    """README.md says what each file here is, and names none that is not there."""
    named = set(re.findall(r"^\| \[?`([^`]+)`", (DEPLOY / "README.md").read_text(), re.MULTILINE))
    there = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}
    there = {path for path in there if "__pycache__" not in path}
    assert named >= there - {"README.md"}
    assert {name for name in named if not name.startswith("../")} <= there
    assert all((DEPLOY / name).exists() for name in named)
