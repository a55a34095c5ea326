"""Authenticators for the sessions of frameworks."""

from .admission.sessions.django import DjangoCookie, DjangoSession
from .admission.sessions.flask import FlaskSession
from .admission.sessions.starlette import StarletteSession

__all__ = ["DjangoCookie", "DjangoSession", "FlaskSession", "StarletteSession"]
