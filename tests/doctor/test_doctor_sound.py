"""Deployments with which nothing is wrong, of many kinds: the doctor has nothing to say."""

import asyncio
import contextlib
import json
from functools import partial
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from servers.deployments import RedisCluster, SentinelTrio
from servers.doctored import Fronts, codes, examined, standing, together
from servers.processes import free_port
from servers.redis import RedisServer
from sse_edge.doctor.fault import Level

PERMISSIONS = (
    "resetchannels ~sse:* &sse:* +evalsha +eval +subscribe +unsubscribe +publish +time +info"
    " +get +set +hget +hset +pexpire +xadd +xrange +xrevrange"
    " +hdel +hgetall +zadd +zscore +zrem +zremrangebyscore +zrangebyscore"
)
"""As docs/REDIS.md, "Permissions", says."""

TRUSTING = {"SETTINGS": {"trusted_proxies": ["127.0.0.1/32", "unix"]}}
PARTITIONS = {"partitions": 3}

PLAIN = {
    "nginx": [
        ("PORT ssl http2;", "PORT;"),
        ("ssl_certificate CERT; ssl_certificate_key KEY;", ""),
    ],
    "caddy": [("https://", "http://"), ("    tls CERT KEY\n", "")],
}
"""What makes a front one without TLS."""

INNER = [
    *PLAIN["nginx"],
    ("server_name localhost;", "set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;"),
    ("Proto $scheme;", "Proto $http_x_forwarded_proto; proxy_pass_header X-Accel-Buffering;"),
]
"""What makes one that stands behind a CDN's."""

ME, NEWS = "/events/me", "/events/news"


class Sound:
    """Ten deployments and more: ``urls`` by their names, each with what the doctor is told besides."""

    def __init__(self, directory, processes, certificate):
        self.urls = {}
        self.certificate = certificate[0]
        self._directory = directory
        self._processes = processes
        self._pair = certificate
        self._redis = RedisServer()
        self._secured = RedisServer(password="a word", config=[f"user edge on >pass {PERMISSIONS}"])
        self._cluster = RedisCluster(replicas=0)
        self._trio = SentinelTrio()

    def start(self):
        """All of Redis, then all apps, then the proxies."""
        self._redis.start()  # first, and with it the guard of all processes
        together(*(each.start for each in (self._secured, self._cluster, self._trio)))
        place = self._redis.url.removesuffix("0")
        who = self._secured.url.replace(":a%20word@", "edge:pass@")
        apps = {
            "one": ({**TRUSTING, "BACKEND": place + "0"}, {}),
            "unix": (
                {**TRUSTING, "BACKEND": place + "1", "LIMITS": {"per_user": 1}},
                {"unix": str(self._directory / "app.sock")},
            ),
            "many": ({**TRUSTING, "BACKEND": place + "2"}, {"server": "sse-edge serve", "workers": 2}),
            "anyone": ({**TRUSTING, "BACKEND": place + "3", "ANYONE": "1"}, {}),
            "secured": ({**TRUSTING, "BACKEND": who}, {}),
            "cluster": ({**TRUSTING, "BACKEND": self._cluster.url, "REDIS": PARTITIONS}, {}),
            "sentinel": ({**TRUSTING, "BACKEND": self._trio.url}, {}),
            "memory": ({}, {}),
        }
        self.apps = dict(
            zip(apps, together(*(partial(self._app, *how) for how in apps.values())), strict=True)
        )
        fronts = self._fronts = Fronts(self._directory, self._processes.serve, self._pair)
        for kind in ("nginx", "caddy"):
            self._front(kind, f"{kind} with TLS", "one", place + "0")
            self._front(kind, f"{kind} without TLS", "one", place + "0", changes=PLAIN[kind])
        self._front("nginx", "a unix socket, and one stream for each", "unix", place + "1")
        self._front("nginx", "several workers", "many", place + "2")
        self._front("caddy", "anonymous", "anyone", place + "3", path=NEWS, user=None, channel="news")
        url, redis, _ = self.urls["anonymous"]
        self.urls["anonymous, and a secret"] = url, redis, {"channel": "news"}
        self._front("nginx", "a user of Redis with few permissions", "secured", who)
        self._front("nginx", "a Cluster, and partitions", "cluster", (self._cluster.url, PARTITIONS))
        self._front("caddy", "Sentinel", "sentinel", self._trio.url)
        self._front("nginx", "a source", "one", None, path="/events/ticks")
        inner, outer = free_port(), free_port()
        fronts.add("nginx", inner, self._address("one"), *INNER)
        fronts.add("nginx", outer, f"127.0.0.1:{inner}")
        self.urls["behind a CDN"] = f"https://localhost:{outer}{ME}", place + "0", {}
        self.urls["memory, and no proxy"] = self.apps["memory"].url + ME, None, {}
        fronts.start()
        self._await_worker(self.apps["many"].url + ME)
        return self

    def close(self):
        """Every Redis."""
        for each in (self._redis, self._secured, self._cluster, self._trio):
            each.close()

    @staticmethod
    def _await_worker(url):
        """Until one answers: where there are several, connections are accepted before that."""
        with contextlib.suppress(HTTPError):
            urlopen(url, timeout=20)

    def _front(self, kind, name, app, redis, *, changes=(), path=ME, **options):
        port = free_port()
        self._fronts.add(kind, port, self._address(app), *changes)
        scheme = "http" if changes else "https"
        self.urls[name] = f"{scheme}://localhost:{port}{path}", redis, options

    def _address(self, app):
        process = self.apps[app]
        return f"unix:{process.unix}:" if process.unix else f"127.0.0.1:{process.port}"

    def _app(self, env, options):
        said = {name: value if isinstance(value, str) else json.dumps(value) for name, value in env.items()}
        if "server" not in options:
            options = {**options, "options": ["--no-proxy-headers"]}
        return self._processes.serve_app("apps.planted:edge", env=said, **options)


@pytest.fixture(scope="module")
def sound(certificate, tmp_path_factory):
    """See Sound."""
    directory = tmp_path_factory.mktemp("sound")
    with standing(lambda processes: Sound(directory, processes, certificate)) as sound:
        yield sound


async def test_it_is_silent(sound):
    """Nothing is found in any of them, and what can be looked at is."""
    findings = await asyncio.gather(
        *(
            examined(url, redis, cacert=sound.certificate, **options)
            for url, redis, options in sound.urls.values()
        )
    )
    said = dict(zip(sound.urls, findings, strict=True))
    assert len(said) >= 10
    assert {name: [*codes(each)] for name, each in said.items()} == {name: [] for name in said}
    left = {
        name: {each.check for each in found if each.level is Level.UNKNOWN} for name, found in said.items()
    }
    always = {"cookie", "keep-alive", "spoofing", "machine"}
    nowhere = {"redis", "buffering", "resume", "ending"}
    assert left.pop("memory, and no proxy") == always | nowhere
    assert left.pop("a source") == always | nowhere | {"replay"}
    for name in ("anonymous", "anonymous, and a secret"):
        assert left.pop(name) == always | {"ending", "address", "to the app", "replay", "leaving"}
    assert "give --secret" not in " ".join(each.seen for each in said["anonymous, and a secret"])
    assert left.pop("a unix socket, and one stream for each") == always | {"resume"}
    assert left.pop("a user of Redis with few permissions") == always | {"redis settings"}
    assert {name: each ^ always for name, each in left.items() if each != always} == {}
