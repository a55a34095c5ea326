"""Redis URLs: every part and option is on a list, checked, and refused by name."""

import ssl
import subprocess

import pytest
import redis

from servers.processes import command
from sse_edge import RedisBackend
from sse_edge.backends.redis.url import OPTIONS, REFUSED, RedisUrl, parse
from sse_edge.errors import ConfigError

URLS = [
    ("redis://", ("", "redis", [("localhost", 6379)], "", {}, {})),
    ("redis://h", ("", "redis", [("h", 6379)], "", {}, {})),
    ("redis://h:1/", ("", "redis", [("h", 1)], "", {}, {})),
    ("redis://[::1]:7/3", ("", "redis", [("::1", 7)], "", {"db": 3}, {})),
    ("redis://[::1]", ("", "redis", [("::1", 6379)], "", {}, {})),
    ("redis://h?db=3", ("", "redis", [("h", 6379)], "", {"db": 3}, {})),
    (
        "redis://u:p%40s%2Fs@h/1",
        ("", "redis", [("h", 6379)], "", {"username": "u", "password": "p@s/s", "db": 1}, {}),
    ),
    ("redis://:p@s@h", ("", "redis", [("h", 6379)], "", {"password": "p@s"}, {})),
    ("redis://h?username=u", ("", "redis", [("h", 6379)], "", {"username": "u"}, {})),
    ("redis://h?password=p", ("", "redis", [("h", 6379)], "", {"password": "p"}, {})),
    ("rediss://h/0", ("", "rediss", [("h", 6379)], "", {"db": 0}, {})),
    ("unix:///run/redis.sock", ("", "unix", [], "", {"path": "/run/redis.sock"}, {})),
    (
        "unix://u:p@/run/a%20b@c.sock?db=2",
        ("", "unix", [], "", {"path": "/run/a b@c.sock", "username": "u", "password": "p", "db": 2}, {}),
    ),
    (
        "redis+sentinel://:p@a:1,[::2]:2/main/4?sentinel_password=q&client_name=me",
        (
            "sentinel", "redis", [("a", 1), ("::2", 2)], "main",
            {"password": "p", "db": 4, "client_name": "me"}, {"password": "q"},
        ),
    ),
    (
        "rediss+sentinel://a:1/main?ssl_cert_reqs=none&socket_keepalive=no&sentinel_ssl_cert_reqs=required",
        (
            "sentinel", "rediss", [("a", 1)], "main",
            {"ssl_cert_reqs": "none", "socket_keepalive": False},
            {"ssl_cert_reqs": "required", "socket_keepalive": False},
        ),
    ),
    ("redis+cluster://a:1,b:2", ("cluster", "redis", [("a", 1), ("b", 2)], "", {}, {})),
    ("redis+cluster://a:1/0", ("cluster", "redis", [("a", 1)], "", {}, {})),
]  # fmt: skip


@pytest.mark.parametrize(("url", "parsed"), URLS)
def test_a_url_is_taken_apart(url, parsed):
    """Scheme, user, hosts, path and options each come out where they belong."""
    assert parse(url) == RedisUrl(*parsed)
    assert RedisBackend(url).server.db == parsed[4].get("db", 0)


BAD = [
    (5, "must be a URL"),
    (None, "must be a URL"),
    ("", "must begin with"),
    ("http://h", "must begin with"),
    ("memory://", "must begin with"),
    ("h:6379", "must begin with"),
    ("unix+sentinel:///s", "must begin with"),
    ("redis+sentinal://s3cr3t", "must begin with"),
    ("redis://:s3cr3t@h /0", "blank or a control"),
    ("redis://h\n/0", "blank or a control"),
    ("redis://[::1", "needs host:port"),
    ("redis://h/%ff", "is no URL"),
    ("redis://h?db", "no name=value"),
    ("redis://h?client_name=%ff", "no name=value"),
    ("redis://:%ff@h", "not UTF-8"),
    ("redis://:s3cr#3t@h", "%23"),
    ("redis://:s3cr/3t@h", "%40"),
    ("redis://:s3cr?3t@h", "%40"),
    ("redis://h:x", "needs host:port$"),
    ("redis://h:0", "needs host:port$"),
    ("redis://h:70000", "needs host:port$"),
    ("redis://h:\u0661", "needs host:port$"),
    ("redis://::1", "needs host:port$"),
    ("redis://[::1]x", "is no URL|needs host:port$"),
    ("redis://a:1,b:2", "needs host:port$"),
    ("redis://h/s3cr3t", "option db: must be the number"),
    ("redis://h/-1", "option db: must be the number"),
    ("redis://h/1/2", "option db: must be the number"),
    ("redis://h/1?db=1", "option db: is there already"),
    ("redis://u@h?username=v", "option username: is there already"),
    ("redis://:p@h?password=v", "option password: is there already"),
    ("redis://h?db=1&db=2", "option db: is given twice"),
    ("redis://h?s3cr3t&x=1", "no name=value"),
    ("redis://h?s3cr-3t=1", "an option: is unknown"),
    ("redis://h?nonsense=s3cr3t", "option nonsense: is unknown; there are client_name, db, "),
    ("unix://", "names no socket"),
    ("unix://run/redis.sock", "names no socket"),
    ("redis+sentinel://h:1", "names no service"),
    ("redis+sentinel://h/main", "needs host:port, or several"),
    ("redis+sentinel://h:1,/main", "needs host:port, or several"),
    ("redis+sentinel://h:1/main/x", "option db: must be the number"),
    ("redis+sentinel://h:1/main?sentinel_db=1", "option sentinel_db: is unknown"),
    (
        "redis+sentinel://h:1/main?sentinel_socket_timeout=1",
        "option sentinel_socket_timeout: ",
    ),
    ("redis+sentinel://h:1/main?sentinel_ssl_cert_reqs=none", "option sentinel_ssl_cert_reqs: needs rediss"),
    ("redis://h?sentinel_password=x", "option sentinel_password: is unknown"),
    ("redis+cluster://h", "needs host:port, or several"),
    ("redis+cluster://h:1/2", "option db: a Cluster has only one"),
    ("redis+cluster://h:1?db=2", "option db: a Cluster has only one"),
]


@pytest.mark.parametrize(("url", "why"), BAD)
def test_a_bad_url_is_refused(url, why):
    """What is wrong is said, and nothing that may be a password is repeated."""
    with pytest.raises(ConfigError, match=why) as caught:
        RedisBackend(url)
    assert caught.value.field == "backend"
    assert not any(part in str(caught.value) for part in ("s3cr", "3t"))


@pytest.fixture(scope="module")
def files(certificate, tmp_path_factory):
    """Paths by name: a certificate, its key, the same key with a password, and a file of nonsense."""
    directory = tmp_path_factory.mktemp("files")
    locked, nonsense = directory / "locked.pem", directory / "nonsense.pem"
    nonsense.write_text("nonsense")
    lock = [command("openssl"), "pkey", "-aes256", "-passout", "pass:s3cr3t"]
    subprocess.run([*lock, "-in", certificate[1], "-out", locked], check=True, capture_output=True)
    return {
        "CERT": certificate[0],
        "KEY": certificate[1],
        "LOCKED": locked,
        "NONSENSE": nonsense,
        "NONE": "/none",
    }


YES_NO = ({"true": True, "no": False, "1": True, "0": False}, ["True", "2", "on", ""])
CHECKED = {
    "client_name": ({"web-1": "web-1"}, ["a%20b", "%C3%A9", "a%0Ab", ""]),
    "db": ({"0": 0, "15": 15}, ["-1", "1.0", "x", "%D9%A1", "9999999999", ""]),
    "password": ({"p%26": "p&"}, [""]),
    "protocol": ({"2": 2}, ["3", "two", ""]),
    "username": ({"u": "u"}, [""]),
    "socket_keepalive": YES_NO,
    "ssl_ca_certs": ({"CERT": "CERT"}, ["NONE", "NONSENSE", ""]),
    "ssl_cert_reqs": ({"none": "none", "optional": "optional"}, ["CERT_NONE", "0", ""]),
    "ssl_certfile": ({"CERT&ssl_keyfile=KEY": "CERT"}, ["CERT", "NONE", "CERT&ssl_keyfile=LOCKED", ""]),
    "ssl_check_hostname": YES_NO,
    "ssl_ciphers": ({"ECDHE%2BAESGCM": "ECDHE+AESGCM"}, ["nonsense", ""]),
    "ssl_exclude_verify_flags": (
        {"VERIFY_X509_STRICT": [ssl.VerifyFlags.VERIFY_X509_STRICT]}, ["STRICT", "", "VERIFY_X509_STRICT,"],
    ),
    "ssl_include_verify_flags": (
        {
            "VERIFY_CRL_CHECK_LEAF,VERIFY_X509_STRICT": [
                ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF, ssl.VerifyFlags.VERIFY_X509_STRICT,
            ]
        },
        ["[VERIFY_X509_STRICT]", "1", ""],
    ),
    "ssl_keyfile": ({"KEY&ssl_certfile=CERT": "KEY"}, ["KEY", "NONE", "NONSENSE&ssl_certfile=CERT", ""]),
    "ssl_min_version": ({"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}, ["1.1", "771", ""]),
}  # fmt: skip
"""For each option what is taken, and for what; and what is not."""

if redis.VERSION < (7,):  # there they are in REFUSED
    del CHECKED["ssl_exclude_verify_flags"], CHECKED["ssl_include_verify_flags"]

PLACES = {
    "redis": "redis://h",
    "rediss": "rediss://h",
    "unix": "unix:///s",
    "redis+sentinel": "redis+sentinel://h:1/main",
    "rediss+sentinel": "rediss+sentinel://h:1/main",
    "redis+cluster": "redis+cluster://h:1",
    "rediss+cluster": "rediss+cluster://h:1",
}


def _filled(text, files):
    for name, path in files.items():
        text = text.replace(f"{name}&", f"{path}&")
        text = str(path) if text == name else text
        text = text.removesuffix(f"={name}") + f"={path}" if text.endswith(f"={name}") else text
    return text


def test_every_option_is_tried():
    """The table above has a row for each option there is."""
    assert set(CHECKED) == set(OPTIONS["rediss"])


@pytest.mark.parametrize("scheme", PLACES)
@pytest.mark.parametrize("option", CHECKED)
def test_an_option_is_checked(option, scheme, files):
    """With each scheme an option takes good values only, or is refused by name with any."""
    good, bad = CHECKED[option]
    fits = option in OPTIONS[scheme.partition("+")[0]]
    for text, value in good.items():
        url = f"{PLACES[scheme]}?{option}={_filled(text, files)}"
        if fits and not (option == "db" and value and scheme.endswith("cluster")):
            RedisBackend(url)
            expected = str(files[value]) if isinstance(value, str) and value in files else value
            assert parse(url).options.get(option, 0) == expected
            continue
        with pytest.raises(ConfigError, match=f"option {option}: "):
            RedisBackend(url)
    for text in bad:
        with pytest.raises(
            ConfigError,
            match="option (ssl_certfile|ssl_keyfile): " if "file" in option else f"option {option}: ",
        ):
            RedisBackend(f"{PLACES[scheme]}?{option}={_filled(text, files)}")


@pytest.mark.parametrize("scheme", PLACES)
@pytest.mark.parametrize("option", REFUSED)
def test_an_option_that_would_do_harm_is_refused(option, scheme):
    """What redis-py would take, but would break something here, is refused with the reason."""
    with pytest.raises(ConfigError, match=f"option {option}: ") as caught:
        RedisBackend(f"{PLACES[scheme]}?{option}=1")
    assert REFUSED[option] in str(caught.value)
