"""Sessions that Django keeps somewhere, asked of its own engine, and of ``django.contrib.auth``.

Django is imported when this is used, and by name: its types come with it or not.
"""

from __future__ import annotations

import re
from importlib import import_module
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ..cookies import COOKIE_NAME, WHY_NAME
from ..settings import matching

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...asgi import Headers, Request
    from ...identity import Identity
    from ..claims import Claims
    from .signed import SignedSessions

_KEY = re.compile(r"[!-~]{8,255}")  # what Django takes for a key at all, and no database for too long
_MOST = 4  # cookies of one name that are looked up
_SIGNED_COOKIES = "django.contrib.sessions.backends.signed_cookies"
_JSON = "django.contrib.sessions.serializers.JSONSerializer"


class Project:
    """What of Django's settings matters here.  Raises ConfigError where there are none that can be used."""

    def __init__(self) -> None:
        try:
            settings = import_module("django.conf").settings
            self.cookie: str = settings.SESSION_COOKIE_NAME
            engine: str = settings.SESSION_ENGINE
            self.store: Any = import_module(engine).SessionStore
            self.signs = engine == _SIGNED_COOKIES
            self.secrets = (
                [*reversed(settings.SECRET_KEY_FALLBACKS), settings.SECRET_KEY] if self.signs else []
            )
        except ImportError as error:
            raise ConfigError("secret", f"without one Django is asked, and {error}") from error
        except import_module("django.core.exceptions").ImproperlyConfigured as error:
            raise ConfigError("secret", f"without one Django is asked, which says: {error}") from error
        apps = import_module("django.apps").apps
        if not apps.ready:
            why = "without one Django is asked, which is not set up yet: call get_asgi_application() before"
            raise ConfigError("secret", why)
        self.age: float = settings.SESSION_COOKIE_AGE
        if self.signs and settings.SESSION_SERIALIZER != _JSON:
            raise ConfigError("SESSION_SERIALIZER", f"must be {_JSON}", settings.SESSION_SERIALIZER)
        self.signs_in: bool = apps.is_installed("django.contrib.auth")

    def knows(self, said: Mapping[str, Any]) -> bool:
        """Whether whom ``login`` put into a session is still one whom Django lets in."""
        if not self.signs_in or "_auth_user_id" not in said:
            return True
        auth = import_module("django.contrib.auth")
        return bool(auth.get_user(_Asking(said)).is_authenticated)

    def sign_in(self, session: Any, user: str) -> None:
        """Put a user into a session, as ``login`` does."""
        auth = import_module("django.contrib.auth")
        request = import_module("django.http").HttpRequest()
        request.session = session
        found = auth.get_user_model()._default_manager.get(pk=user)
        auth.login(request, found, import_module("django.conf").settings.AUTHENTICATION_BACKENDS[0])


class _Asking:
    """A request with a session that may be looked at, and never is saved."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.session = _Copy(said)


class _Copy(dict[str, Any]):
    def cycle_key(self) -> None:
        """For one whose secret was rotated, the next request to Django itself does it."""

    def flush(self) -> None:
        """So for one whose password was changed."""


class EngineSessions:
    """Sessions in cookies called ``name`` that a project's engine keeps, or reads from ``signed`` cookies.

    Of several cookies the last counts that is somebody's, as it does there.  Raises ConfigError.
    """

    def __init__(
        self, project: Project, claims: Claims, name: str, max_age: float, signed: SignedSessions | None
    ) -> None:
        if claims.user == "_auth_user_id" and not project.signs_in:
            raise ConfigError("user", "django.contrib.auth is not in INSTALLED_APPS", claims.user)
        self.max_age: float | None = max_age
        self._project = project
        self._claims = claims
        self.name = matching("name", name, COOKIE_NAME, WHY_NAME)
        self._signed = signed

    def identify(self, request: Request, now: float) -> Identity | None:
        """Who the session says, if Django still lets them in; on the connections of the thread that asks."""
        values = [value for value in dict.fromkeys(request.cookies(self.name)) if value]
        if self._signed is not None:
            return self._in_cookie(request, now) if values else None
        for value in values[: -_MOST - 1 : -1]:
            identity = self._kept(value) if _KEY.fullmatch(value) else None
            if identity is not None:
                return identity
        return None

    def _kept(self, key: str) -> Identity | None:
        store = self._project.store(key)
        said = dict(store.items())
        if not said or not self._project.knows(said):
            return None
        return self._claims.identity(said, _end(store), session=key)

    def _in_cookie(self, request: Request, now: float) -> Identity | None:
        assert self._signed is not None
        value, identity = self._signed.newest(request, now)
        if identity is None or not self._project.knows(self._signed.read(value)[2]):
            return None
        return identity

    def session_name(self, session: Any) -> str | None:
        """What a session is called: what it says itself, or its key where that is the same each time."""
        key = None if self._signed is not None else session.session_key
        return self._claims.session(session) or key

    def headers_for(self, user: str, channels: Sequence[str] = ()) -> Headers:
        """A request's headers with a new session of ``user``; raises what Django does for nobody's."""
        said = self._claims.said(user, token_urlsafe(16), channels)
        store = self._project.store()
        if said.pop("_auth_user_id", None) is not None:
            self._project.sign_in(store, user)
        store.update(said)
        store.save()
        return [(b"cookie", f"{self.name}={store.session_key}".encode())]


def _end(store: Any) -> float:
    """When a session ends, in Unix seconds: as its table says, or counted from now where there is none."""
    if hasattr(store, "get_model_class"):
        rows = store.model.objects.filter(session_key=store.session_key)
        ends = rows.values_list("expire_date", flat=True).first()
        if ends is not None:
            return float(ends.timestamp())
    return float(store.get_expiry_date().timestamp())
