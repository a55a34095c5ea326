"""What no program of the tests may write: their secrets, cookies, tokens, and what was published."""

import base64
import re
from urllib.parse import quote, quote_plus

MARK = "m4rk7f3a9c"
"""A part of every secret, token and payload of the tests that is to be looked for; nothing else has it."""

SECRETS = ("a secret of the tests", "for-redis", "for-sentinels", "s3cret", "hunter2", MARK)
"""What the tests sign with, authenticate with and publish where it could be repeated."""

_COOKIE = re.compile(rb"[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{5,6}\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")


def spellings(secret):
    """A secret as it may stand in a text: as it is, as in a URL, in base64, in hexadecimal digits."""
    raw = secret.encode()
    found = {raw, quote(secret, safe="").encode(), quote_plus(secret).encode(), raw.hex().encode()}
    for before in range(3):
        # Where it begins within a group of three bytes decides its letters; those at its ends it shares.
        text = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
        whole = text[-(-before * 4 // 3) : len(text) - (len(raw) + before) % 3]
        found |= {whole, whole.replace(b"+", b"-").replace(b"/", b"_")}
    return found


_SPELLINGS = {secret: spellings(secret) for secret in SECRETS}


def leaks(text, secrets=()):
    """What is secret in ``text``, bytes or str: the ``SECRETS``, more of them, and signed cookies."""
    if isinstance(text, str):
        text = text.encode(errors="replace")
    known = _SPELLINGS | {secret: spellings(secret) for secret in secrets}
    found = [secret for secret, ways in known.items() if any(way in text for way in ways)]
    return found + [match[0].decode() for match in _COOKIE.finditer(text)]
