"""What a URL says about reaching Redis: a list of our own, each part of it checked."""

from __future__ import annotations

import re
import ssl
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import redis

from ...errors import ConfigError

Node = tuple[str, int]
Checker = Callable[[str], Any]

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")

PORT = 6379


class RedisUrl(NamedTuple):
    """A URL taken apart.

    ``way`` is "", "sentinel" or "cluster"; ``base`` "redis", "rediss" or "unix".  ``options`` and, for the
    sentinels themselves, ``asked`` are redis-py's arguments for a connection, without host and port.
    """

    way: str
    base: str
    nodes: list[Node]
    service: str
    options: dict[str, Any]
    asked: dict[str, Any]

    @property
    def db(self) -> int:
        """The number of the database."""
        return int(self.options.get("db", 0))


class Parts(NamedTuple):
    """A URL's parts as they stand in it (RFC 3986, section 3)."""

    scheme: str
    authority: str
    path: str
    query: str

    @classmethod
    def of(cls, url: str) -> Parts:
        """Split ``url``.  Not urllib's: of several hosts it takes none with brackets on some Pythons."""
        front, _, query = url.partition("?")
        scheme, _, rest = front.partition(":")
        if not rest.startswith("//"):
            return cls(scheme.lower(), "", rest, query)
        authority, slash, path = rest[2:].partition("/")
        return cls(scheme.lower(), authority, slash + path, query)


def parse(url: object) -> RedisUrl:
    """Take a URL apart.  Raises ConfigError, which names the option but repeats no value: a password
    may stand anywhere in a URL that was written wrongly.
    """
    if not isinstance(url, str):
        raise ConfigError("backend", "must be a URL", url)
    parts = _parts(url)
    try:
        path = unquote(parts.path, errors="strict")
    except ValueError:  # its message may repeat the password
        raise _refused("is no URL") from None
    base, _, way = parts.scheme.partition("+")
    userinfo, at, hosts = parts.authority.rpartition("@")
    if not at and "@" in url and base != "unix":
        raise _refused("has a # or an @ that is not written as %23 or %40")
    query = _query(parts.query)
    own = _sentinel_options(query) if way == "sentinel" else {}
    options = _userinfo(userinfo, query) | _checked(query, base)
    asked: dict[str, Any] = {}
    service = ""
    if base == "unix":
        if hosts or not path.strip("/"):
            raise _refused("names no socket: unix:///path/of/redis.sock")
        return RedisUrl(way, base, [], service, {"path": path, **options}, asked)
    nodes = [_node(host, None if way else PORT) for host in (hosts.split(",") if way else [hosts])]
    db = path.removeprefix("/").removesuffix("/")
    if way == "sentinel":
        service, _, db = db.partition("/")
        if not service:
            raise _refused("names no service: redis+sentinel://host:port,…/service")
        # What concerns the way there holds for both; a name and a password are for one only.
        shared = {key: value for key, value in options.items() if key.startswith(("ssl_", "socket_"))}
        asked = shared | _checked(own, base, prefix="sentinel_")
    if db:
        if "db" in options:
            raise _refused("option db: is there already, after the host")
        options["db"] = _option("db", _db, db)
    if way == "cluster" and options.pop("db", 0):
        raise _refused("option db: a Cluster has only one, 0")
    return RedisUrl(way, base, nodes, service, options, asked)


def _parts(url: str) -> Parts:
    if any(character <= " " for character in url):
        raise _refused("has a blank or a control character: write it as % and two digits")
    parts = Parts.of(url)
    if not parts.authority.isascii() and set("/?#@:") & set(_others_as_ascii(parts.authority)):
        raise _refused("has a character that stands for one of / ? # @ : and is not written as % and digits")
    if parts.scheme not in SCHEMES:
        raise _refused("must begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://")
    if "#" in url:
        raise _refused("has a # or an @ that is not written as %23 or %40")
    return parts


def _others_as_ascii(text: str) -> str:
    """What some programs take the characters for that are not ASCII (Unicode's NFKC)."""
    return unicodedata.normalize("NFKC", "".join(each for each in text if not each.isascii()))


# Checkers: text in, what redis-py takes out; ValueError says what would be right


def _text(value: str) -> str:
    return value


def _db(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise ValueError("must be the number of a database")
    return int(value)


def _client_name(value: str) -> str:
    if not all("!" <= character <= "~" for character in value):
        raise ValueError("must be ASCII without blanks")
    return value


def _one_of(choices: Mapping[str, Any]) -> Checker:
    def check(value: str) -> Any:
        if value not in choices:
            raise ValueError(f"must be {' or '.join(dict.fromkeys(choices))}")
        return choices[value]

    return check


_bool = _one_of({"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False})


def _authorities(value: str) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(value)
    except (OSError, ValueError):  # SSLError is an OSError
        raise ValueError("must be a readable file of certificates") from None
    return value


def _readable(value: str) -> str:
    try:
        with open(value, "rb"):
            return value
    except (OSError, ValueError):
        raise ValueError("must be a readable file") from None


def _ciphers(value: str) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(value)
    except ssl.SSLError:
        raise ValueError("must be a list of ciphers as OpenSSL writes it") from None
    return value


def _flags(value: str) -> list[ssl.VerifyFlags]:
    names = value.split(",")
    if not all(name in ssl.VerifyFlags.__members__ for name in names):
        raise ValueError("must be names of ssl.VerifyFlags with commas between")
    return [ssl.VerifyFlags[name] for name in names]


ANYWHERE: dict[str, Checker] = {
    "client_name": _client_name,
    "db": _db,
    "password": _text,
    "protocol": _one_of({"2": 2}),  # a third cheaper to read than RESP3 (measured)
    "username": _text,
}

TCP: dict[str, Checker] = {"socket_keepalive": _bool}

TLS: dict[str, Checker] = {
    "ssl_ca_certs": _authorities,
    "ssl_cert_reqs": _one_of({choice: choice for choice in ("required", "optional", "none")}),
    "ssl_certfile": _readable,
    "ssl_check_hostname": _bool,
    "ssl_ciphers": _ciphers,
    "ssl_keyfile": _readable,
    "ssl_min_version": _one_of({"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}),
}

_FLAGS: dict[str, Checker] = {"ssl_exclude_verify_flags": _flags, "ssl_include_verify_flags": _flags}
_HAS_FLAGS = redis.VERSION >= (7,)
if _HAS_FLAGS:
    TLS |= _FLAGS

OPTIONS: dict[str, dict[str, Checker]] = {
    "unix": ANYWHERE,
    "redis": ANYWHERE | TCP,
    "rediss": ANYWHERE | TCP | TLS,
}
"""Which options there are, by what the scheme begins with."""

_BYTES = "answers are read as bytes"
_BOUND = "RedisBackend(timeout=…) bounds every call as a whole"
_ONCE = "a command is never repeated behind your back"

REFUSED = {
    "credential_provider": "give RedisBackend(credentials=…)",
    "decode_responses": _BYTES,
    "encoding": _BYTES,
    "encoding_errors": _BYTES,
    "health_check_interval": "connections are checked before each use, and the listener by its own ticks",
    "host": "the host stands before the options",
    "max_connections": "there are at most 32 for each process, and more commands wait",
    "path": "the path stands before the options",
    "port": "the port stands before the options",
    "retry": _ONCE,
    "retry_on_error": _ONCE,
    "retry_on_timeout": _ONCE,
    "socket_connect_timeout": _BOUND,
    "socket_timeout": _BOUND,
    "ssl": "rediss:// is with TLS",
    "ssl_ca_data": "write the certificates to a file: ssl_ca_certs",
    "timeout": _BOUND,
    **dict.fromkeys(() if _HAS_FLAGS else _FLAGS, "needs redis-py 7 or later"),
}
"""What redis-py would take but would do harm here, and why."""


def _query(query: str) -> dict[str, str]:
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise _refused("has something after its ? that is no name=value") from None
    for number, (name, _) in enumerate(pairs):
        if name in (before for before, _ in pairs[:number]):
            raise _refused(f"{_named(name)}: is given twice")
    return dict(pairs)


def _sentinel_options(query: dict[str, str]) -> dict[str, str]:
    """Take the options for the sentinels themselves out of the query."""
    names = [name for name in query if name.startswith("sentinel_")]
    return {name.removeprefix("sentinel_"): query.pop(name) for name in names}


def _checked(query: Mapping[str, str], base: str, prefix: str = "") -> dict[str, Any]:
    known = {name: check for name, check in OPTIONS[base].items() if not (prefix and name == "db")}
    for name in query:
        if name in known:
            continue
        if name in REFUSED:
            why = REFUSED[name]
        elif name in TLS:
            why = "needs rediss:// in front"
        elif name in TCP:
            why = "is for TCP only"
        else:
            why = "is unknown; there are " + ", ".join(_told(known, prefix))
        raise _refused(f"{_named(prefix + name)}: {why}")
    options = {name: _option(prefix + name, known[name], value) for name, value in query.items()}
    _check_pair(options, prefix)
    return options


def _option(name: str, check: Checker, value: str) -> Any:
    if not value:
        raise _refused(f"option {name}: is empty")
    try:
        return check(value)
    except ValueError as error:
        raise _refused(f"option {name}: {error}") from None


def _check_pair(options: Mapping[str, Any], prefix: str) -> None:
    certificate, key = options.get("ssl_certfile"), options.get("ssl_keyfile")
    if certificate is None and key is None:
        return
    if certificate is None:
        raise _refused(f"option {prefix}ssl_keyfile: needs {prefix}ssl_certfile beside it")
    try:
        # An empty password, or OpenSSL would ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError):
        raise _refused(f"option {prefix}ssl_certfile: no certificate with its unencrypted key") from None


def _userinfo(userinfo: str, query: Mapping[str, str]) -> dict[str, str]:
    username, _, password = userinfo.partition(":")
    try:
        given = {
            name: unquote(value, errors="strict")
            for name, value in (("username", username), ("password", password))
            if value
        }
    except ValueError:
        raise _refused("has a user or password that is not UTF-8") from None
    for name in given:
        if name in query:
            raise _refused(f"option {name}: is there already, before the host")
    return given


def _node(text: str, default: int | None) -> Node:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if bracket else "?"
    else:
        host, _, port = text.partition(":")
    if not port and default is not None:
        port = str(default)
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65_536
    if not is_port or (not host and default is None):
        why = "needs host:port" if default is not None else "needs host:port, or several with commas between"
        raise _refused(why)
    return unquote(host) or "localhost", int(port)


def _named(name: str) -> str:
    """An option's name, unless what was taken for one may be part of a password."""
    return f"option {name}" if re.fullmatch(r"[a-z_]{1,40}", name) else "an option"


def _told(names: Iterable[str], prefix: str) -> list[str]:
    return [prefix + name for name in sorted(names)]


def _refused(why: str) -> ConfigError:
    return ConfigError("backend", why, secret=True)
