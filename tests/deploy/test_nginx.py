"""nginx with the shipped nginx.conf: its limits, its log, its reload, and another nginx in front."""

import asyncio
import functools
import json
import re
import socket
import ssl
import time

import pytest

from servers.processes import free_port
from servers.proxies import COOKIES, EVENT_SOURCE, OTHER, ask, cookies, figures, streams, until
from servers.sse import get
from sse_edge import Publisher
from sse_edge.admission.address import TrustedProxies
from sse_edge.asgi import Request
from sse_edge.tune.template import shipped


@pytest.fixture(params=["nginx", pytest.param("new nginx", marks=pytest.mark.heavy)])
def nginx(behind, request):
    """``nginx(apps=2, env=…, **values)``: as ``behind`` starts it, Debian's and with --heavy a new one."""
    return functools.partial(behind, request.param)


async def refused(site, **options):
    """Whether nginx itself refuses a stream, in the two ways that it should say so."""
    answer = await ask(site, headers=EVENT_SOURCE, **options)
    assert answer.status == 200
    assert answer.header("content-type") == "text/event-stream"
    assert re.fullmatch(rb"retry: 1\d{4}\n", answer.body), answer.body
    answer = await ask(site, headers=OTHER, **options)
    assert answer.status == 429
    assert answer.header("retry-after") == "15"


def test_the_shipped_file_is_valid(nginx):
    """nginx -t accepts the shipped file and warns of nothing."""
    site = nginx(apps=1)
    said = site.proxy.check()
    assert "test is successful" in said
    warnings = [line for line in said.splitlines() if "[warn]" in line]
    assert all('"user" directive makes sense only' in line for line in warnings)


async def test_streams_per_address(nginx, stream):
    """Beyond per_address nginx refuses; another address, and a place that was set free, are served."""
    site = nginx(apps=1, per_address="3")
    clients = [await stream(site, cookies=cookies(f"u{number}")) for number in range(3)]
    await refused(site, cookies=cookies("u9"))
    await stream(site, source="127.0.0.2")
    assert (await ask(site, "/")).status == 200  # the limit is for streams alone
    clients[0].abort()

    async def free():
        return (await figures(site.apps[0]))["streams"] == 3

    await until(free)
    await stream(site)
    await refused(site)
    told = await figures(site.apps[0])
    assert told["refusals"] == {}
    assert told["opened"] == 5


async def test_connects_per_address(nginx, stream):
    """Beyond connect_burst new streams of one address are refused, and those of another are not."""
    site = nginx(apps=1, connect_rate="1r/m", connect_burst="2")
    for _ in range(3):
        await stream(site)
    await refused(site, cookies=COOKIES)
    await stream(site, source="127.0.0.2")
    assert (await figures(site.apps[0]))["refusals"] == {}


async def test_both_layers_count_alike(nginx, stream):
    """After much coming and going, nginx and the app both still know exactly who is there."""
    site = nginx(per_address="6", env={"PER_IP": "5", "REFUSALS": "status"})
    for _ in range(3):
        clients = await asyncio.gather(*(stream(site, cookies=cookies(f"u{each}")) for each in range(5)))
        assert await streams(site) == 5
        answer = await ask(site, cookies=COOKIES)  # the sixth: nginx has room, the app has not, and says why
        assert answer.status == 429
        assert json.loads(answer.body)["error"] == "ip-limit"
        for number, client in enumerate(clients):
            client.abort() if number % 2 else client.close()

        async def gone():
            return await streams(site) == 0

        await until(gone)
    loose = nginx(per_address="6", env={"PER_IP": "100"})
    for _ in range(6):
        await stream(loose)
    await refused(loose, cookies=COOKIES)  # the seventh: the app has room, nginx has not


ADDRESSES = [
    "192.0.2.1",
    "192.0.2.2",
    "2001:db8:1:2::3",
    "2001:db8:1:2:a:b:c:d",
    "2001:db8:1:3::3",
    "2001:db8:1::4",
    "2001:db8:1:0:5:6:7:8",
    "2001:db8:1:0:5::",
    "2001:db8:0:0:5:6:7:8",
    "2001:db8:0:1:5:6:7:8",
    "2001:db8::1:5:0:0:8",
    "2001:db8:2::1",
    "2001:db8::1",
    "2001:db8::2:1",
    "2001:db9::1",
    "::1",
]


@pytest.fixture
def tell(serve, tmp_path):
    """``tell(maps, variable)`` starts an nginx with some of the shipped maps; ``await`` of what that returns,
    with headers, is what the variable is for such a request.
    """

    def start(maps, variable):
        port = free_port()
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"{kind}_temp_path {tmp_path};" for kind in kinds)
        config = tmp_path / "nginx.conf"
        config.write_text(
            f"pid {tmp_path}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {paths}\n{maps}"
            f"server {{ listen 127.0.0.1:{port}; set_real_ip_from 127.0.0.1; real_ip_header X-Claim;"
            f' return 200 "{variable}"; }} }}\n'
        )
        serve(["nginx", "-e", "stderr", "-c", config, "-g", "daemon off;"], port=port)

        async def told(headers):
            return (await get(f"http://127.0.0.1:{port}/", headers=headers)).body.decode()

        return told

    return start


def own_map(name):
    """The map of the shipped file that sets a variable."""
    form = rf"    map [^\n]+ \${name} \{{(?:[^\n]+\}}|\n.*?\n    \}})\n"
    (text,) = re.findall(form, shipped("nginx.conf"), re.DOTALL)
    return text


async def test_networks(tell):
    """nginx counts addresses by the same networks as the app does."""
    proxies, network = TrustedProxies(), tell(own_map("network"), "$network")
    of_nginx, of_app = {}, {}
    for address in ADDRESSES:
        of_nginx.setdefault(await network({"X-Claim": address}), set()).add(address)
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": (address, 1)}
        of_app.setdefault(proxies.client(Request.of(scope)), set()).add(address)
    assert sorted(map(sorted, of_nginx.values())) == sorted(map(sorted, of_app.values()))
    assert len(of_app) == 10


OWN = {"Host": "example.com:8080", "Origin": "http://example.com:8080"}


FOREIGN = [
    ({}, False),
    ({"Sec-Fetch-Site": "same-origin"}, False),
    ({"Sec-Fetch-Site": "none"}, False),
    (OWN, False),
    ({**OWN, "Sec-Fetch-Site": "same-origin"}, False),
    ({**OWN, "Host": "EXAMPLE.com:8080"}, False),
    ({"Origin": "https://www.example.org", "Sec-Fetch-Site": "cross-site"}, False),  # it is listed
    ({"Sec-Fetch-Site": "cross-site"}, True),
    ({"Sec-Fetch-Site": "same-site"}, True),
    ({"Sec-Fetch-Site": "Cross-Site"}, True),
    ({**OWN, "Origin": "https://example.com:8080"}, True),
    ({**OWN, "Origin": "http://example.com"}, True),
    ({**OWN, "Origin": "http://example.com:80801"}, True),
    ({**OWN, "Origin": "http://xexample.com:8080"}, True),
    ({"Origin": "null"}, True),
    ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, True),
    ({"Origin": "https://www.example.org.evil.example"}, True),
    ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, True),
    ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-site"}, True),
]


async def test_what_is_foreign(tell):
    """A page of another origin is told from the site's own by what its browser says, and can be listed."""
    listed = own_map("listed").replace("# https://www", "https://www")
    maps = "".join(map(own_map, ("port", "asked", "foreign")))
    is_foreign = tell(listed + maps, "$foreign")
    for headers, foreign in FOREIGN:
        assert await is_foreign(headers) == str(int(foreign)), headers


async def test_a_hostile_page_uses_up_nobodys_connects(nginx, stream):
    """Whatever pages of other sites make a browser ask is counted apart: they are refused in the end, and the
    visitor's own streams are not.
    """
    site = nginx(apps=1, connect_rate="1r/m", connect_burst="2")
    hostile = [
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Origin": "null"},
    ]
    for headers in hostile:
        assert (await ask(site, headers={**OTHER, **headers}, cookies=COOKIES)).status == 403
    for headers in hostile:
        assert (await ask(site, headers={**OTHER, **headers}, cookies=COOKIES)).status == 429
    for headers in ({}, {"Origin": site.url}, {"Sec-Fetch-Site": "same-origin"}):
        await stream(site, headers=headers)
    await refused(site, cookies=COOKIES)
    assert (await figures(site.apps[0]))["refusals"] == {"origin": 3}


async def test_a_cookie_gives_no_further_streams(nginx, stream):
    """The cap is the address's, and no spelling of a cookie, nor many of them, makes another key."""
    assert "$cookie_" not in shipped("nginx.conf")
    site = nginx(apps=1, per_address="2")
    for _ in range(2):
        await stream(site)
    value = COOKIES["session"]
    for cookie in (value, f"{value}x", f"x{value}", f'"{value}"', "a.b", f"{value}; session={value}"):
        answer = await ask(site, headers={**OTHER, "Cookie": f"session={cookie}"})
        assert answer.status == 429


async def test_the_log(nginx, stream):
    """A stream is one line when it is over: how long it lived, and whether it was ended or cut."""
    site = nginx(apps=1, env={"MAX_DURATION": "0.5"})
    ended = await stream(site, path="/events/me?last_event_id=secret", headers={"User-Agent": "one"})
    assert await ended.ended()
    left = await stream(site, headers={"User-Agent": 'a "quoted" name'})
    left.abort()
    await ask(site, cookies={"session": "forged"})
    lines = []

    async def logged():
        lines[:] = site.proxy.requests()
        return len(lines) == 3

    await until(logged)
    (first,) = [line for line in lines if line["agent"] == "one"]
    assert first["request"] == "GET /events/me"
    assert first["status"] == 200
    assert first["seconds"] >= 0.3
    assert float(first["first_byte"]) < first["seconds"]
    assert first["upstream"] == f"127.0.0.1:{site.apps[0].port}"
    assert first["complete"] == "OK"
    (cut,) = [line for line in lines if line["agent"] == 'a "quoted" name']
    assert (cut["status"], cut["complete"]) == (200, "")
    (refusal,) = [line for line in lines if line["status"] == 401]
    assert refusal["complete"] == "OK"


async def test_an_outage_does_not_fill_the_logs(nginx):
    """While the app is away, of 100 attempts of EventSources hardly any is logged; of others all are."""
    site = nginx(apps=1, connect_burst="1000")
    site.apps[0].kill()
    before = site.proxy.log
    for _ in range(100):
        assert (await ask(site, headers=EVENT_SOURCE)).status == 200
    for _ in range(5):
        assert (await ask(site, headers=OTHER)).status == 502

    async def logged():
        return sum(line["status"] == 502 for line in site.proxy.requests()) == 5

    await until(logged)
    # One in a hundred: more than 12 come by chance once in 10^9 times.
    assert len(site.proxy.requests()) <= 5 + 12
    assert site.proxy.log == before


async def test_its_own_figures(behind, stream):
    """stub_status counts open streams as Writing, on loopback alone, and shows nothing else."""
    site = behind("nginx", apps=1)
    for _ in range(3):
        await stream(site)
    url = f"http://127.0.0.1:{site.proxy.status_port}"
    answer = await get(f"{url}/nginx_status")
    assert b"Writing: 4" in answer.body  # and this request
    assert (await get(f"{url}/events/me")).status == 404
    assert (await ask(site, "/nginx_status")).status == 404  # the app's


async def test_old_workers_end(nginx, stream):
    """After a reload, what still hangs on the old workers is cut when shutdown_timeout is over."""
    site = nginx(apps=1, shutdown_timeout="1s")
    client = await stream(site)
    began = time.monotonic()
    site.proxy.reload()
    await client.ended()
    assert time.monotonic() - began > 0.9
    assert (await stream(site, last_event_id=client.last_event_id)).status == 200


OUTER = """
pid {directory}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    {paths}
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate[0]};
        ssl_certificate_key {certificate[1]};
        location / {{
            proxy_pass https://127.0.0.1:{inner};
            proxy_ssl_server_name on;
            proxy_ssl_name localhost;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


async def test_two_tiers(nginx, serve, connect, certificate, redis_url, tmp_path):
    """Through another nginx in front, which buffers by default, events still come one by one."""
    site = nginx(apps=1)
    port = free_port()
    paths = "".join(
        f"{kind}_temp_path {tmp_path};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    names = {"directory": tmp_path, "port": port, "inner": site.proxy.port, "certificate": certificate}
    config.write_text(OUTER.format(**names, paths=paths))
    serve(["nginx", "-e", "stderr", "-c", config, "-g", "daemon off;"], port=port)
    client = await connect(f"https://localhost:{port}/events/me", cookies=COOKIES, ssl=site.ssl)
    async with asyncio.timeout(10):
        while not client.last_event_id:
            await asyncio.sleep(0.02)
    async with Publisher(redis_url) as events:
        for number in range(10):
            await events.publish("news", str(number))
            assert (await client.next()).data == str(number)
    client.abort()

    async def gone():
        return await streams(site) == 0

    await until(gone)


INVALID = (421, 400)
"""For a Host that is none: what the file says, and what nginx says of it by itself since 1.31."""


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("/", "localhost", 200),
        ("/", "LOCALHOST", 200),
        ("/", "localhost:8443", 200),
        ("https://localhost/", "localhost", 200),
        ("https://localhost/", "evil.example", 421),
        ("/", "localhost:80@evil.example", INVALID),
        ("/", "localhost:evil.example", INVALID),
        ("https://localhost/events/me", "evil.example", 421),
    ],
)
async def test_one_name(nginx, target, host, status):
    """The app sees the name that nginx chose the site by, however a client says another one beside it."""
    site = nginx(apps=1)
    unverified = ssl._create_unverified_context()
    plain = socket.create_connection(("127.0.0.1", site.proxy.port), timeout=30)
    with unverified.wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = sock.recv(65_536)
    assert int(answer.split()[1]) in (status if status is INVALID else [status])
