"""Where clients come from: addresses of the loopback network, so that every cap stays as it is shipped."""

from __future__ import annotations

PER_SOURCE = 50
"""Streams from one address: below the caps of the shipped configurations and of the app."""


def source(number: int) -> str:
    """The address that a stream comes from, in 127.1.0.0 and above: every visitor has its own."""
    place = number // PER_SOURCE
    return f"127.{1 + place // 62_500}.{place // 250 % 250}.{1 + place % 250}"
