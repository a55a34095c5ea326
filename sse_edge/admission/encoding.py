"""Which content coding a client takes."""

from __future__ import annotations

import re
from collections.abc import Iterable

_REFUSED = re.compile(r"q\s*=\s*0(\.0{0,3})?")


def takes_gzip(accepted: Iterable[str]) -> bool:
    """Whether a client with these Accept-Encoding headers takes gzip (RFC 9110, section 12.5.3).

    One that sends none would have to take anything; it is spared, as by every server.
    """
    said: dict[str, bool] = {}
    for header in accepted:
        for coding in header.lower().split(","):
            name, *parameters = coding.split(";")
            said[name.strip(" \t")] = not any(_REFUSED.fullmatch(each.strip(" \t")) for each in parameters)
    for name in ("gzip", "x-gzip", "*"):
        if name in said:
            return said[name]
    return False
