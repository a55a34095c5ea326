"""What a message may repeat of what was given: no password and no token, wherever it stands."""

from __future__ import annotations

import re

HIDDEN = "***"

LONGEST = 1000
"""Characters that are looked at and repeated at most: what is longer may be a client's, and takes time."""

_SECRETS = (
    *("auth", "authorization", "bearer", "jwt", "token", "credential", "credentials", "secret", "secrets"),
    *("password", "passwords", "passwd", "passphrase", "pwd", "cookie", "cookies"),
    *("session", "session-id", "session-key"),
    *("api-key", "access-key", "private-key", "secret-key", "signing-key", "encryption-key"),
)
"""What names of secrets end with, in capitals or not, and with - or _ or nothing between their parts."""

_ALONE = ("pass", "sid")
"""What is a secret's whole name, and the end of many others."""

_ENDS = tuple(each.replace("-", "") for each in _SECRETS)
_NAME = "(?:{}|(?<![a-z])(?:{}))".format(
    "|".join(each.replace("-", "[-_]?") for each in _SECRETS), "|".join(_ALONE)
)
_SWITCH = r"(?!(?:true|false|none)\b|…|\.\.\.)"  # is no secret: weak_secret=True, auth=…
_NAMED = re.compile(rf"""({_NAME}["']?\s*=\s*|{_NAME}["']\s*:\s*){_SWITCH}\S.*""", re.IGNORECASE | re.DOTALL)
_SCHEME = re.compile(r"(?<![a-z0-9+.-])[a-z0-9+.-]+:/{1,3}|//", re.IGNORECASE)
_ENCODED = re.compile(
    r"(?<![a-z0-9+.-])([a-z0-9+.-]+)(?::(?=/?%)|%(?:25)*3a)(?:/|%(?:25)*2f){1,2}.*", re.IGNORECASE | re.DOTALL
)
_CREDENTIALS = re.compile(
    r"""((?<![a-z0-9+.-])[a-z0-9+.-]++://)([^\s/?#@:"<>]*+)(:?)[^\s/?#"<>]*@""", re.IGNORECASE
)
_BEFORE_AT = re.compile(r"(?<!\S)\S+@")
_USER_COLON = re.compile(r"""(?:^|['"(\[{,=])[\w.~+-]*:(?=[^@])""")
_USERINFO = re.compile(r"(.*\S)@", re.DOTALL)
_USER = re.compile(r"[\w.~-]*(?=:)", re.ASCII)
_QUERY = re.compile(r"""\?(?!\*\*\*)[^\s'"]+""")


def is_secret(field: str) -> bool:
    """Whether a field of this name holds a secret: ``auth``, ``sentinel_password``, ``X-API-Key``."""
    name = re.sub("[^a-z]", "", field.lower())
    return name.endswith(_ENDS) or name in _ALONE


def without_credentials(text: str) -> str:
    """The text with ``***`` for the passwords of the URLs in it, as URLs have them, and for users without
    one, which are tokens; all else of it stays, however long it is."""
    return _CREDENTIALS.sub(_uncredited, text) if "://" in text else text


def _uncredited(found: re.Match[str]) -> str:
    scheme, user, colon = found.groups()
    return f"{scheme}{user}:{HIDDEN}@" if colon and user else f"{scheme}{HIDDEN}@"


def redacted(text: str) -> str:
    """The text with what may be a secret in it replaced by ``***``.

    Of a URL the scheme, the user before a colon, the host and the path stay; the query goes as a whole,
    because anything may be in it.  Where it is not certain what is the password, nothing after the scheme
    stays.  What is redacted already stays as it is.
    """
    if len(text) > LONGEST:
        # Whether there is an @, and so a password before it, is beyond the end: as if there were.
        return redacted(text[: LONGEST - 4] + "@").removesuffix("@") + "..."
    scheme = _SCHEME.search(text)
    if scheme is not None:
        text = _redacted(text[: scheme.start()]) + scheme[0] + _without_userinfo(text[scheme.end() :])
        return _QUERY.sub(f"?{HIDDEN}", text)
    return _redacted(text)


def _redacted(text: str) -> str:
    """What is no URL as it should be written."""
    text = _ENCODED.sub(rf"\1:{HIDDEN}", text)
    return _BEFORE_AT.sub(_without_password, _NAMED.sub(rf"\g<1>{HIDDEN}", text))


def _without_password(found: re.Match[str]) -> str:
    user = _USER_COLON.search(found[0])
    return found[0] if user is None else f"{found[0][: user.end()]}{HIDDEN}@"


def _without_userinfo(rest: str) -> str:
    """What follows a scheme.  A password that was not written as in a URL may hold anything, so that only
    the last @ ends it."""
    found = _USERINFO.match(rest)
    if found is None:
        return _redacted(rest)
    if re.search(r"[/?#]", found[1]):
        return HIDDEN
    user = _USER.match(found[1])
    return f"{user[0]}:{HIDDEN}@{rest[found.end() :]}" if user else f"{HIDDEN}@{rest[found.end() :]}"
