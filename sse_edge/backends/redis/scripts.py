"""The Lua scripts, by name."""

from __future__ import annotations

import re
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

_CALLED = re.compile(r"redis\.p?call\('([A-Z]+)'")


class Script(NamedTuple):
    """A script's text and the hash by which Redis knows it."""

    text: str
    hash: str

    @property
    def commands(self) -> list[str]:
        """The commands that it calls by their names."""
        return sorted(set(_CALLED.findall(self.text)))


def _load(*names: str) -> Script:
    folder = files(__package__)
    text = "\n".join(folder.joinpath(name).read_text() for name in names)
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


PUBLISH = _load("clock.lua", "agreed.lua", "publish.lua")
READ = _load("clock.lua", "dataset.lua", "judge.lua", "read.lua")
TICK = _load("clock.lua", "dataset.lua", "judge.lua", "tick.lua")
ANNOUNCE = _load("clock.lua", "agreed.lua", "announce.lua")
DECLARE = _load("clock.lua", "dataset.lua", "judge.lua", "declare.lua")
BEGIN = _load("clock.lua", "writers.lua", "begin.lua")
RENEW = _load("clock.lua", "writers.lua", "renew.lua")
STOP = _load("clock.lua", "writers.lua", "stop.lua")
EXPIRED = _load("clock.lua", "writers.lua", "expired.lua")
PERMITTED = _load("permitted.lua")
LEASES = _load("hit.lua", "leases.lua")
WINDOWS = _load("hit.lua", "windows.lua")
REVOKE = _load("lives.lua", "revoke.lua")
REVOKED = _load("lives.lua", "revoked.lua")
REPORT = _load("report.lua")
COUNT = _load("count.lua")
REPORTS = _load("reports.lua")
