"""Upstreams that are given by name: nginx asks for their addresses again while it runs."""

from __future__ import annotations

import re

from ..errors import ConfigError

RESOLVE = (1, 27, 3)
"""The nginx from which on a server of an upstream may say ``resolve``; before, the commercial one alone."""

_RESOLVER = re.compile(r"^(?P<indent> *)# resolver \S+ (?P<valid>valid=\S+;)$", re.MULTILINE)
_SERVER = re.compile(r"^(?P<server> *server \S+)(?P<rest> max_fails=)", re.MULTILINE)
_NAME_SERVER = re.compile(r"[\w.:\[\]-]+")


def resolving(text: str, resolver: str | None) -> str:
    """An ``nginx.conf`` that asks ``resolver`` (host, host:port) again and again for its upstreams' names.

    Without one the text as it is.  Raises ConfigError for what is no name server.
    """
    if resolver is None:
        return text
    if not _NAME_SERVER.fullmatch(resolver):
        raise ConfigError("resolver", "must be a name server's host or host:port", resolver)
    text = _RESOLVER.sub(rf"\g<indent>resolver {resolver} \g<valid>", text)
    return _SERVER.sub(r"\g<server> resolve\g<rest>", text)
