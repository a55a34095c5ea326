"""Django's sessions: in signed cookies, read without Django, or wherever its settings say that they are."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from hashlib import sha256
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

from itsdangerous import Signer

from ..authenticator import Scoped, quick
from ..claims import Claims, Entry
from ..secret import Secret, checked
from ..settings import Age, seconds
from .engine import EngineSessions, Project
from .signed import Format, SignedSessions, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...asgi import Headers, Request
    from ...identity import Identity

USER = "_auth_user_id"
"""What ``django.contrib.auth.login`` puts into a session."""

VALUE = "value"
"""What a signed cookie holds that is no JSON."""

_EXPIRY = "_session_expiry"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_AGE = 14 * 86400
_ESCAPE = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")


def _time(stamp: bytes) -> int:
    number = 0
    for digit in stamp.decode():
        number = number * 62 + _DIGITS.index(digit)
    return number


def _stamp(issued: int) -> bytes:
    text = ""
    while issued:
        issued, digit = divmod(issued, 62)
        text = _DIGITS[digit] + text
    return text.encode()


def _signer(secret: bytes, salt: str) -> Signer:
    return Signer(secret, salt, key_derivation="django-concat", digest_method=sha256)


FORMAT = Format(
    separator=":",
    signers=lambda secret: [_signer(secret, "django.contrib.sessions.backends.signed_cookies")],
    read=lambda content: json.loads(unpacked(content).decode("latin-1")),
    write=lambda said: packed(json.dumps(said, separators=(",", ":")).encode()),
    time=_time,
    stamp=_stamp,
)


def ends(said: Mapping[str, Any], issued: int) -> float:
    """When a session ends by its ``set_expiry``, which Django itself leaves to browsers here."""
    expiry = said.get(_EXPIRY)
    if not expiry:
        return float("inf")
    if not isinstance(expiry, str):
        return issued + float(expiry)
    when = datetime.fromisoformat(expiry)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


class DjangoSession(Scoped):
    """Sessions of Django.

    Without ``secret`` by Django's settings, once it is set up: engine, cookie, age and secrets are theirs.
    Django is asked for each new stream, in a thread, and whom ``django.contrib.auth`` would not let in any
    more gets none: after logout, a changed password, or ``is_active=False``.  Streams that are open go on:
    ``events.disconnect(user=str(pk))`` ends them.

    With ``secret``, Django's ``SECRET_KEY`` or a list from oldest to newest
    (``[*reversed(SECRET_KEY_FALLBACKS), SECRET_KEY]``), sessions of the engine ``signed_cookies`` alone,
    without Django: for an edge that stands beside it.  ``name`` and ``max_age`` are its
    ``SESSION_COOKIE_NAME`` and ``SESSION_COOKIE_AGE``.

    ``user`` is the entry of the session that names the user: its key, or a function of the session.
    ``session`` is the one that names the sign-in, without which no session can be revoked: by default the
    session's key, and in signed cookies ``sid``, which the app has to put there.
    ``channels`` is one with a list of patterns that may be read, as in SignedCookie's.  Raises ConfigError.
    """

    anonymous = False

    def __init__(
        self,
        secret: Secret | None = None,
        user: Entry = USER,
        *,
        session: Entry | None = None,
        channels: Entry | None = None,
        name: str | None = None,
        max_age: Age | None = None,
        weak_secret: bool = False,
    ) -> None:
        project = Project() if secret is None else None
        kept = project is not None and not project.signs
        named: Entry | tuple[str, ...] = (() if kept else "sid") if session is None else session
        claims = Claims(user, named, channels)
        usual = ("sessionid", _AGE) if project is None else (project.cookie, project.age)
        name = usual[0] if name is None else name
        age = seconds("max_age", usual[1] if max_age is None else max_age)

        def signed(secrets: object) -> SignedSessions:
            keys = checked(secrets, weak=weak_secret)
            return SignedSessions(FORMAT, keys, claims, name, age, ends=ends)

        self.blocking = project is not None
        self._kept: SignedSessions | EngineSessions
        if project is None:
            self._kept = signed(secret)
        else:
            inside = signed(project.secrets) if project.signs else None
            self._kept = EngineSessions(project, claims, name, age, inside)

    @property
    def max_age(self) -> float | None:
        """Seconds for which a session lives."""
        return self._kept.max_age

    @quick
    def identify(self, request: Request, now: float) -> Identity | None:
        """Who the session says; by Django's settings, to be asked in a thread."""
        return self._kept.identify(request, now)

    def session_name(self, session: Any) -> str | None:
        """What ``events.revoke`` takes for ``request.session``, whatever engine keeps it.

        None for one without a name: of signed cookies and without ``sid``, or that has never been saved.
        """
        return self._kept.session_name(session)

    def headers_for(self, user: str, channels: Sequence[str] = ()) -> Headers:
        """A request's headers with a new session of ``user``; by Django's settings that of a user who exists.

        Raises ConfigError where it cannot be made: user, or channels, are read by a function.
        """
        return self._kept.headers_for(user, channels)


class DjangoCookie(SignedSessions):
    """Cookies that a view of Django's has set by ``response.set_signed_cookie(name, value, salt)``.

    For an edge that stands beside a Django whose sessions are in its database.  The value is the user, or
    JSON with entries of which ``user``, ``session`` and ``channels`` are read, as of a session.  ``secret``
    is Django's ``SECRET_KEY``, or a list from oldest to newest.  Raises ConfigError.

    Since 5.2.19 Django signs name and salt so that no other pair is taken for them; what was signed before is
    valid, too, unless ``legacy_salt`` is False, as with Django's ``SIGNED_COOKIE_LEGACY_SALT_FALLBACK``.
    """

    def __init__(
        self,
        secret: Secret,
        name: str,
        user: Entry = VALUE,
        *,
        salt: str = "",
        session: Entry = "sid",
        channels: Entry | None = None,
        max_age: Age = _AGE,
        legacy_salt: bool = True,
        weak_secret: bool = False,
    ) -> None:
        keys = checked(secret, weak=weak_secret)
        salts = [f"django.http.cookies.v2:{len(salt)}:{salt}{name}", *[name + salt] * bool(legacy_salt)]
        form = Format(
            separator=":",
            signers=lambda key: [_signer(b"django.http.cookies" + key, salt) for salt in salts],
            read=_plain,
            write=_plainly,
            time=_time,
            stamp=_stamp,
            quote=lambda value: SimpleCookie().value_encode(value)[1],
            unquote=_unquoted,
        )
        super().__init__(form, keys, Claims(user, session, channels), name, seconds("max_age", max_age))


def _plain(content: bytes) -> object:
    text = content.decode()
    return json.loads(text) if text.startswith("{") else {VALUE: text}


def _plainly(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said).encode()


def _unquoted(value: str) -> str:
    """As ``http.cookies`` does, and so Django, in linear time on every Python."""
    if len(value) < 2 or not value[0] == value[-1] == '"':
        return value
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], value[1:-1])
