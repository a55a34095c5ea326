"""On which page somebody is: nothing but the real thing is believed."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parts.hostile import HEADER, latin, looking_at
from sse_edge.admission.origin import OriginPolicy, own_origin
from sse_edge.asgi import Request

OWN = "https://app.example.com"
ALLOWED = ["https://partner.example.org", "http://dev.example.org:8080", "https://*.tree.example.com"]
POLICY = OriginPolicy(ALLOWED)

# One origin between blanks.  HOST is each of HOSTS, REAL the origin that is allowed there.
HOSTS = ["app.example.com", "partner.example.org", "x.tree.example.com"]
LOOK_ALIKE = """
REAL.evil.net REALevil.net https://evilHOST.net https://evil-HOST:8443 https://evil.net.REAL
https://HOST.com.com REAL@evil.net REAL:443@evil.net REAL%40evil.net https://user@HOST https://:@HOST
https://user:x@HOST REAL&evil.net https://evil.net/HOST https://evil.net?HOST https://evil.net#HOST
https://evil.net#.HOST https://evil.net/.HOST https://evil.net\\.HOST https://evil.net\\@HOST https:\\\\HOST
https:/HOST https:HOST //HOST HOST https:///HOST .HOST https//HOST ://HOST \\\\HOST https://\\HOST
https:/\\HOST REAL. REAL.. https://.HOST REAL.:443 https://..HOST http://HOST ws://HOST wss://HOST
ftp://HOST file://HOST data:REAL blob:REAL htt://HOST httpss://HOST xhttps://HOST filesystem:REAL
view-source:REAL javascript:REAL about:REAL app://HOST chrome-extension://HOST https+x://HOST REAL: REAL:0
REAL:80 REAL:4430 REAL:8443 REAL:65979 REAL:-443 REAL:+443 REAL:0443 REAL:00443 REAL:443:443 REAL:443x
REAL:SP443 REAL:443SP REAL:443/ REAL:\uff14\uff14\uff13 REAL:\u0664\u0664\u0663 REAL:0x1bb REAL:443.0
REAL:1e3 REAL:44_3 REAL/ REAL/x REAL? REAL?x REAL# REAL#x REAL; REAL, REAL* REAL$ REAL' REAL" REAL< REAL`
REAL| REAL^ REAL~ REAL! REAL( REAL= REAL%00 REAL%2e REAL%2f REAL%0d%0a REAL%20 REALNUL REALCR REALLF
REALCRLF REALTAB REALSP REALLS REAL\u200b REAL\xad SPREAL TABREAL LFREAL CRREAL NULREAL \xadREAL
\u200bREAL \ufeffREAL "REAL <REAL (REAL xREAL *REAL REAL_ nullREAL REALnull REALSPREAL REAL,REAL REAL,SPREAL
REAL;REAL nullSPREAL REALSPnull REALCRLFREAL REALNULREAL REAL@REAL REAL/REAL https://[HOST]
https://[::1].HOST https://[::ffff:1.2.3.4].HOST https://HOST[::1] https://{HOST} https://<HOST>
https://(HOST) https://*.HOST.evil.net https://*HOST https://%HOST https://HOST%25 https://HOST%en0
https://xn--HOST.evil.net https://HOSTNEL
"""
DOTS = "%2e %2E %252e \u3002 \uff0e \uff61 \xb7 , _ - .. ./ SP. .SP .TAB .NUL NUL"
LETTERS = """
a\u0430 e\u0435 o\u043e p\u0440 x\u0445 c\u0441 m\uff4d t\u0442 s\u017f l1 n%6e rrn aNULa mCRm e\u0301e p\xadp
x\u200dx
"""
OTHERS = """
null NULL Null SP * https:// http:// :// undefined none file:// about:blank // / . .. : @ [ ] https://.
https://- https://[] https://tree.example.com https://.tree.example.com https://xtree.example.com
https://tree.example.com.x https://TREE.example.com http://x.tree.example.com
https://x.tree.example.com:8443 https://x..tree.example.com https://*.tree.example.com
https://x.tree.example.com. https://x.tree.example.comx https://x.tree.example.com:443.tree.example.com
https://x.tree.example http://dev.example.org http://dev.example.org:80 https://dev.example.org:8080
http://dev.example.org:08080 https://example.org https://com https://org https://example.com
http://localhost http://127.0.0.1 http://[::1] https://2130706433 https://0x7f.1 chrome-extension://abcdefgh
moz-extension://a-b app://app.example.com capacitor://localhost ionic://localhost tauri://localhost
https://sub.app.example.com https://app.app.example.com https://www.partner.example.org
https://partner.example.com
"""


def _lookalikes():
    """Origins that are none of ours and look as if they were."""
    for host in HOSTS:
        for line in LOOK_ALIKE.split():
            yield line.replace("REAL", f"https://{host}").replace("HOST", host)
        for dot in DOTS.split():
            yield f"https://{host.replace('.', dot)}"
            yield f"https://{host.replace('.', dot, 1)}"
        for letter, *other in LETTERS.split():
            if letter in host:
                yield f"https://{host.replace(letter, ''.join(other))}"
        yield f"https://{host}{'.com' * 90}"
        yield f"https://{'a' * 300}.{host}"
    yield from ["", *OTHERS.split()]


SIGNS = {"SP": " ", "TAB": "\t", "CR": "\r", "LF": "\n", "NUL": "\0", "NEL": "\x85", "LS": "\u2028"}


def _with_signs(text):
    for name, sign in SIGNS.items():
        text = text.replace(name, sign)
    return text


LOOKALIKES = sorted(set(map(_with_signs, _lookalikes())))


def judged(origin, own=OWN):
    """Whether a page of this origin may open a stream; what it is told matches."""
    asked = Request("GET", "/events", ((b"origin", latin(origin).encode("latin-1")),))
    allowed = POLICY.judge(asked, own) is None
    told = dict(POLICY.headers(asked, own))
    assert (b"access-control-allow-origin" in told) == allowed
    return allowed


def test_lookalikes():
    """Hundreds of origins that look like an allowed one are refused, whether the own one is known or not."""
    assert len(LOOKALIKES) > 450
    assert [origin for origin in LOOKALIKES if judged(origin)] == []
    assert [origin for origin in LOOKALIKES if judged(origin, own=None)] == []


@pytest.mark.parametrize("origin", [OWN, "https://partner.example.org", "https://x.tree.example.com"])
def test_what_they_look_like(origin):
    """The origins that the others look like are allowed, so the table means something."""
    assert judged(origin)
    assert judged(origin.upper())
    assert judged(f"{origin}:443")


def _is_ours(origin):
    """Whether an origin is allowed, written down again."""
    origin = origin.lower()
    if origin.startswith("https:"):
        origin = origin.removesuffix(":443")
    below = re.fullmatch(r"(?=.{1,300}$)https://([a-z0-9_-]+\.)+tree\.example\.com", origin)
    return origin in (OWN, *ALLOWED[:2]) or below is not None


PARTS = """
https:// http:// app x . tree example com org .example.com .tree.example.com partner dev evil.net null
:443 :80 :8080 : / @ \\ # ? %2e * - _ A [ ]
"""


@looking_at(300)
@example(f"https://{'a' * 300}.x.tree.example.com")
@given(
    st.lists(st.sampled_from(PARTS.split()), max_size=7).map("".join)
    | st.sampled_from([OWN, *ALLOWED, *LOOKALIKES])
    | HEADER
)
def test_only_our_origins(origin):
    """An origin is allowed exactly if it is one of the list, letter by letter."""
    assert judged(origin) == _is_ours(latin(origin))


@looking_at(300)
@given(
    st.sampled_from(["http", "https"]),
    st.lists(st.sampled_from(PARTS.split()), max_size=5).map("".join) | HEADER,
)
def test_a_host_names_one_origin_or_none(scheme, host):
    """Whatever a Host header says, the origin it names is one that a browser could send, or there is none."""
    own = own_origin(scheme, host)
    if own is not None:
        assert re.fullmatch(rf"{scheme}://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]*)?", own)
        assert own_origin(scheme, own.partition("://")[2]) == own
        assert OriginPolicy().judge(Request("GET", "/events", ((b"origin", own.encode()),)), own) is None


SITES = st.sampled_from(["same-origin", "same-site", "cross-site", "none", "Same-Origin", ""])
MODES = st.sampled_from(["cors", "navigate", "no-cors", ""])
HOSTED = st.sampled_from(
    [host.partition("//")[2] for host in (OWN, *ALLOWED)] + ["localhost:8000", "x y", ""]
)
HEADERS = st.tuples(st.just(b"host"), HOSTED) | st.one_of(
    st.tuples(st.just(b"origin"), st.sampled_from([OWN, *ALLOWED, *LOOKALIKES[:40], "null", ""])),
    st.tuples(st.just(b"sec-fetch-site"), SITES),
    st.tuples(st.just(b"sec-fetch-mode"), MODES),
    st.tuples(st.just(b"x-other"), st.just("1")),
)


@looking_at(100)
@given(
    st.lists(st.tuples(st.sampled_from(["http", "https"]), st.lists(HEADERS, max_size=6)), max_size=20),
    st.sampled_from(["allow", "refuse"]),
)
def test_a_remembered_page(asked, missing):
    """What is remembered of pages is what would be said of each anew, whatever others asked before."""
    policy = OriginPolicy(ALLOWED, missing=missing)
    for scheme, headers in [*asked, *asked]:
        lines = tuple((name, latin(text).encode("latin-1")) for name, text in headers)
        request = Request("GET", "/events", lines)
        hosts = request.all(b"host")
        own = own_origin(scheme, hosts[0]) if len(hosts) == 1 else None
        anew = (policy.judge(request, own), policy.headers(request, own))
        assert policy.page(request, scheme) == anew


def test_pages_are_not_remembered_without_bound():
    """Whoever makes up hosts, long ones too, fills no memory, and the next page is judged as before."""
    policy = OriginPolicy()
    for n in range(5000):
        host = f"h{n}.example".encode() + b"x" * (n % 500)
        policy.page(
            Request("GET", "/events", ((b"host", host), (b"sec-fetch-site", b"same-origin"))), "https"
        )
    assert len(policy._known) <= 1024
    assert all(sum(map(len, filter(None, said))) <= 300 for _, said in policy._known)
    assert policy.page(Request("GET", "/events", ((b"host", b"a.example"),)), "https").refusal is None
