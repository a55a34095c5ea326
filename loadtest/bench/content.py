"""What the events say: plain filler of one size, and the two kinds that compression is measured with."""

import json
from collections.abc import Callable

from ..client.counting import MARK

WIRE = 150  # bytes of one event of ``text`` on the wire, framing and id included
ORDERS = 50  # orders whose cards change in turn

Content = Callable[[int, int], str]
"""An event's data by its number, and by the bytes that are around it on the wire; ``MARK`` is in it once."""


def text(number: int, overhead: int) -> str:
    """As many bytes as make ``WIRE`` with what is around them."""
    head = f"event {number} "
    return head + "x" * (WIRE - overhead - len(head) - len(MARK)) + MARK.decode()


def card(number: int, overhead: int) -> str:
    """A piece of a page as htmx or Turbo swap it in: one order of many, about 400 bytes."""
    order = number * 17 % ORDERS
    state = ("received", "packed", "on its way", "delivered")[number // ORDERS % 4]
    minutes, euros = number * 7 % 60, 20 + order * 37 % 180
    return (
        f'<article id="order-{1000 + order}" class="card card-compact border shadow-sm" data-state="{state}">'
        f'<header class="card-header"><h3 class="card-title">Order {1000 + order}</h3>'
        f'<span class="badge badge-info">{state}</span></header><dl class="card-body"><dt>Total</dt>'
        f"<dd>{euros}.{number % 100:02} EUR</dd><dt>Updated</dt>"
        f'<dd><time datetime="2026-03-01T12:{minutes:02}:{number % 60:02}Z">12:{minutes:02}</time></dd></dl>'
        f"</article>{MARK.decode()}"
    )


def tick(number: int, overhead: int) -> str:
    """A price as JSON, about 130 bytes."""
    price = 17_000 + number * 7919 % 1000
    found = {
        "symbol": ("ACME", "GLOBEX", "INITECH", "UMBRELLA")[number % 4],
        "bid": price / 100,
        "ask": (price + 1 + number % 3) / 100,
        "size": number * 31 % 900 + 100,
        "at": f"2026-03-01T12:{number // 60 % 60:02}:{number % 60:02}.{number * 137 % 1000:03}Z",
        "venue": f"XETRA{MARK.decode()}",
    }
    return json.dumps(found, separators=(",", ":"))
