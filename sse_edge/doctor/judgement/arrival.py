"""How requests arrive in the app, by what it says itself: see ``admission.arrival``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from ...admission.address import UNIX
from ...admission.arrival import NAME
from ..finding import Finding, found, ok, unknown
from ..wire import Answer
from . import verdict

UNTOLD = "give --secret: the app tells nobody but the doctor's own user"

PLAIN = ("127.0.0.1", "::1")
"""Loopback addresses that programs have who choose none."""

Told = Mapping[str, Any]

_TEXTS = ("address", "peer", "forwarded", "http")
_KINDS = {**dict.fromkeys(_TEXTS, str), "pid": int, "present": int, "now": float}


def read(seen: Answer) -> Told:
    """What an answer says of it; nothing where it says nothing."""
    try:
        told = json.loads(seen.header(NAME.decode()))
    except ValueError:
        return {}
    known = isinstance(told, dict) and all(isinstance(told.get(key), kind) for key, kind in _KINDS.items())
    return told if known and _is_counted(told["address"]) and math.isfinite(told["now"]) else {}


def untold(reply: Answer, *, signed: bool) -> str:
    """Why an answer says nothing of it; ``signed``: whether it was asked for as the doctor's own user."""
    if not signed:
        return UNTOLD
    if reply.status != 200:
        return verdict.neither(reply)
    return "the app knows no user by this cookie (Anonymous), or something in front takes Edge-Arrival away"


def address(  # noqa: PLR0911 - one return for each way to tell
    told: Told, source: str, why: str = UNTOLD
) -> Finding:
    """Whose address the app counts.  ``source`` is that of our end of the connection, which a NAT may change,
    and which others have too if it is plain loopback; ``why`` the app tells nothing, if it does not.
    """
    if not told:
        return unknown("address", why)
    counted = told["address"]
    hops = [hop.strip() for hop in told["forwarded"].split(",") if hop.strip()]
    if _is(source, counted) and source not in PLAIN:
        return ok("address", f"the app counts {counted}, which asked")
    before = _before(counted, hops)
    if before:
        seen = f"the app counts {counted}, which says that it asks for {before[-1]}"
        return found("address", "proxy-not-trusted", seen)
    if counted == UNIX or _cannot_be(counted, source):
        code = "proxy-not-trusted" if hops else "address-hidden"
        return found("address", code, f"the app counts {counted}, and {source} has asked")
    if source in PLAIN:
        return unknown("address", f"the app counts {counted}: whose that is shows from another machine")
    if ip_network(counted, strict=False).is_global:
        return ok("address", f"the app counts {counted}, as {source} is called behind a NAT")
    return unknown("address", f"the app counts {counted}, and {source} has asked: is there a NAT between?")


def http(told: Told, why: str = UNTOLD) -> Finding:
    """In which HTTP a request reached the app; ``why`` as above."""
    if not told:
        return unknown("to the app", why)
    version = told["http"]
    if version == "1.0":
        return found("to the app", "http10", "HTTP/1.0")
    return ok("to the app", f"HTTP/{version}")


def leaving(
    pid: int | None, left: Mapping[int, int], seconds: float, why: str = UNTOLD, *, soon: float = 3.0
) -> Finding:
    """``left``: how many streams of ours each worker has, by what it said last; ``pid`` had one, which we
    closed ``seconds`` ago.  More than ``soon`` it takes who looks for a client only to write to it.
    """
    if pid is None:
        return unknown("leaving", why)
    if pid not in left:
        return unknown("leaving", f"the worker that had it did not answer again, but {len(left)} others")
    if left[pid]:
        return found("leaving", "client-stays", f"{left[pid]} open {seconds:.0f} s after all have left")
    if seconds > soon:
        return found("leaving", "leaves-late", f"gone in the app after {seconds:.0f} s")
    return ok("leaving", "a client that leaves is gone in the app")


def replay(one: Answer, other: Answer, *, signed: bool = False) -> Finding:
    """Two answers to the same question, in which the app says when each was made."""
    answers = [each.header(NAME.decode()) for each in (one, other)]
    if not all(answers):
        why = untold(one, signed=signed) if one.status == 200 else f"a poll gets status {one.status}"
        return unknown("replay", why)
    if answers[0] == answers[1]:
        return found("replay", "cached", "a second request got the answer to the first")
    return ok("replay", "two requests, two answers")


def _before(counted: str, hops: list[str]) -> list[str]:
    """The hops that whoever is counted asked for: all, if it is none of them itself."""
    known = [number for number, hop in enumerate(hops) if _is(hop, counted)]
    return hops[: known[-1]] if known else hops


def _is_counted(address: str) -> bool:
    """Whether it is one that an app may count: an address, a network, or a Unix socket."""
    try:
        return address == UNIX or bool(ip_network(address, strict=False))
    except ValueError:
        return False


def _is(address: str, key: str) -> bool:
    """Whether an address is counted as ``key``: itself, or the network that it is in."""
    try:
        return ip_address(address) in ip_network(key, strict=False)
    except ValueError:
        return address == key


def _cannot_be(counted: str, source: str) -> bool:
    """Whether no NAT makes ``counted`` of ``source``: it is some proxy's."""
    theirs, ours = ip_network(counted, strict=False), ip_address(source)
    if ours.version != theirs.version or source in PLAIN:
        return theirs.is_loopback and not ours.is_loopback
    # Docker, for one, has its gateway ask for who comes by loopback.
    return theirs.is_loopback or (ours.is_global and not ours.is_loopback)
