"""Which secrets are worth signing with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from ..errors import ConfigError
from .settings import flag

Secret = str | bytes | Sequence[str | bytes]
"""One secret, or several from oldest to newest: all of them verify and the newest signs."""

SHORTEST = 16
"""Bytes: shorter ones are found by trying, from one cookie and without asking the server."""

_HOW = "make one with openssl rand -hex 32 (weak_secret=True lets any pass)"

_PUBLISHED = frozenset(
    {
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",  # Flask's documentation
        '_5#y2l"f4q8z\n\xec]/',
        "a0zr98j/3yx r~xhh!jmn]lwx/,?rt",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's
        "61oetzkxqagaydkl5gemgejjfuyh7eqnp2xdtp1o/vo=",  # Tornado's
        "c292a0a3aa32397cdb050e233733900f",  # Redash's default
        "\x02\x01thisismyscretkey\x01\x02\\e\\y\\y\\h",  # Superset's
    }
)
"""In lower case.  Lists like this one are what forged cookies are tried with first."""

_WORDS = (
    "a abc admin always an and any app application asdf asdfghjkl at auth bar be bit bits byte bytes cat "
    "change changed changeit changeme changethis character characters chars complex cookie default demo "
    "dev development django do dont edge env example fallback fastapi fill fixme flask foo for generate "
    "generated hard here hmac in insecure insert is it its jwt keep key keyboard least letmein local "
    "localhost long me min my mysecret new non not old one only or our out own pass passphrase password "
    "phrase placeholder please prod production put qwerty qwertyuiop random randomly real replace reset "
    "root safe sample secret secure session set sha should sign signed signing something sse starlette "
    "string strong super temp temporary test testing text that the this to todo token top trying unsafe "
    "use user value very weak with word you your zxcvbnm"
)
"""What placeholders are made of."""

_PLACEHOLDER = re.compile(rf"(?>{'|'.join(sorted(_WORDS.split(), key=len, reverse=True))}|[^a-z])*+")
_DIGIT = re.compile(r"[0-9]")


def checked(secret: object, *, weak: object = False, field: str = "secret", how: str = _HOW) -> list[bytes]:
    """The secrets as bytes, oldest first; ``field`` is what they are called, and ``how`` they are made.

    Raises ConfigError, which never shows one, for what is no secret, and unless ``weak`` for those that are
    shorter than ``SHORTEST``, published, or made of a placeholder's words or of a pattern.
    """
    flag("weak_secret", weak)
    keys = [secret] if isinstance(secret, str | bytes) else secret
    if not isinstance(keys, list | tuple) or not keys:
        raise ConfigError(
            field,
            f"must be text or bytes, or a list of them from oldest to newest, not {type(keys).__name__}",
            secret=True,
        )
    made = []
    for number, key in enumerate(keys, 1):
        which = f"number {number} of {len(keys)} (oldest first) " if len(keys) > 1 else ""
        if not isinstance(key, str | bytes) or not key.strip():
            raise ConfigError(field, f"{which}must be non-empty text or bytes", secret=True)
        made.append(key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key)
        why = None if weak else weakness(made[-1])
        if why:
            raise ConfigError(field, f"{which}{why}; {how}", secret=True)
    return made


def weakness(secret: bytes) -> str | None:
    """What makes a secret one that others know or can find; None if nothing does."""
    text = secret.decode("latin-1").lower()
    if len(secret) < SHORTEST:
        return f"has fewer than {SHORTEST} bytes"
    if text.startswith("django-insecure-"):
        return "is one that Django made for development"
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    if len(steps) <= 3 or (text + text).index(text, 1) < min(len(text), SHORTEST):
        return "is a sequence or a repetition"
    # A few digits are no chance either: dev-secret-2024.
    words = text.isascii() and text.isprintable() and len(_DIGIT.findall(text)) < SHORTEST / 2
    if text in _PUBLISHED or (words and _PLACEHOLDER.fullmatch(text)):
        return "is a placeholder, or from somebody's documentation"
    return None
