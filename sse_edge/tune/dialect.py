"""``nginx.conf`` as one version of nginx wants it said.

The shipped file is said so that every version from 1.22 on takes it.  Newer ones warn of what they call
otherwise by now.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from ..errors import ConfigError

OLDEST = (1, 22, 0)
"""What the shipped file is written for: Debian 12 has it."""

HTTP2 = (1, 25, 1)
"""From here on ``http2`` is a directive, and warned of as a parameter of ``listen``."""

Version = tuple[int, int, int]

_OLD = re.compile(r"^( +listen .* ssl) http2\b", re.MULTILINE)
_NEW = re.compile(r"^( +)# (http2 on;)$", re.MULTILINE)


def version(text: str) -> Version:
    """``1.30`` or ``1.30.6``.  Raises ConfigError for what is no version, and for one older than OLDEST."""
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text)
    if match is None:
        raise ConfigError("nginx", "must be a version, such as 1.30.6", text)
    found = (int(match[1]), int(match[2]), int(match[3] or 0))
    if found < OLDEST:
        raise ConfigError("nginx", f"must be {said(OLDEST)} or later, for which the file is written", text)
    return found


def said(found: Version) -> str:
    """``1.30.6``."""
    return ".".join(map(str, found))


def installed() -> str | None:
    """The version of the nginx that is installed here; None where there is none, or none that says it."""
    # Debian has it in /usr/sbin, which is not on everybody's PATH.
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - found on the path, and told nothing of anybody's
            [program, "-v"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^nginx version: [^/\s]+/(\d+\.\d+\.\d+)", done.stderr, re.MULTILINE)
    return match and match[1]


def spoken(text: str, reader: Version | None) -> str:
    """The file for one version, or for every one where that is None.

    Raises ConfigError where the file has not what is to be said otherwise.
    """
    if reader is None or reader < HTTP2:
        return text
    text, old = _OLD.subn(r"\1", text)
    text, new = _NEW.subn(r"\1\2", text)
    if not old or new != 1:
        raise ConfigError("nginx.conf", "must say http2 with listen, and have a line that says # http2 on;")
    return text
