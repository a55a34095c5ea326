import pytest

from sse_edge.admission.origin import OriginPolicy, is_rebound, own_origin
from sse_edge.asgi import Request
from sse_edge.errors import ConfigError

OWN = "https://app.example.com"
ALLOWED = [
    "https://a.example.org",
    "http://b.example.org:8080",
    "https://*.tree.example.com",
    "http://[::1]:3000",
]


def request(*headers, method="GET"):
    """A request with these headers."""
    return Request(
        method, "/events", tuple((name.encode(), value.encode("latin-1")) for name, value in headers)
    )


def code(policy, *headers, own=OWN):
    """The code of the refusal that these headers get, or None."""
    refusal = policy.judge(request(*headers), own)
    return refusal and refusal.code


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example.com", True),
        ("https://app.example.com:443", True),
        ("HTTPS://App.Example.Com", True),
        ("http://app.example.com", False),
        ("https://app.example.com:8443", False),
        ("https://evil.app.example.com", False),
        ("https://example.com", False),
        ("https://app.example.com.evil.net", False),
        ("https://app.example.com.", False),
        ("https://app.example.com/", False),
        ("https://app.example.com@evil.net", False),
        ("https://app.example.com, https://app.example.com", False),
        ("https://a.example.org", True),
        ("http://a.example.org", False),
        ("http://b.example.org:8080", True),
        ("http://b.example.org", False),
        ("http://b.example.org:80", False),
        ("http://[::1]:3000", True),
        ("http://[::1]:3001", False),
        ("https://x.tree.example.com", True),
        ("https://x.y.tree.example.com", True),
        ("https://x.tree.example.com:443", True),
        ("https://tree.example.com", False),
        ("https://.tree.example.com", False),
        ("https://xtree.example.com", False),
        ("http://x.tree.example.com", False),
        ("https://x.tree.example.com:8443", False),
        ("https://x.tree.example.com.evil.net", False),
        ("https://evil.net#.tree.example.com", False),
        ("https://evil.net/.tree.example.com", False),
        ("null", False),
        ("NULL", False),
        ("*", False),
        ("", False),
        ("app.example.com", False),
        ("//app.example.com", False),
        ("file://", False),
        ("https://", False),
        ("https://app.example.com:", False),
        ("https://app.example.com:0", False),
        ("https://app.example.com:65536", False),
        ("https://app.example.com:0443", False),
        ("http://b.example.org:08080", False),
        ("https://app.example.com:443\n", False),
        ("https://ápp.example.com", False),
        ("chrome-extension://abcdef", False),
        ("https://" + "a" * 60_000 + ".tree.example.com", False),
    ],
)
def test_origin(origin, allowed):
    """An Origin passes if scheme, host and port are the request's own or on the list, and gets CORS then."""
    policy = OriginPolicy(ALLOWED)
    asked = request(("origin", origin))
    assert code(policy, ("origin", origin)) == (None if allowed else "origin")
    headers = policy.headers(asked, OWN)
    assert headers[0] == (b"vary", b"Origin")
    assert headers[1:] == (
        [
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", b"retry-after, edge-identity"),
        ]
        if allowed
        else []
    )


@pytest.mark.parametrize("values", [(OWN, OWN), (OWN, "https://evil.net"), ("", "")])
def test_repeated_origin(values):
    """Two Origin headers are a malformed request, whatever they say, and get no CORS headers."""
    headers = [("origin", value) for value in values]
    policy = OriginPolicy()
    assert code(policy, *headers) == "bad-request"
    assert policy.headers(request(*headers), OWN) == [(b"vary", b"Origin")]


@pytest.mark.parametrize(
    ("site", "mode", "expected"),
    [
        ("same-origin", None, None),
        ("same-origin", "cors", None),
        ("same-origin", "navigate", "origin"),
        ("same-site", None, "origin"),
        ("same-site", "no-cors", "origin"),
        ("cross-site", "no-cors", "origin"),
        ("cross-site", "navigate", "origin"),
        ("none", None, "origin"),
        ("none", "navigate", "origin"),
        ("None", None, "origin"),
        ("something-new", "cors", "origin"),
        ("", None, "origin"),
        (None, "navigate", "origin"),
        (None, None, None),
        (None, "cors", None),
    ],
)
def test_without_origin(site, mode, expected):
    """Without an Origin only same-origin pages pass, and never a navigation."""
    headers = [("sec-fetch-site", site), ("sec-fetch-mode", mode)]
    given = [header for header in headers if header[1] is not None]
    assert code(OriginPolicy(["https://a.example.org"]), *given) == expected


def test_repeated_site_is_refused():
    """A Sec-Fetch-Site that something added to does not count."""
    assert (
        code(OriginPolicy(), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")) == "origin"
    )


def test_missing_refuse():
    """With ``missing="refuse"`` only requests that say where they come from pass."""
    policy = OriginPolicy(missing="refuse")
    assert code(policy) == "origin"
    assert code(policy, ("sec-fetch-site", "same-origin")) is None
    assert code(policy, ("origin", OWN)) is None


def test_allowed_origin_needs_no_fetch_metadata():
    """Sec-Fetch-Site is not asked where an Origin is allowed: cross-site is what the list is for."""
    policy = OriginPolicy(["https://a.example.org"])
    assert code(policy, ("origin", "https://a.example.org"), ("sec-fetch-site", "cross-site")) is None


def test_unknown_own_origin():
    """A request whose own origin is unknown still has the list, and nothing else."""
    policy = OriginPolicy(["https://a.example.org"])
    assert code(policy, ("origin", "https://a.example.org"), own=None) is None
    assert code(policy, ("origin", OWN), own=None) == "origin"


def test_detail_names_the_origin_briefly():
    """The refusal helps an operator to see what came and what was expected, at bounded length."""
    refusal = OriginPolicy().judge(request(("origin", "https://evil.net")), OWN)
    assert "https://evil.net" in refusal.detail
    assert OWN in refusal.detail
    long = OriginPolicy().judge(request(("origin", "x" * 5000)), OWN)
    assert len(long.detail) < 400
    site = OriginPolicy().judge(request(("sec-fetch-site", "y" * 5000)), OWN)
    assert len(site.detail) < 400


@pytest.mark.parametrize(
    ("own", "allowed"),
    [
        ("https://app.example.com", True),
        ("http://app.example.com:8080", True),
        ("https://x.y.example.net", True),
        ("https://example.net", False),
        ("https://xexample.net", False),
        ("https://evil.net", False),
        ("http://[::1]:8000", True),
        (None, False),
    ],
)
def test_hosts(own, allowed):
    """With ``hosts`` only those names are answered, whatever the port; rebinding finds no door."""
    policy = OriginPolicy(hosts=["APP.example.com", "*.example.net", "[::1]"])
    assert code(policy, ("sec-fetch-site", "same-origin"), own=own) == (None if allowed else "origin")


def test_host_is_checked_first():
    """A wrong Host is refused before the Origin is looked at."""
    policy = OriginPolicy(hosts=["app.example.com"])
    assert code(policy, ("origin", "a"), ("origin", "b"), own="https://evil.net") == "origin"


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        ("http", "example.com", "http://example.com"),
        ("http", "Example.com:80", "http://example.com"),
        ("https", "example.com:443", "https://example.com"),
        ("https", "example.com:80", "https://example.com:80"),
        ("http", "127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http", "[::1]:8000", "http://[::1]:8000"),
        ("http", "under_score", "http://under_score"),
        ("ws", "example.com", None),
        ("http", "", None),
        ("http", None, None),
        ("http", "a b", None),
        ("http", "a/b", None),
        ("http", "user@a", None),
        ("http", "a..b", None),
        ("http", "a:port", None),
        ("http", "a:99999", None),
        ("http", "a:0", None),
        ("http", "a:08000", None),
    ],
)
def test_own_origin(scheme, host, expected):
    """The request's own origin comes from its Host, normalised, and odd Hosts give none."""
    assert own_origin(scheme, host) == expected


@pytest.mark.parametrize(
    ("added", "allowed"),
    [
        ((), b"last-event-id, cache-control"),
        (["Authorization"], b"last-event-id, cache-control, authorization"),
        (["x-a", "X-A", "last-event-id", "x-b"], b"last-event-id, cache-control, x-a, x-b"),
    ],
)
def test_preflight_headers(added, allowed):
    """A preflight is told about the headers that EventSource clients add to fetch(), and those of the app."""
    assert dict(OriginPolicy(allow_headers=added).preflight) == {
        b"access-control-allow-methods": b"GET, HEAD",
        b"access-control-allow-headers": allowed,
        b"access-control-max-age": b"600",
    }


APPS = [
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "http://tauri.localhost",
    "app://.",
    "app://my-app",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://12345678-9abc-def0-1234-56789abcdef0",
    "safari-web-extension://12345678-9ABC-DEF0-1234-56789ABCDEF0",
]


@pytest.mark.parametrize("origin", APPS)
def test_the_origin_of_an_app(origin):
    """An app's origin passes where it is listed as it stands, whatever Sec-Fetch-Site says, and gets CORS."""
    policy = OriginPolicy([origin])
    for site in (None, "cross-site", "none", "same-site"):
        headers = [("origin", origin)] + ([] if site is None else [("sec-fetch-site", site)])
        assert code(policy, *headers) is None
        assert code(OriginPolicy([each for each in APPS if each != origin]), *headers) == "origin"
        assert code(OriginPolicy(), *headers) == "origin"
    assert policy.headers(request(("origin", origin)), OWN)[1] == (
        b"access-control-allow-origin",
        origin.encode(),
    )
    for site in ("cross-site", "none"):
        assert code(policy, ("sec-fetch-site", site)) == "origin"
    assert code(policy, ("origin", "null"), ("sec-fetch-site", "cross-site")) == "origin"


@pytest.mark.parametrize(
    "origin",
    [
        "capacitor://localhost/",
        "capacitor://localhost:80",
        "capacitor://localhost.evil.net",
        "capacitor://evil.net",
        "http://localhost",
        "https://localhost",
        "ionic://localhost",
        "capacitor:localhost",
        "capacitor://",
        "capacitor://localhost\n",
        "capacitor://local\u212aost",
        "null",
        "file://",
    ],
)
def test_what_is_not_the_apps_origin(origin):
    """Nothing but the listed text is the app's origin."""
    policy = OriginPolicy(["capacitor://localhost"])
    refused = code(policy, ("origin", origin.encode("utf-8").decode("latin-1")))
    assert refused == "origin"


def test_the_case_of_an_apps_origin():
    """Case is no difference, as for other origins."""
    assert code(OriginPolicy(["Capacitor://LocalHost"]), ("origin", "capacitor://localhost")) is None
    assert code(OriginPolicy(["capacitor://localhost"]), ("origin", "CAPACITOR://localhost")) is None


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("origins", {"origins": "https://a.example.com"}),
        ("origins", {"origins": None}),
        ("origins", {"origins": [1]}),
        *(
            ("origins", {"origins": [text]})
            for text in [
                "",
                "*",
                "null",
                "a.example.com",
                "//a.example.com",
                "ftp://a.example.com",
                "https://a.example.com/",
                "https://a.example.com/path",
                "https://a.example.com?q",
                "https://a.example.com#f",
                "https://user@a.example.com",
                "https://a.example.com:0",
                "https://a.example.com:65536",
                "https://a.example.com:0443",
                "https://a.example.com:port",
                "https://ä.example.com",
                "https://\u212a.example.com",
                " https://a.example.com",
                "https://*",
                "https://*.com",
                "https://*.*.example.com",
                "https://a*.example.com",
                "https://a.*.example.com",
                "https://*example.com",
                "http://*.example.com",
                "*.example.com",
                "https://*.",
            ]
        ),
        *(
            ("origins", {"origins": [text]})
            for text in [
                "capacitor://*",
                "capacitor://*.localhost",
                "capacitor://localhost/",
                "capacitor://",
                "chrome-extension://*",
                "chrome-extension://abcdef",
                "chrome-extension://ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOQ",
                "moz-extension://x",
                "capacitr://localhost",
                "file://",
                "data://x",
                "ws://localhost",
            ]
        ),
        *(
            ("allow_headers", {"allow_headers": value})
            for value in ["authorization", None, ["*"], [""], ["a b"], ["a:"], ["a\n"], ["é"], [1]]
        ),
        ("hosts", {"hosts": []}),
        ("hosts", {"hosts": "a.example.com"}),
        *(
            ("hosts", {"hosts": [text]})
            for text in ["", "*", "*.", ".a", "a:80", "https://a", "a/b", "ä.example.com"]
        ),
        ("missing_origin", {"missing": "maybe"}),
        ("missing_origin", {"missing": True}),
    ],
)
def test_bad_settings(field, settings):
    """A setting that would match nothing, or everything, is refused at construction by name."""
    with pytest.raises(ConfigError) as caught:
        OriginPolicy(**settings)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("host", "rebound"),
    [
        ("evil.example:8000", True),
        ("EVIL.example.:8000", True),
        ("localhost.evil.example:8000", True),
        ("evillocalhost:8000", True),
        ("127.0.0.1.evil.example:8000", True),
        ("a~b!.evil.example:8000", True),
        ("x:y@evil.example:8000", True),
        (":8000", True),
        ("192.0.2.7:8000", True),
        ("localhost:8000", False),
        ("LocalHost.:8000", False),
        ("shop.localhost:8000", False),
        ("127.0.0.1:8000", False),
        ("127.9.9.9:8000", False),
        ("[::1]:8000", False),
        ("[::ffff:127.0.0.1]:8000", False),
        ("0.0.0.0:8000", False),
        ("app.example.com", False),
        ("app.example.com:8443", False),
        ("[2001:db8::1]", False),
        ("", False),
    ],
)
def test_a_rebound_host(host, rebound):
    """On this machine, a Host with the server's own port and another machine's name is a rebound page's."""
    asked = (b"host", host.encode())
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert is_rebound(Request("GET", "/", (asked,), server=(address, 8000))) is rebound
    assert is_rebound(Request("GET", "/", (asked, asked), server=(address, 8000))) is rebound
    # granian's, which says where it was told to listen
    assert is_rebound(Request("GET", "/", (asked,), peer="127.0.0.1", server=("0.0.0.0", "8000"))) is rebound
    assert not is_rebound(Request("GET", "/", (asked,), peer="192.0.2.1", server=("0.0.0.0", "8000")))


def test_what_a_page_can_say_of_itself():
    """A rebound page may send X-Forwarded-For and -Proto too, which some servers believe by themselves."""
    asked = ((b"host", b"evil.example"), (b"x-forwarded-for", b"192.0.2.1"))
    for scheme in ("http", "https"):
        for port, rebound in ((80, True), (443, True), (8000, False)):
            request = Request("GET", "/", asked, scheme=scheme, peer="192.0.2.1", server=("::1", port))
            assert is_rebound(request) is rebound


@pytest.mark.parametrize("server", [None, ("/run/app.sock", None), ("testserver", 8000), ("192.0.2.1", 8000)])
def test_a_host_that_came_from_elsewhere(server):
    """What came to no loopback address, or to a server that says none, is no rebound page's."""
    asked = ((b"host", b"evil.example:8000"),)
    assert not is_rebound(Request("GET", "/", asked, peer="127.0.0.1", server=server))
