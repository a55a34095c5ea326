"""Authenticators for tokens that another has signed."""

from .admission.bearer.authenticator import BearerJWT

__all__ = ["BearerJWT"]
