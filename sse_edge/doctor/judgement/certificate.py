"""Who vouches for the server, and for how long."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from ..finding import Finding, found, ok

CHECK = "certificate"

# OpenSSL's x509_vfy.h.
EARLY, EXPIRED = 9, 10
NAMES = {62: "certificate-name", 64: "certificate-name"}

SHARE = 0.1
"""Of a certificate's life, of which less is left where it is not renewed: ACME clients do at a third."""


def refused(code: int, why: str, name: str) -> Finding:
    """A certificate that OpenSSL does not take for ``name``'s: its code, and its words."""
    known = {EARLY: "certificate-early", EXPIRED: "certificate-expired", **NAMES}
    return found(CHECK, known.get(code, "certificate-unknown"), f"for {name}: {why}")


def life(certificate: Mapping[str, Any], now: float) -> Finding:
    """One that it takes, at Unix time ``now``."""
    begins, ends = (ssl.cert_time_to_seconds(certificate[key]) for key in ("notBefore", "notAfter"))
    left = ends - now
    said = f"{left / 86400:.0f} days" if left > 2 * 86400 else f"{left / 3600:.0f} hours"
    if left < SHARE * (ends - begins):
        return found(CHECK, "certificate-ends", f"it ends in {said}")
    return ok(CHECK, f"good for {said}")
