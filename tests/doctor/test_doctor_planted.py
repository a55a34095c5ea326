"""Faults planted in one real nginx and one Caddy, and in the apps behind them: the doctor names each."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.planted import AUTH, EARLY
from servers.doctored import Fronts, codes, examined, standing, together
from servers.processes import free_port
from servers.redis import RedisServer
from servers.sse import get
from sse_edge.doctor.fault import Level
from sse_edge.doctor.wire import Connection

TRUSTING = {"SETTINGS": '{"trusted_proxies": ["127.0.0.1/32"], "keep_alive": 3}'}
DAY = timedelta(days=1)


def after(line, new):
    """Add a line after one that is there."""
    return line, f"{line}\n{new}"


HOST = "proxy_set_header Host $http_host;"
UP = "header_up X-Real-IP {remote_host}"
FORWARDED = "proxy_set_header X-Forwarded-For $remote_addr;"

CACHE = (
    "proxy_cache replays; proxy_cache_valid 200 1m; proxy_cache_convert_head off; proxy_cache_methods GET;"
    'proxy_cache_key "$request_method$request_uri$http_accept";'
    "proxy_ignore_headers Cache-Control Vary Set-Cookie Expires;"
)

HEADLESS = (
    "if ($request_method = HEAD) { return 405; }"
    'proxy_set_header Origin ""; proxy_set_header Sec-Fetch-Site "";'
)
"""HEAD is not passed on, and pages of other sites are not known as that."""

INJECTED = (
    'set $session $http_cookie; if ($session = "") { set $session "session=WHOSE"; }'
    "proxy_set_header Cookie $session;"
).replace("WHOSE", AUTH.issue("u1"))
"""Whoever has no cookie gets somebody's."""

NGINX = {
    "untrusted": ("blind", []),
    "hidden": ("trusting", [(FORWARDED, "")]),
    "http10": ("trusting", [("proxy_http_version 1.1;", "proxy_http_version 1.0;")]),
    "stays": ("trusting", [after(HOST, "proxy_ignore_client_abort on;")]),
    "heads": ("trusting", [after(HOST, HEADLESS)]),
    "login": (
        "trusting",
        [after(HOST, "proxy_intercept_errors on; error_page 401 403 =302 https://login.example;")],
    ),
    "injected": ("trusting", [after(HOST, INJECTED)]),
    "limited": ("trusting", [after(HOST, "limit_conn streams 1;")]),
    "maintained": ("trusting", [after("server_name localhost;", "return 503;")]),
    "login wanted": ("trusting", [after("server_name localhost;", "return 401;")]),
    "fails": ("trusting", [after("server_name localhost;", "return 500;")]),
    "replays": ("trusting", [after(HOST, CACHE)]),
    "open": ("trusting", [after(HOST, "add_header Access-Control-Allow-Origin * always;")]),
    "replaced": ("paged", [after(HOST, "proxy_hide_header Access-Control-Allow-Origin;")]),
    "hosts": ("named", []),
    "misdirected": ("trusting", [after("server_name localhost;", "return 421;")]),
    "moved": ("trusting", [after("server_name localhost;", "return 308 https://$http_host/new$uri;")]),
    "full": ("full", []),
    "foreign": ("foreign", []),
    "late": ("late", []),
    "skewed": ("skewed", []),
}
"""Name → the app, and what is changed in front of it."""

CADDY = {
    "untrusted": ("blind", []),
    "hidden": ("trusting", [after(UP, "header_up -X-Forwarded-For")]),
    "stays": ("trusting", [after(UP, "flush_interval -1")]),
    "open": ("trusting", [after("bind 127.0.0.1", "header Access-Control-Allow-Origin *")]),
    "hosts": ("named", []),
}

CERTIFICATES = {
    "certificate-expired": (-3 * DAY, -DAY, "localhost"),
    "certificate-early": (DAY, 3 * DAY, "localhost"),
    "certificate-name": (-DAY, 90 * DAY, "other.example"),
    "certificate-ends": (-80 * DAY, 2 * DAY, "localhost"),
    "certificate-unknown": (-DAY, 90 * DAY, "localhost"),
}
"""Code → when it begins and ends, from now, and for whom it is; the last is signed by nobody who is known."""


class Authority:
    """A private one, its certificate in ``directory``."""

    def __init__(self, directory):
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority")])
        self.path = directory / "authority.pem"
        self.path.write_bytes(self._sign(self._name, self._key, -90 * DAY, 90 * DAY, None))

    def issue(self, name, begins, ends, host):
        """Paths of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        paths = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        paths[0].write_bytes(self._sign(subject, key, begins, ends, host))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths

    def _sign(self, subject, key, begins, ends, host):
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


PAGED = '{"trusted_proxies": ["127.0.0.1/32"], "origins": ["https://page.example.com"]}'
NAMED = '{"trusted_proxies": ["127.0.0.1/32"], "hosts": ["www.example.com"]}'
PLANTED = [("nginx", name, *how) for name, how in NGINX.items()]
PLANTED += [("caddy", name, *how) for name, how in CADDY.items()]


class Planted:
    """URLs, and the Redis of the app behind each, by the kind of proxy and the name of what is planted."""

    def __init__(self, directory, processes, certificate):
        self.redis = RedisServer()
        self.certificate = certificate[0]
        self.authority = Authority(directory)
        self.urls = {}
        self._processes = processes
        self._directory = directory
        self._pair = certificate

    def start(self):
        """Redis, then all apps at the same time, then the proxies."""
        self.redis.start()
        ports = [free_port() for _ in PLANTED]
        origins = json.dumps({"origins": [f"https://localhost:{port}" for port in ports]})
        settings = {
            "trusting": TRUSTING,
            "blind": {"SETTINGS": origins},
            "paged": {"SETTINGS": PAGED},
            "named": {"SETTINGS": NAMED},
            "full": {**TRUSTING, "LIMITS": '{"connects_per_ip": "1/hour"}'},
            "late": {**TRUSTING, "SKEW": "-90"},
            "skewed": {**TRUSTING, "SKEW": "5"},
        }
        places = {
            name: self.redis.url.removesuffix("0") + str(number) for number, name in enumerate(settings)
        }
        starts = [partial(self._app, {**env, "BACKEND": places[name]}) for name, env in settings.items()]
        self.apps = dict(zip(settings, together(*starts), strict=True))
        self.apps["foreign"] = self._processes.serve_app("apps.foreign:app")
        fronts = Fronts(self._directory, self._processes.serve, self._pair)
        for port, (kind, name, app, changes) in zip(ports, PLANTED, strict=True):
            fronts.add(kind, port, f"127.0.0.1:{self.apps[app].port}", *changes)
            self.urls[kind, name] = f"https://localhost:{port}/events/me", places.get(app)
        for code, (begins, ends, host) in CERTIFICATES.items():
            port, pair = free_port(), self.authority.issue(code, begins, ends, host)
            fronts.add("nginx", port, f"127.0.0.1:{self.apps['trusting'].port}", certificate=pair)
            self.urls["nginx", code] = f"https://localhost:{port}/events/me", places["trusting"]
        inner, outer = free_port(), free_port()
        fronts.add("nginx", inner, f"127.0.0.1:{self.apps['trusting'].port}", ("PORT ssl http2;", "PORT;"))
        fronts.add("nginx", outer, f"127.0.0.1:{inner}", after(HOST, "proxy_buffering off;"))
        self.urls["nginx", "outer"] = f"https://localhost:{outer}/events/me", places["trusting"]
        fronts.start()
        return self

    def close(self):
        """Redis."""
        self.redis.close()

    async def found(self, kind, name, path=None, *, cacert=None, **options):
        """The faults that the doctor finds: code → finding."""
        url, redis = self.urls[kind, name]
        url = url if path is None else url.replace("/events/me", path)
        options = {"patience": 3.0, **options}
        return codes(await examined(url, redis, cacert=cacert or self.certificate, **options))

    def _app(self, env):
        return self._processes.serve_app(
            "apps.planted:edge", env=env, options=["--no-proxy-headers"], new=bool(EARLY & env.keys())
        )


@pytest.fixture(scope="module")
def planted(certificate, tmp_path_factory):
    """See Planted."""
    directory = tmp_path_factory.mktemp("planted")
    with standing(lambda processes: Planted(directory, processes, certificate)) as planted:
        yield planted


FAULTS = [
    ("nginx", "untrusted", {"proxy-not-trusted"}, "127.0.0.1, which says that it asks for 127.83.83.69"),
    ("caddy", "untrusted", {"proxy-not-trusted"}, "127.0.0.1, which says that it asks for 127.83.83.69"),
    ("nginx", "hidden", {"address-hidden"}, "counts 127.0.0.1, and 127.83.83.69 has asked"),
    ("caddy", "hidden", {"address-hidden"}, "counts 127.0.0.1, and 127.83.83.69 has asked"),
    ("nginx", "http10", {"http10"}, "HTTP/1.0"),
    ("nginx", "stays", {"leaves-late"}, "gone in the app after"),
    ("caddy", "stays", {"client-stays"}, "after all have left"),
    ("nginx", "limited", {"refused-in-front"}, "a second stream gets status 503"),
    ("nginx", "maintained", {"refused-in-front"}, "status 503 from nginx"),
    ("nginx", "login wanted", {"refused-in-front"}, "status 401 from nginx"),
    ("nginx", "fails", {"fails"}, "status 500 from nginx"),
    ("nginx", "open", {"cors-replaced"}, "Access-Control-Allow-Origin: * from nginx"),
    ("caddy", "open", {"cors-replaced"}, "Access-Control-Allow-Origin: *"),
    ("nginx", "hosts", {"host-refused"}, "is not in hosts"),
    ("caddy", "hosts", {"host-refused"}, "is not in hosts"),
    ("nginx", "misdirected", {"host-refused"}, "status 421"),
    ("nginx", "moved", {"redirected"}, "/new/events/me"),
    (
        "nginx",
        "heads",
        {"origin-accepted", "cross-site-accepted"},
        "Origin: https://foreign.invalid gets a stream",
    ),
    ("nginx", "injected", {"cookie-injected"}, "served as a user"),
    ("nginx", "skewed", {"clock-skew"}, "clock is 5.0 s ahead of this machine's"),
    # One before the one that is trusted: for the app all clients are that, and plain http besides.
    ("nginx", "outer", {"proxy-not-trusted", "own-origin-refused"}, "127.0.0.1, and 127.83.83.69 has asked"),
]


@pytest.fixture(scope="module")
def findings(planted):
    """What is said of all of FAULTS and CERTIFICATES, by kind and name: examined at the same time."""
    names = [(kind, name) for kind, name, *_ in FAULTS] + [("nginx", "login")]
    names += [("nginx", code) for code in CERTIFICATES]

    async def examine(kind, name):
        known = name not in CERTIFICATES or name == "certificate-unknown"
        cacert = planted.certificate if known else planted.authority.path
        return await examined(*planted.urls[kind, name], cacert=cacert, keep_alive=3.0)

    async def examine_all():
        return await asyncio.gather(*(examine(*name) for name in names))

    return dict(zip(names, asyncio.run(examine_all()), strict=True))


@pytest.mark.parametrize(("kind", "name", "expected", "says"), FAULTS)
def test_what_is_planted(kind, name, expected, says, findings):
    """Each is found, by its own words, with what to do about it there; and nothing else is."""
    faults = codes(findings[kind, name])
    assert faults.keys() == expected
    assert any(says in each.seen for each in faults.values())
    assert all(getattr(each.fault, kind) or not each.fault.nginx for each in faults.values())


@pytest.mark.parametrize("code", CERTIFICATES)
def test_a_certificate(code, findings):
    """Each fault of one has its own words, and everything else is examined all the same."""
    found = findings["nginx", code]
    assert codes(found).keys() == {code}
    assert {"buffering", "ending", "address", "workers"} <= {each.check for each in found}


def test_a_login_page(findings):
    """Whoever is refused is sent there: nobody else is served, and what the app says is unknown."""
    found = {each.check: each for each in findings["nginx", "login"]}
    for check in ("foreign origin", "cross-site", "no cookie"):
        assert (found[check].level, "to https://login.example" in found[check].seen) == (Level.UNKNOWN, True)


async def test_no_cookie_goes_to_whom_nobody_vouches_for(planted, monkeypatch):
    """On its way to another machine somebody might read it: that is said, and Redis is looked at."""
    enter = Connection.__aenter__

    async def from_elsewhere(self):
        await enter(self)
        self.local = False
        return self

    monkeypatch.setattr(Connection, "__aenter__", from_elsewhere)
    asked = []
    monkeypatch.setattr(Connection, "ask", lambda *_, **__: asked.append(1))
    url, redis = planted.urls["nginx", "certificate-expired"]
    findings = await examined(url, redis, cacert=planted.authority.path, here=None)
    assert codes(findings).keys() == {"certificate-expired"}
    assert not asked
    assert {each.check for each in findings} == {"certificate", "stream", "machine", "clocks"} | {
        each.check for each in findings if each.check.startswith(("redis", "worker", "settings", "server"))
    } | {"readiness"}


async def test_a_cache_that_replays(planted):
    """Which says nothing of itself: a second request gets what the first was given.  What depends on
    answers of the app is not looked at.
    """
    faults = await planted.found("nginx", "replays")
    assert faults.keys() == {"cached"}
    assert "proxy_ignore_headers Cache-Control" in faults["cached"].fault.nginx


async def test_plain_http_to_a_port_of_https(planted):
    """Is named as that: the path is right."""
    url, redis = planted.urls["nginx", "http10"]
    faults = codes(await examined(url.replace("https", "http"), redis))
    assert faults.keys() == {"wants-https"}


async def test_an_app_that_is_not_down(planted):
    """A refusal shows it as well as a stream."""
    faults = await planted.found("nginx", "http10", user=None, down=True)
    assert faults.keys() == {"app-up"}
    assert faults["app-up"].seen == "the app answers with status 401"


async def test_a_page_that_may_not_read(planted):
    """An origin that the app lets in, and whose header the proxy takes away."""
    faults = await planted.found("nginx", "replaced", origin="https://page.example.com")
    assert faults.keys() == {"page-refused"}


async def test_a_limit_that_is_reached(planted):
    """Is said as what it is."""
    url = planted.urls["nginx", "full"][0]
    await get(planted.apps["full"].url + "/events/me", headers={"X-Forwarded-For": "127.0.0.1"})
    faults = await planted.found("nginx", "full")
    assert faults.keys() == {"refused"}, url


async def test_a_user_without_permission(planted):
    """The app knows who asks, and lets nobody read this."""
    faults = await planted.found("nginx", "http10", "/events/orders/7")
    assert faults.keys() == {"forbidden"}
    assert "order:7" in faults["forbidden"].seen


async def test_another_channel_than_the_urls(planted):
    """Events that are published elsewhere do not arrive."""
    faults = await planted.found("caddy", "open", channel="order:1")
    assert faults.keys() == {"events-missing", "cors-replaced"}


async def test_a_cookie_from_the_future(planted):
    """A worker whose clock is behind takes it for none: the clocks are named, not the secret."""
    faults = await planted.found("nginx", "late")
    assert faults.keys() == {"cookie-from-future", "clock-skew"}


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("/sse", "not-an-edge", "which begins with event: ping data: now"),
        ("/quiet", "not-an-edge", "which begins with nothing"),
        ("/events/me", "wrong-type", "text/html"),
        ("/any/thing?x=1", "wrong-type", "text/html"),
    ],
)
async def test_what_is_no_edge(path, code, says, planted):
    """Another's event stream, and a server that has a page for every path: one clear word."""
    faults = await planted.found("nginx", "foreign", path, patience=1.0)
    assert faults.keys() == {code}
    assert says in faults[code].seen
