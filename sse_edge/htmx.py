"""Events as htmx's extension takes them, with htmx 2 and htmx 4; see docs/HTMX.md.

``await events.publish("job:7", htmx.swap("message", "<b>60 %</b>"))``.  Html is written as it is given, and
nothing in it is escaped: that is the template's part.

Source: htmx-ext-sse 2.2.4 (``sse.js``) with htmx 2.0.11, and hx-sse of htmx 4.0.1.
"""

from __future__ import annotations

import re
from html import escape
from typing import Protocol

from .errors import EventError
from .event import Event
from .jsontext import Default

SWAPS = (
    "innerHTML",
    "outerHTML",
    "beforebegin",
    "afterbegin",
    "beforeend",
    "afterend",
    "delete",
    "textContent",
    "innerMorph",
    "outerMorph",
)
"""What ``swap=`` may be; those that end in Morph are htmx 4's alone."""

UNNAMED = "message"
"""The name of an event that has none, for whoever listens."""


class HasHtml(Protocol):
    """What markupsafe, Django and others write html with."""

    def __html__(self) -> str:
        """The html."""


Html = str | HasHtml


def swap(event: str, html: Html, *more: Html) -> Event:
    """Html for the elements with ``sse-swap="<event>"``, of one or several pieces.

    ``"message"`` writes no name, and htmx 4 swaps nothing that has another one.  Pieces are html of the
    element that listens, or made by ``partial`` and ``oob`` for others.  Raises EventError for an event that
    cannot be listened for, html that is no text, and what ``Event`` raises it for.
    """
    name = None if event == UNNAMED else _checked_name(event)
    return Event("".join(_text(each) for each in (html, *more)), event=name)


def trigger(event: str, detail: object = None, *, default: Default | None = None) -> Event:
    """What starts ``hx-trigger="sse:<event>"`` in htmx 2, and in htmx 4 is a DOM event of that name.

    ``detail``: anything that can be written as JSON, which a page reads as ``event.detail.data`` in both; it
    is empty text there if ``detail`` is None.  ``default`` as for ``Event``.  Raises like ``json``.
    """
    if detail is None:
        return Event("", event=_checked_name(event))
    return json(event, detail, default=default)


def json(event: str, value: object, *, default: Default | None = None) -> Event:
    """A value for scripts and client-side templates, as ``Event(json=…)`` writes it.

    Raises EventError for an event that cannot be listened for, and for a value that cannot be written.
    """
    return Event(json=value, event=_checked_name(event), default=default)


def close(event: str, html: Html = "") -> Event:
    """What closes the stream of ``sse-close="<event>"``, ``hx-sse:close`` in htmx 4: for ``events.finish``.

    ``html`` is for ``sse-swap`` with the same name, in htmx 2.  Raises EventError like ``swap``.
    """
    return Event(_text(html), event=_checked_name(event))


def partial(target: str, html: Html = "", *, swap: str = "innerHTML") -> str:
    """A piece of html for another element, ``<hx-partial>``: any html, rows of tables too.

    For htmx from 2.0.11 and from 4 on.  ``target``: a selector such as ``#row-7``.  ``swap``: what
    htmx has, such as ``beforeend``.  It may be alone in an event, which then changes nothing else.
    Raises EventError.
    """
    target, swap = escape(_checked_target(target)), _checked_swap(swap)
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{_text(html)}</hx-partial>'


def oob(target: str, html: Html = "", *, swap: str = "innerHTML") -> str:
    """A piece of html for another element as every htmx takes it, with ``hx-swap-oob``.

    For ``outerHTML`` and ``outerMorph`` the html is one element, which is given the attribute; for all others
    it is wrapped in one that the page does not get.  htmx 2 would empty the element that listens: that needs
    ``hx-swap="none"``.  Parts of tables go before anything else in an event.  Raises EventError like
    ``partial``, and for a target with a colon, at which htmx would part it.
    """
    target, swap, text = _checked_target(target), _checked_swap(swap), _text(html)
    if ":" in target:
        raise EventError("target", "has no colon: hx-swap-oob ends there", target)
    attribute = f'hx-swap-oob="{swap}:{escape(target)}"'
    root = _ROOT.match(text)
    if swap.startswith("outer"):
        if root is None:
            raise EventError("html", f"begins with the element that is swapped in, for swap={swap!r}", text)
        return f"{text[: root.end()]} {attribute}{text[root.end() :]}"
    around = _AROUND.get(root[1].lower(), "div") if root else "div"
    return f"<{around} {attribute}>{text}</{around}>"


_AROUND = {
    **dict.fromkeys(("tbody", "thead", "tfoot", "caption", "colgroup"), "table"),
    **dict.fromkeys(("td", "th"), "tr"),
    "tr": "tbody",
    "col": "colgroup",
}
"""What a parser of html leaves an element in; in a div it would leave out the element."""

_ROOT = re.compile(r"\s*+(?>(?:<!--.*?-->\s*+)*+)<([a-zA-Z][^\s/>]*)", re.DOTALL)
_NOT_LISTENED = re.compile(r"[\s,\[\](){}<>\"'\x00-\x1f\x7f]")
_IDENT = r"(?:--|-?[^\W\d])[\w-]*"
_QUOTED = r"\"[^\"\\\x00-\x1f]*\"|'[^'\\\x00-\x1f]*'"
_SIMPLE = rf"(?:[#.]{_IDENT}|\[{_IDENT}(?:[~|^$*]?=(?:{_QUOTED}|{_IDENT}))?\])"
_COMPOUND = rf"(?:(?:{_IDENT}|\*){_SIMPLE}*|{_SIMPLE}+)"
_SELECTOR = re.compile(rf"{_COMPOUND}(?:(?: *[>+~,] *| +){_COMPOUND})*")


def _checked_name(event: object) -> str:
    if not isinstance(event, str):
        raise EventError("event", "must be text", event)
    if event.startswith("sse:"):
        raise EventError("event", "has no sse: before it, which is for hx-trigger alone", event)
    if event.startswith("htmx:"):
        raise EventError("event", "htmx:… are htmx's own events", event)
    if not event or _NOT_LISTENED.search(event):
        why = "must be a name that sse-swap and hx-trigger can have: no spaces, commas, quotes or brackets"
        raise EventError("event", why, event)
    return event


def _checked_target(target: object) -> str:
    if not isinstance(target, str):
        raise EventError("target", "must be text", target)
    if not _SELECTOR.fullmatch(target):
        why = 'must be a selector, whose ids and classes begin with a letter: #row-7, .price, [data-id="7"]'
        raise EventError("target", why, target)
    if not re.search(r"[#.\[]", target):
        raise EventError("target", "names no element: an id has # before it", target)
    return target


def _checked_swap(swap: object) -> str:
    if swap not in SWAPS:
        raise EventError("swap", f"must be one of {', '.join(SWAPS)}", swap)
    return str(swap)


def _text(html: object) -> str:
    text = html.__html__() if hasattr(type(html), "__html__") else html  # type: ignore[attr-defined]
    if not isinstance(text, str):
        raise EventError("html", "must be text, or something with __html__", html)
    # The text itself: to add to markupsafe's, or to put it into an f-string, would escape what is beside it.
    return str.__str__(text)
