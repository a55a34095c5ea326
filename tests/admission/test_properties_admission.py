"""Who somebody is, and where from: nothing but the real thing is believed."""

import hashlib
import string

from hypothesis import assume, example, given
from hypothesis import strategies as st
from itsdangerous import Signer, TimestampSigner, URLSafeSerializer, URLSafeTimedSerializer

from fuzz.oracles import AUTH, NOW, PROXIES, SECRET, VALUE, WHO, key_of, request
from parts.hostile import HEADER, LINE, latin, looking_at
from sse_edge.admission.address import TrustedProxies
from sse_edge.admission.cookies import SignedCookie
from sse_edge.errors import ConfigError

# Cookies

OTHER = AUTH.issue("eve", ["order:*", "news"], session="s2", now=NOW + 1)
ALPHABET = string.ascii_letters + string.digits + "-_"


def identified(value, *, auth=AUTH, now=NOW):
    return auth.identify(request(("cookie", f"session={value}")), now)


def test_the_cookie_itself():
    """What the properties are about is a cookie that identifies somebody."""
    assert identified(VALUE) == WHO
    assert identified(OTHER).user == "eve"


def test_no_flipped_bit():
    """Not one bit of a cookie can be another."""
    for at in range(len(VALUE) - 1):  # the last character has bits of no meaning: test_properties_names.py
        for bit in range(8):
            other = chr(ord(VALUE[at]) ^ 1 << bit)
            assert identified(VALUE[:at] + other + VALUE[at + 1 :]) is None, (at, bit)


def test_no_part_of_a_cookie():
    """No beginning, no end, no cookie without one character, none with one more, none of two halves."""
    for at in range(len(VALUE)):
        for value in (VALUE[:at], VALUE[at + 1 :], VALUE[:at] + VALUE[at + 1 :]):
            assert identified(value) is None, value
        for more in ALPHABET + ".=+/%":
            assert identified(VALUE[:at] + more + VALUE[at:]) is None, (at, more)
    for mine in range(len(VALUE)):
        assert identified(VALUE[:mine] + OTHER[mine:]) in (None, identified(OTHER))
        assert identified(OTHER[:mine] + VALUE[mine:]) in (None, WHO)


def test_no_part_in_the_place_of_another():
    """The parts of two good cookies, in any order and number, are no third."""
    parts = [*VALUE.split("."), *OTHER.split("."), ""]
    for count in (2, 3, 4):
        for number in range(len(parts) ** count):
            chosen = [parts[number // len(parts) ** place % len(parts)] for place in range(count)]
            value = ".".join(chosen)
            assert value in (VALUE, OTHER) or identified(value) is None, chosen


@looking_at(100)
@given(st.text(min_size=16, max_size=40) | st.binary(min_size=16, max_size=40))
@example(SECRET[:-1])
@example(SECRET.upper())
@example(f" {SECRET}")
def test_no_other_key(secret):
    """What another secret signed is nothing here, and what this one did is nothing there."""
    # HMAC fills a key up with NUL (RFC 2104, section 2): two that differ in those alone are one.
    assume(not secret.endswith(b"\0" if isinstance(secret, bytes) else "\0") and secret.strip())
    assume(secret not in (SECRET, SECRET.encode()))
    try:
        other = SignedCookie(secret, max_age=600)
    except ConfigError:  # no secret to speak of
        return
    assert identified(other.issue("u42", now=NOW)) is None
    assert identified(VALUE, auth=other) is None


DERIVATIONS = ["hmac", "concat", "django-concat", "none"]
DIGESTS = [hashlib.sha256, hashlib.sha1, hashlib.sha512, hashlib.md5]


@looking_at(100)
@given(
    salt=st.sampled_from(["cookie-session", "itsdangerous", "", "sse_edge", "sse_edge.session."])
    | st.text(max_size=20),
    derivation=st.sampled_from(DERIVATIONS),
    digest=st.sampled_from(DIGESTS),
    maker=st.sampled_from([URLSafeTimedSerializer, URLSafeSerializer]),
)
def test_no_other_purpose_of_the_same_secret(salt, derivation, digest, maker):
    """What other parts of an application sign with the same secret is no session, whatever the salt."""
    assume(salt != "sse_edge.session" and salt.isprintable())
    options = {"key_derivation": derivation, "digest_method": digest}
    made = maker(SECRET, salt, signer_kwargs=options).dumps(["u42", "s1", ["order:*"]])
    assert identified(made) is None
    body, _, _ = VALUE.rpartition(".")
    for kind in (Signer, TimestampSigner):
        assert identified(kind(SECRET, salt, **options).sign(body).decode()) is None


def test_no_algorithm_of_their_choice():
    """A token that says it needs no signature, or another one, is none."""
    jwt = "eyJhbGciOiJub25lIn0.eyJ1c2VyIjoidTQyIn0."
    for value in (jwt, jwt + "e30", VALUE.rpartition(".")[0], VALUE.rpartition(".")[0] + ".", f"{VALUE}."):
        assert identified(value) is None


@looking_at(200)
@given(issued=st.integers(1, 2**34), later=st.integers(-(2**35), 2**35) | st.integers(-100, 700))
@example(NOW, 600)
@example(NOW, 599)
@example(NOW, -60)
@example(NOW, -61)
def test_no_other_time(issued, later):
    """A cookie is good from a minute before it was issued until it is ``max_age`` old, and never besides."""
    found = identified(AUTH.issue("u42", session="s1", now=issued), now=issued + later)
    assert (found is not None) == (-60 <= later < 600)
    assert found is None or found.expires == issued + 600


@looking_at(200)
@given(
    st.text(st.characters(max_codepoint=255), max_size=80) | st.text(ALPHABET + ".=", max_size=80) | HEADER
)
def test_no_text_of_their_own(value):
    """What nobody issued identifies nobody and raises nothing."""
    assert identified(value) is None
    assert AUTH.identify(request(("cookie", value)), NOW) is None


# Addresses

TRUSTED_PEERS = st.sampled_from(["127.0.0.1", "10.1.2.3", "2001:db8:ffff:1::1", "::ffff:10.9.9.9", None])
CLIENTS = st.sampled_from(
    ["192.0.2.1", "198.51.100.7", "2001:db8:0:1:2:3:4:5", "::ffff:203.0.113.9", "64:ff9b::1"]
)
WAYS = st.sampled_from(["{}", " {} ", "{}\t", '"{}"'])
HOPS = (
    st.sampled_from(
        ["127.0.0.1", "10.0.0.1", "192.0.2.1", "::1", "[::1]:80", "[::1", "::1]", "1.2.3.4:99999"]
    )
    | st.sampled_from(
        ["fe80::1%eth0", "fe80::1%25x", "2001:db8:ffff::1%" + "z" * 40, "unknown", "_hidden", "unix"]
    )
    | st.sampled_from(["0x7f.1", "017700000001", "2130706433", "1.2.3", "01.2.3.4", "\u0661.2.3.4", ""])
    | st.sampled_from(
        ["for=1.2.3.4", 'for="[::1]:47011";proto=https', '"', '"127.0.0.1', "\\", "\0", "\r\n", "\n"]
    )
    | st.sampled_from(["::ffff:127.0.0.1", "::127.0.0.1", "::ffff:0:7f00:1", "10.0.0.1/8", "localhost", "*"])
    | st.ip_addresses().map(str)
    | st.tuples(st.ip_addresses(v=6).map(str), st.integers(0, 70000)).map(
        lambda pair: f"[{pair[0]}]:{pair[1]}"
    )
    | LINE
).map(latin)
CHAINS = st.lists(HOPS, max_size=4).map(",".join) | st.sampled_from(
    ["10.0.0.1," * 5000, "," * 5000, "1.2.3.4, " * 100]
)
FORWARDERS = [
    "forwarded",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
    "client-ip",
    "x-client-ip",
    "via",
]
OTHERS = st.lists(st.tuples(st.sampled_from(FORWARDERS), HOPS), max_size=3)


@looking_at(250)
@given(
    peer=TRUSTED_PEERS,
    client=CLIENTS,
    way=WAYS,
    chains=st.lists(CHAINS, max_size=3),
    joined=st.booleans(),
    others=OTHERS,
)
def test_no_header_moves_a_client_out_of_its_limit(peer, client, way, chains, joined, others):
    """Whatever a client sends, the proxy in front adds its address behind it, and that is who is counted."""
    added = way.format(client)
    values = [*chains[:-1], f"{chains[-1]}, {added}"] if joined and chains else [*chains, added]
    headers = [("x-forwarded-for", value) for value in values]
    assert PROXIES.client(request(*headers, *others, peer=peer)) == key_of(client)


@looking_at(200)
@given(client=CLIENTS, between=st.lists(TRUSTED_PEERS.filter(bool), max_size=5), chain=CHAINS)
def test_no_header_counts_through_several_proxies(client, between, chain):
    """The same where the request went from one trusted proxy to the next, each adding whom it heard."""
    value = ", ".join([chain, client, *between])
    assert PROXIES.client(request(("x-forwarded-for", value), peer="127.0.0.1")) == key_of(client)


@looking_at(200)
@given(client=CLIENTS, chains=st.lists(CHAINS, max_size=3), others=OTHERS)
def test_no_header_of_a_stranger_counts(client, chains, others):
    """Who comes directly is counted by its own address, whatever it says of itself."""
    headers = [("x-forwarded-for", value) for value in chains]
    for proxies in (PROXIES, TrustedProxies()):
        asked = request(*headers, *others, peer=client)
        assert proxies.client(asked) == key_of(client)
        assert not proxies.trusts_peer(asked)


@looking_at(200)
@given(
    peer=TRUSTED_PEERS | CLIENTS | HOPS,
    chains=st.lists(CHAINS, max_size=3),
    scheme=st.lists(HEADER, max_size=2),
)
def test_every_key_is_short_and_readable(peer, chains, scheme):
    """Whatever stands where an address should be, nothing is raised, and there is a key to count by."""
    headers = [("x-forwarded-for", value) for value in chains]
    headers += [("x-forwarded-proto", value) for value in scheme]
    asked = request(*headers, peer=peer)
    assert 0 < len(PROXIES.client(asked)) <= 64
    assert PROXIES.scheme(asked) in ("http", "https")
