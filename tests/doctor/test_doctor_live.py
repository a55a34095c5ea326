"""The doctor finds each fault that is planted in a real nginx or Caddy, and nothing where there is none."""

import json
import os
import pwd

import pytest
from click.testing import CliRunner

from apps.edge import AUTH
from servers.privacy import leaks
from servers.processes import Processes, free_port
from servers.proxies import until
from servers.redis import RedisServer
from servers.sse import get
from sse_edge import RedisBackend, SyncPublisher
from sse_edge.admission.arrival import DOCTOR
from sse_edge.backends.redis.inspection import inspect
from sse_edge.cli import main
from sse_edge.doctor.catalogue import FAULTS
from sse_edge.doctor.examination import Examination
from sse_edge.doctor.fault import Level
from sse_edge.doctor.judgement import redis
from sse_edge.doctor.target import Target

SECRET = "a secret of the tests"
PLAIN = ("--no-proxy-headers",)  # what a proxy says is the edge's to judge
NOWHERE = 1  # the port of tcpmux, where nothing listens

NGINX = """
user USER; daemon off; pid DIR/NAME.pid; error_log stderr crit; worker_processes 1;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path DIR; proxy_temp_path DIR; fastcgi_temp_path DIR; uwsgi_temp_path DIR;
    scgi_temp_path DIR;
    split_clients $request_id $seconds { 25% 2001; 25% 3002; 25% 4003; * 5004; }
    map $http_accept $event_source { "~text/event-stream" 1; default 0; }
    server {
        listen 127.0.0.1:PORT ssl http2;
        ssl_certificate CERT; ssl_certificate_key KEY;
        location / {
            proxy_pass http://127.0.0.1:APP;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            error_page 502 = @away;
        }
        location @away {
            default_type text/event-stream;
            if ($event_source) { return 200 "retry: $seconds\\n\\n"; }
            return 502;
        }
    }
}
"""
"""Nothing is wrong with it.  proxy_buffering is on as always; the app's X-Accel-Buffering turns it off."""

CADDY = """{
    admin off
    auto_https off
    servers {
        protocols h1 h2
    }
}
https://localhost:PORT {
    tls CERT KEY
    reverse_proxy 127.0.0.1:APP {
        header_up X-Real-IP {remote_host}
    }
    handle_errors {
        @event_source header Accept *text/event-stream*
        handle @event_source {
            map {http.request.uuid} {seconds} {
                ~^0 2000
                ~^1 2137
                ~^2 2274
                ~^3 2411
                ~^4 2548
                ~^5 2685
                ~^6 2822
                ~^7 2959
                ~^8 3096
                ~^9 3233
                ~^a 3370
                ~^b 3507
                ~^c 3644
                ~^d 3781
                ~^e 3918
                default 4003
            }
            header Content-Type text/event-stream
            respond "retry: {seconds}

" 200
        }
        respond 502
    }
}
"""
"""Nothing is wrong with it either."""


@pytest.fixture(scope="module")
def shop():
    """Redis and four apps, each on a database of it: ``lively`` speaks each second, ``strict`` limits
    connects, and ``switching`` is on a server that goes on in HTTP/2 when it is asked to.
    """
    processes, redis = Processes(), RedisServer()
    try:
        redis.start()
        env = {"TRUSTED": "127.0.0.1/32", "ORIGINS": "https://page.example.com"}
        redis.apps, redis.urls = {}, {}
        for number, (name, server, more, options) in enumerate(
            (
                ("lively", "uvicorn", {"KEEP_ALIVE": "1"}, PLAIN),
                ("quiet", "uvicorn", {}, PLAIN),
                ("strict", "uvicorn", {"CONNECTS": "30/minute"}, PLAIN),
                ("switching", "hypercorn", {}, ("--graceful-timeout", "20")),
            )
        ):
            redis.urls[name] = redis.url.removesuffix("0") + str(number)
            settings = {**env, **more, "BACKEND": redis.urls[name]}
            redis.apps[name] = processes.serve_app(
                "apps.edge:edge", server=server, env=settings, options=options
            )
        yield redis
    finally:
        processes.close()
        redis.close()


@pytest.fixture
def front(shop, serve, certificate, tmp_path):
    """``front("nginx", (old, new), …)`` starts a healthy proxy after replacing ``old``; its URL."""

    def start(kind, *changes, app="lively", before=(), name="config"):
        text = {"nginx": NGINX, "caddy": CADDY}[kind]
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        port = free_port()
        values = {
            "PORT": port,
            "APP": shop.apps[app].port if app else NOWHERE,
            "DIR": tmp_path,
            "NAME": name,
            "CERT": certificate[0],
            "KEY": certificate[1],
            "USER": pwd.getpwuid(os.geteuid()).pw_name,
        }
        for name, value in values.items():
            text = text.replace(name, str(value))
        config = tmp_path / name
        config.write_text(text)
        command = {
            "nginx": ["nginx", "-e", "stderr", "-c", config],
            "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", config],
        }[kind]
        serve([*before, *command], port=port, env={"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
        url = f"https://localhost:{port}/events/me"
        shop.urls[url] = shop.urls.get(app)
        return url

    return start


@pytest.fixture
def examine(shop, certificate):
    """``await examine(url, …)``: what the doctor says, as {code: finding} of what is wrong."""

    async def run(url, *, down=False, cacert=certificate[0], **options):
        user = "doctor"
        backend = RedisBackend(shop.urls[url] or shop.url)
        examination = Examination(
            target=Target.of(url, cacert=cacert),
            cookie=f"session={AUTH.issue(user, [DOCTOR])}",
            user=user,
            backend=backend,
            channel=f"user:{user}",
            here=False,
            **options,
        )
        try:
            source = examination.findings_when_down() if down else examination.findings()
            findings = [finding async for finding in source]
        finally:
            await backend.close()
        for finding in findings:
            print(finding.level.name, finding.check, finding.seen)
        run.all = findings
        return {finding.code: finding for finding in findings if finding.code}

    return run


def after(line, new):
    """Add a line after one that is there."""
    return line, f"{line}\n{new}"


VERSION = "proxy_http_version 1.1;"
UP = "header_up X-Real-IP {remote_host}"


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
async def test_nothing_is_wrong(kind, front, examine, shop):
    """A healthy proxy has no fault, of either level; all was checked, and no stream is left open."""
    url = front(kind)
    assert await examine(url, watch=3.0, origin="https://page.example.com") == {}
    checked = {finding.check for finding in examine.all if finding.level is Level.OK}
    assert {"buffering", "resume", "ending", "keep-alive", "http version", "page origin", "cursor"} <= checked

    async def none_is_open():
        return json.loads((await get(f"{shop.apps['lively'].url}/figures")).body)["streams"] == 0

    await until(none_is_open)


@pytest.mark.parametrize(
    ("change", "codes", "says"),
    [
        (
            after(VERSION, "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"),
            {"buffered"},
            "proxy_buffering off",
        ),
        (
            after(VERSION, "gzip on; gzip_types text/event-stream; gzip_proxied any; gzip_min_length 0;"),
            {"compressed"},
            "gzip off",
        ),
        (("ssl http2", "ssl"), {"http1"}, "http2"),
        (after(VERSION, 'proxy_set_header Origin "";'), {"origin-accepted"}, "proxy_set_header Origin"),
        (
            after(VERSION, "proxy_set_header Origin $scheme://$http_host;"),
            {"origin-accepted", "cross-site-accepted"},
            "proxy_set_header Origin",
        ),
        (
            after(VERSION, 'proxy_set_header Sec-Fetch-Site "";'),
            {"cross-site-accepted"},
            "proxy_set_header Sec-Fetch-Site",
        ),
        (("Host $http_host", "Host $proxy_host"), {"own-origin-refused"}, "Host $http_host"),
        (("Forwarded-Proto $scheme", "Nothing x"), {"own-origin-refused"}, "X-Forwarded-Proto"),
        (after(VERSION, 'proxy_set_header Cookie "";'), {"unauthenticated"}, "proxy_set_header Cookie"),
        (
            after(VERSION, "auth_basic x; auth_basic_user_file CERT;"),
            {"www-authenticate"},
            "auth_basic off",
        ),
        (
            after(VERSION, 'proxy_set_header Last-Event-ID "";'),
            {"cursor-stripped", "resume-incomplete"},
            "Last-Event-ID",
        ),
        (
            after(VERSION, "proxy_hide_header Cache-Control; add_header Cache-Control max-age=60;"),
            {"cacheable"},
            "proxy_hide_header Cache-Control",
        ),
        (
            after(VERSION, 'add_header Set-Cookie "session=x; Path=/";'),
            {"cookie-attributes"},
            "proxy_cookie_flags",
        ),
        (
            ("http://127.0.0.1:APP;", "http://127.0.0.1:APP/elsewhere/;"),
            {"no-stream"},
            "proxy_pass",
        ),
    ],
)
async def test_a_fault_in_nginx(change, codes, says, front, examine):
    """Each is found, with what to change in nginx, and no other fault is."""
    found = await examine(front("nginx", change), patience=3.0)
    assert found.keys() == codes
    assert any(says in finding.fault.nginx for finding in found.values())


@pytest.mark.parametrize(
    ("change", "codes", "says"),
    [
        (
            after(
                "tls CERT KEY",
                "encode {\ngzip\nminimum_length 1\nmatch {\nheader Content-Type text/*\n}\n}",
            ),
            {"compressed"},
            "named one by one",
        ),
        (after(UP, "buffer_responses"), {"buffered"}, "buffer_responses"),
        (("protocols h1 h2", "protocols h1"), {"http1"}, "protocols h1 h2"),
        (after(UP, "header_up -Origin"), {"origin-accepted"}, "header_up -Origin"),
        (after(UP, "header_up -Sec-Fetch-Site"), {"cross-site-accepted"}, "header_up -Sec-Fetch-Site"),
        (after(UP, "header_up Host 127.0.0.1"), {"own-origin-refused"}, "header_up Host"),
        (after(UP, "header_up -Cookie"), {"unauthenticated"}, "header_up -Cookie"),
        (
            after(UP, "header_up -Last-Event-ID"),
            {"cursor-stripped", "resume-incomplete"},
            "header_up -Last-Event-ID",
        ),
        (after(UP, "header_down Cache-Control max-age=60"), {"cacheable"}, "header_down Cache-Control"),
    ],
)
async def test_a_fault_in_caddy(change, codes, says, front, examine):
    """Each is found, with what to change in Caddy."""
    found = await examine(front("caddy", change), patience=3.0)
    assert found.keys() <= {*codes, "buffered"} if "compressed" in codes else found.keys() == codes
    assert any(says in finding.fault.caddy for finding in found.values())


PASSED = (
    'proxy_set_header Connection "";',
    "proxy_set_header Connection $http_connection; proxy_set_header Upgrade $http_upgrade;",
)
STRIPPED = after("tls CERT KEY", "request_header -Upgrade")


@pytest.mark.parametrize(
    ("kind", "changes", "codes"),
    [
        ("nginx", [PASSED], {"upgrade-passed"}),
        ("nginx", [], set()),
        ("caddy", [], {"upgrade-passed"}),
        ("caddy", [STRIPPED], set()),
    ],
)
async def test_an_upgrade_that_is_passed_on(kind, changes, codes, front, examine):
    """Before a server that speaks h2c a proxy that passes any Upgrade on is named; before another, and where
    it passes none on, nothing is.
    """
    found = await examine(front(kind, *changes, app="switching"), patience=3.0)
    assert found.keys() == codes
    assert all("pgrade" in getattr(finding.fault, kind) for finding in found.values())
    assert await examine(front(kind, *changes, name="other"), patience=3.0) == {}


async def test_a_read_timeout_below_the_keep_alive(front, examine):
    """A proxy that cuts silent streams before the app's keep-alive is named with its time-out."""
    url = front("nginx", after(VERSION, "proxy_read_timeout 3s;"), app="quiet")
    found = await examine(url, watch=8.0)
    assert found.keys() == {"idle-timeout"}
    assert "after 3." in found["idle-timeout"].seen
    assert "proxy_read_timeout" in found["idle-timeout"].fault.nginx


async def test_a_write_timeout_in_caddy(front, examine):
    """Caddy's write time-out ends streams that are not silent at all."""
    change = after("protocols h1 h2", "timeouts {\nwrite 4s\n}")
    found = await examine(front("caddy", change), watch=7.0)
    assert found.keys() <= {"cut-short", "idle-timeout"}
    assert any("write" in finding.fault.caddy for finding in found.values())


def forget_connects(server):
    """Of the connects that others have counted."""
    client = server.client(db=2)
    client.delete("none", *client.keys("sse@2:{leases}:rate:*"))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("nginx", ("X-Forwarded-For $remote_addr", "X-Forwarded-For $proxy_add_x_forwarded_for")),
        ("caddy", after(UP, "trusted_proxies 127.0.0.1/32")),
    ],
)
async def test_an_address_that_can_be_claimed(kind, change, front, examine, shop):
    """With an appended X-Forwarded-For a refused client is served as another; overwritten, it is not."""
    forget_connects(shop)
    found = await examine(front(kind, change, app="strict"), flood=True)
    assert found.keys() == {"spoofable"}
    forget_connects(shop)
    assert await examine(front(kind, app="strict", name="healthy"), flood=True) == {}
    (spoofing,) = (finding for finding in examine.all if finding.check == "spoofing")
    assert spoofing.level is Level.OK


@pytest.mark.parametrize(
    ("kind", "change", "codes"),
    [
        ("nginx", None, set()),
        ("nginx", ("error_page 502 = @away;", ""), {"strands-browsers"}),
        ("nginx", ("return 502;", 'return 200 "";'), {"hides-failure"}),
        ("nginx", ("$seconds\\n", "3000\\n"), {"herd"}),
        ("caddy", None, set()),
        ("caddy", ('"retry: {seconds}\n\n" 200', '"away" 503'), {"strands-browsers"}),
    ],
)
async def test_the_app_is_down(kind, change, codes, front, examine):
    """With --down: what strands browsers, hides the failure or makes a herd."""
    found = await examine(front(kind, *filter(None, [change]), app=None), down=True)
    assert found.keys() == codes
    assert all(finding.fault.nginx and finding.fault.caddy for finding in found.values())


async def test_down_while_the_app_is_up(front, examine):
    """--down says so when the app is not down."""
    found = await examine(front("nginx"), down=True)
    assert found.keys() == {"app-up"}


async def test_few_open_files(front, shop, certificate):
    """The limit of the very processes that listen is looked at."""
    url = front("nginx", before=["prlimit", "--nofile=512:512"])
    examination = Examination(target=Target.of(url, cacert=certificate[0]))
    found = {finding.code: finding async for finding in examination.findings()}
    assert found["few-files"].seen == "512 in 1 process; 10,000 streams need 20,000"


@pytest.mark.parametrize(
    ("config", "codes"),
    [
        ([], set()),
        (["client-output-buffer-limit pubsub 64kb 32kb 10"], {"redis-buffer"}),
        (["maxmemory 100mb", "maxmemory-policy allkeys-lru"], {"redis-evicts"}),
        (["maxmemory-policy allkeys-lru"], set()),
        (["rename-command CONFIG ''"], set()),
        (["user default on nopass ~* &* +@all -xadd"], {"redis-denied"}),
        (["user default on nopass ~* &* +@all -hdel"], {"redis-denied-limits"}),
    ],
)
async def test_a_fault_in_redis(config, codes, private_redis):
    """Settings of a real Redis that cut workers off or lose history."""
    backend = RedisBackend(private_redis(config=config).url)
    try:
        (state,) = await inspect(backend)
    finally:
        await backend.close()
    findings = redis.server(state, durable=False)
    assert {finding.code for finding in findings if finding.code} == codes
    assert any(finding.level is Level.UNKNOWN for finding in findings) == bool(
        config and "rename" in config[0]
    )


# ---- the command


def invoke(*arguments, **options):
    """``sse-edge doctor`` in this process."""
    result = CliRunner().invoke(main, ["doctor", *map(str, arguments)], **options)
    assert leaks(result.output) == []
    return result


def test_plain_uvicorn(shop):
    """In development all is well, and HTTP/1.1 is worth a word."""
    url = f"{shop.apps['lively'].url}/events/me"
    result = invoke(url, "--elsewhere", "--redis", shop.url, env={"SSE_EDGE_SECRET": SECRET})
    assert result.exit_code == 0, result.output
    assert "HTTP/1.1 without TLS" in result.output
    assert "0 failures, 0 warnings," in result.output
    assert "\x1b" not in result.output
    assert max(map(len, result.output.splitlines())) <= 110


def test_json(shop):
    """--json says the same to a program, codes and remedies included."""
    url = f"{shop.apps['lively'].url}/events/orders/7"
    options = ["--secret", SECRET, "--channel", "order:7", "--redis", shop.url, "--json"]
    result = invoke(url, *options, "--origin", "https://page.invalid")
    told = json.loads(result.output)
    assert told["url"] == url
    by_check = {finding["check"]: finding for finding in told["findings"]}
    assert by_check["buffering"]["level"] == "ok"
    assert by_check["page origin"]["code"] == "page-refused"
    assert by_check["page origin"]["remedy"]["nginx"] == FAULTS["page-refused"].nginx


def test_a_channel_that_is_finished(shop):
    """It takes no events to look at: that is no fault of Redis, and the rest is looked at."""
    with SyncPublisher(shop.url) as events:
        events.finish("order:8", "delivered")
    url = f"{shop.apps['lively'].url}/events/orders/8"
    options = ["--secret", SECRET, "--channel", "order:8", "--redis", shop.url, "--json"]
    told = json.loads(invoke(url, *options).output)
    by_check = {finding["check"]: finding for finding in told["findings"]}
    assert by_check["events"]["level"] == "unknown"
    assert "'order:8' has had its last event" in by_check["events"]["seen"]
    assert not any(finding.get("code") == "redis-away" for finding in told["findings"])


def test_a_wrong_secret(shop):
    """Said as what it is, with exit code 4."""
    result = invoke(f"{shop.apps['lively'].url}/events/me", "--secret", "wrong")
    assert result.exit_code == 4
    assert "[unauthenticated]" in result.output
    assert "--name" in result.output


def test_no_event_stream(shop):
    """A page is no stream."""
    result = invoke(f"{shop.apps['lively'].url}/")
    assert result.exit_code == 4
    assert "[wrong-type]" in result.output


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["127.0.0.1/events"], 2, "must be http(s)://host[:port]/path"),
        (["http://localhost:99999/"], 2, "URL"),
        (["http://user:s3cret@localhost/"], 2, "without user and password"),
        (["http://localhost/", "--secret", "a", "--cookie", "b=c"], 2, "only one"),
        (["http://localhost/", "--cookie", "nothing"], 2, "--cookie"),
        (["http://localhost/", "--page", "x"], 2, "--page"),
        (["http://localhost/", "--origin", "x"], 2, "--origin"),
        (["http://localhost/", "--cacert", "/nowhere"], 2, "--cacert"),
        (["https://localhost/", "--cacert", "/nowhere"], 2, "--cacert"),
        ([f"http://127.0.0.1:{NOWHERE}/"], 1, "Connection refused"),
        (["http://no.such.invalid/"], 1, "no.such.invalid"),
    ],
)
def test_bad_input(arguments, exit_code, says):
    """One line on stderr that names what is wrong; 2 for bad usage, 1 for what cannot be reached."""
    result = invoke(*arguments)
    assert result.exit_code == exit_code
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "s3cret" not in result.stderr


def test_a_certificate_that_is_not_trusted(front):
    """The way out is named."""
    result = invoke(front("nginx"))
    assert result.exit_code == 4
    assert "[certificate-unknown]" in result.output
    assert "--cacert" in result.output


def test_no_tls_and_no_http(shop):
    """A port that speaks something else."""
    assert "no TLS" in invoke(f"https://127.0.0.1:{shop.apps['lively'].port}/").stderr
    result = invoke(f"http://127.0.0.1:{shop.port}/")
    assert result.exit_code == 4
    assert "closed" in result.output
