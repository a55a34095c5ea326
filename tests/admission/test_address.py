import time
from dataclasses import replace

import pytest

from sse_edge.admission.address import TrustedProxies
from sse_edge.asgi import Request
from sse_edge.errors import ConfigError

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48", "unix"]


def request(peer, *forwarded, scheme="http", name="x-forwarded-for"):
    """A request from ``peer`` with these values of a header."""
    headers = tuple((name.encode(), value.encode("latin-1")) for value in forwarded)
    return Request("GET", "/events", headers, scheme=scheme, peer=peer)


@pytest.mark.parametrize(
    ("peer", "forwarded", "key"),
    [
        # nobody in between
        ("192.0.2.1", [], "192.0.2.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        (None, [], "unix"),
        ("", [], "unix"),
        ("TestClient", [], "testclient"),
        ("x" * 500, [], "x" * 64),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("2001:db8:0:1:2:3:4:5", [], "2001:db8:0:1::/64"),
        ("2001:DB8:0:1::9", [], "2001:db8:0:1::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("::1", [], "::/64"),
        # not trusted, so not believed
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("testclient", ["198.51.100.7"], "testclient"),
        # trusted hops are walked past, from the right
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        (None, ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7", "10.0.0.2", "10.0.0.3"], "198.51.100.7"),
        ("127.0.0.1", ["203.0.113.5, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("127.0.0.1", ["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
        ("2001:db8:ffff::1", ["2001:db8:0:1::9"], "2001:db8:0:1::/64"),
        ("127.0.0.1", ["198.51.100.7, 2001:db8:ffff:9::1"], "198.51.100.7"),
        # everybody is trusted: the leftmost
        ("127.0.0.1", ["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        # ports, quotes, brackets
        ("127.0.0.1", ["198.51.100.7:5678"], "198.51.100.7"),
        ("127.0.0.1", ["[2001:db8:0:1::9]:443"], "2001:db8:0:1::/64"),
        ("127.0.0.1", ["[2001:db8:0:1::9]"], "2001:db8:0:1::/64"),
        ("127.0.0.1", ['"[2001:db8:0:1::9]:443"'], "2001:db8:0:1::/64"),
        ("127.0.0.1", ['"198.51.100.7"'], "198.51.100.7"),
        ("127.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["\t198.51.100.7 "], "198.51.100.7"),
        # what is no address ends the walk
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ("127.0.0.1", ["198.51.100.7, _obf"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7, "], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", [",,,"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7, for=1.2.3.4"], "127.0.0.1"),
        ("127.0.0.1", ["1.2.3.4:x"], "127.0.0.1"),
        ("127.0.0.1", ["[::1"], "127.0.0.1"),
        ("127.0.0.1", ["[::1]x"], "127.0.0.1"),
        ("127.0.0.1", ["999.1.1.1"], "127.0.0.1"),
        ("127.0.0.1", ["1.2.3"], "127.0.0.1"),
        ("127.0.0.1", ["01.2.3.4"], "127.0.0.1"),
        ("127.0.0.1", ["%"], "127.0.0.1"),
        ("127.0.0.1", ["\xff\xfe\0"], "127.0.0.1"),
        ("127.0.0.1", ["9" * 5000], "127.0.0.1"),
        (None, ["unknown"], "unix"),
    ],
)
def test_client(peer, forwarded, key):
    """The client is the first hop from the right that no trusted network vouches for."""
    assert TrustedProxies(TRUSTED).client(request(peer, *forwarded)) == key


def test_nothing_is_trusted_by_default():
    """Without settings no header is believed, not even on a unix socket."""
    proxies = TrustedProxies()
    assert proxies.client(request("127.0.0.1", "198.51.100.7")) == "127.0.0.1"
    assert proxies.client(request(None, "198.51.100.7")) == "unix"


@pytest.mark.parametrize(
    ("server", "key", "trusted"),
    [
        (("127.0.0.1", 8001), "unknown", False),  # a connection that was reset has no address any more
        (("/run/app.sock", None), "198.51.100.7", True),
        (None, "198.51.100.7", True),
    ],
)
def test_no_address_is_a_unix_socket_only_where_there_is_no_port(server, key, trusted):
    """A client of a port is none of a unix socket by leaving at once."""
    proxies = TrustedProxies(TRUSTED)
    asked = replace(request(None, "198.51.100.7"), server=server)
    assert (proxies.client(asked), proxies.trusts_peer(asked)) == (key, trusted)


def test_forwarded_is_ignored():
    """RFC 7239's header is not read, so a client cannot choose between two."""
    proxies = TrustedProxies(TRUSTED)
    assert proxies.client(request("127.0.0.1", "for=198.51.100.7", name="forwarded")) == "127.0.0.1"


def test_long_chain_is_cut_and_cheap():
    """Only the last 32 entries are looked at, however many there are."""
    proxies = TrustedProxies(TRUSTED)
    near = ["198.51.100.7"] + ["10.0.0.2"] * 31
    far = ["198.51.100.7"] + ["10.0.0.2"] * 32
    assert proxies.client(request("127.0.0.1", ",".join(near))) == "198.51.100.7"
    assert proxies.client(request("127.0.0.1", ",".join(far))) == "10.0.0.2"
    huge = request("127.0.0.1", *["10.0.0.2," * 7000 + "10.0.0.2"] * 10)
    began = time.perf_counter()
    assert proxies.client(huge) == "10.0.0.2"
    assert time.perf_counter() - began < 0.1


@pytest.mark.parametrize(
    ("prefix", "key"),
    [(64, "2001:db8:0:1::/64"), (56, "2001:db8::/56"), (128, "2001:db8:0:1::9/128"), (1, "::/1")],
)
def test_ipv6_prefix(prefix, key):
    """IPv6 clients are counted by the prefix that is set."""
    assert TrustedProxies(ipv6_prefix=prefix).client(request("2001:db8:0:1::9")) == key


@pytest.mark.parametrize(
    ("peer", "said", "scheme"),
    [
        ("127.0.0.1", ["https"], "https"),
        ("127.0.0.1", ["HTTPS"], "https"),
        ("127.0.0.1", ["http, https"], "https"),
        ("127.0.0.1", ["https", "http"], "http"),
        (None, ["https"], "https"),
        ("127.0.0.1", [], "http"),
        ("127.0.0.1", ["https,"], "http"),
        ("127.0.0.1", ["wss"], "http"),
        ("192.0.2.1", ["https"], "http"),
        ("testclient", ["https"], "http"),
    ],
)
def test_scheme(peer, said, scheme):
    """The scheme is what the last trusted proxy said, if it is http or https."""
    asked = request(peer, *said, name="x-forwarded-proto")
    assert TrustedProxies(TRUSTED).scheme(asked) == scheme


def test_scheme_of_the_connection():
    """Without a proxy the scheme is the connection's."""
    assert TrustedProxies().scheme(request("192.0.2.1", scheme="https")) == "https"


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("trusted_proxies", {"networks": "127.0.0.1"}),
        ("trusted_proxies", {"networks": None}),
        ("trusted_proxies", {"networks": ["*"]}),
        ("trusted_proxies", {"networks": ["localhost"]}),
        ("trusted_proxies", {"networks": [""]}),
        ("trusted_proxies", {"networks": ["10.0.0.1/8"]}),
        ("trusted_proxies", {"networks": ["10.0.0.0/33"]}),
        ("trusted_proxies", {"networks": ["0.0.0.0/0"]}),
        ("trusted_proxies", {"networks": ["::/0"]}),
        ("trusted_proxies", {"networks": ["::ffff:10.0.0.0/104"]}),
        ("ipv6_prefix", {"ipv6_prefix": 0}),
        ("ipv6_prefix", {"ipv6_prefix": 129}),
        ("ipv6_prefix", {"ipv6_prefix": "64"}),
    ],
)
def test_bad_settings(field, settings):
    """A network that cannot be meant is refused at construction, and so is trusting the whole world."""
    with pytest.raises(ConfigError) as caught:
        TrustedProxies(**settings)
    assert caught.value.field == field
