"""htmx: what is written for its extension, and what is refused because it could not be heard or found."""

import json
import time

import pytest
from markupsafe import Markup

from sse_edge import Event, EventError, MemoryBackend, Publisher, htmx


class Element:
    """As dominate, htpy and others have them."""

    def __html__(self):
        return "<b>7</b>"


def sent(event):
    """Name and data."""
    return event.event, event.data


@pytest.mark.parametrize(
    "html",
    [
        "",
        "<b>60&nbsp;%</b>",
        "  <i>\n\n a </i>\n",
        "<script>let a = '</b>'</script>",
        "event: done\n\ndata: x",
        "é \u2028 \x85 \x0b \0 😀",
        "<p>" * 20_000,
    ],
)
def test_html_is_written_as_it_is(html):
    """Nothing in it is escaped, trimmed or put in order, and a piece for another element has it whole."""
    assert sent(htmx.swap("status", html)) == ("status", html)
    assert sent(htmx.close("done", html)) == ("done", html)
    assert htmx.partial("#a", html) == f'<hx-partial hx-target="#a" hx-swap="innerHTML">{html}</hx-partial>'
    assert htmx.oob("#a", f"<p>{html}").endswith(f"<p>{html}</div>")


def test_what_templates_give_is_html():
    """markupsafe's and other objects with __html__ are text, and what is beside them is not escaped."""
    made = htmx.swap("status", Markup("<i>&lt;</i>"), "<u>", Element())
    assert sent(made) == ("status", "<i>&lt;</i><u><b>7</b>")
    assert type(made.data) is str
    assert htmx.oob("#a", Element()) == '<div hx-swap-oob="innerHTML:#a"><b>7</b></div>'
    assert Markup("<p>") + Markup(htmx.partial("#a", Markup("<b>"))) == "<p>" + htmx.partial("#a", "<b>")


def test_an_event_without_a_name():
    """message is what an event is called that has none: htmx 4 swaps no other."""
    assert htmx.swap("message", "<b>").encode() == b"data: <b>\n\n"
    assert htmx.trigger("message").encode() == b"event: message\ndata: \n\n"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (htmx.trigger("order-changed"), ("order-changed", "")),
        (htmx.trigger("order-changed", {"id": 7}), ("order-changed", '{"id":7}')),
        (htmx.trigger("order-changed", 0), ("order-changed", "0")),
        (htmx.json("order", None), ("order", "null")),
        (
            htmx.json("order", {"é": "\n"}),
            ("order", json.dumps({"é": "\n"}, ensure_ascii=False, separators=(",", ":"))),
        ),
        (htmx.json("order", 2j, default=str), ("order", '"2j"')),
        (htmx.trigger("a:b.c_d/é", 2j, default=str), ("a:b.c_d/é", '"2j"')),
        (htmx.close("done"), ("done", "")),
    ],
)
def test_the_other_events(made, expected):
    """Each has a line of data, without which no browser would dispatch it."""
    assert sent(made) == expected
    assert b"\ndata: " in made.encode()


@pytest.mark.parametrize(
    ("html", "swap", "expected"),
    [
        ("3", "innerHTML", '<div hx-swap-oob="innerHTML:#a">3</div>'),
        ("", "delete", '<div hx-swap-oob="delete:#a"></div>'),
        ("<li>3", "beforeend", '<div hx-swap-oob="beforeend:#a"><li>3</div>'),
        ("<tr><td>3", "beforeend", '<tbody hx-swap-oob="beforeend:#a"><tr><td>3</tbody>'),
        (" <!-- <p> -->\n<TD>3", "innerHTML", '<tr hx-swap-oob="innerHTML:#a"> <!-- <p> -->\n<TD>3</tr>'),
        ("<tbody></tbody>", "afterend", '<table hx-swap-oob="afterend:#a"><tbody></tbody></table>'),
        ("<track>", "innerHTML", '<div hx-swap-oob="innerHTML:#a"><track></div>'),
        ("<tr id=a><td>3", "outerHTML", '<tr hx-swap-oob="outerHTML:#a" id=a><td>3'),
        (" <br/>", "outerMorph", ' <br hx-swap-oob="outerMorph:#a"/>'),
    ],
)
def test_out_of_band(html, swap, expected):
    """What is swapped in is inside an element that may have it, or is the element."""
    assert htmx.oob("#a", html, swap=swap) == expected


@pytest.mark.parametrize(
    "target",
    [
        "#row-7",
        ".price",
        '[data-id="7"]',
        "tr#row-7 > td.price, #b .c",
        "#é_-1",
        "#--a",
        "[data-id=a]",
        "p[hidden]",
    ],
)
def test_targets(target):
    """A selector is written so that the attribute has it as it was."""
    written = target.replace('"', "&quot;").replace(">", "&gt;")
    assert htmx.oob(target) == f'<div hx-swap-oob="innerHTML:{written}"></div>'
    assert f'hx-target="{written}"' in htmx.partial(target)


REFUSED_NAMES = [
    (name, why)
    for why, names in {
        "no spaces, commas": [
            "",
            "a b",
            "a,b",
            " a",
            "a[b",
            "a]",
            'a"',
            "it's",
            "a\tb",
            "a(b)",
            "a\0",
            "a\u2003b",
        ],
        "must be text": [None, 7, b"a"],
        "sse:": ["sse:status"],
        "htmx's own": ["htmx:load"],
        "EventSource's own": ["error", "open"],
        "the edge's own": ["edge-reset"],
        "lone surrogate": ["\ud800"],
        "no spaces": ["a\nb", "a\r"],
    }.items()
    for name in names
]


@pytest.mark.parametrize(("name", "why"), REFUSED_NAMES)
@pytest.mark.parametrize(
    "make",
    [lambda name: htmx.swap(name, ""), htmx.trigger, lambda name: htmx.json(name, 1), htmx.close],
    ids=["swap", "trigger", "json", "close"],
)
def test_a_name_that_nothing_can_listen_for(make, name, why):
    """It is refused where the event is made, with the name."""
    with pytest.raises(EventError, match=why) as caught:
        make(name)
    assert caught.value.field == "event"
    assert caught.value.value == name


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("count", "an id has # before it"),
        ("body", "an id has # before it"),
        ("closest tr", "an id has # before it"),
        *(
            (each, "must be a selector")
            for each in ("", " #a", "#7", "#a ", "#a@b", "#", "#a,", '[a="]', "#a\n", "#a\\:b")
        ),
        (7, "must be text"),
        (None, "must be text"),
    ],
)
@pytest.mark.parametrize("make", [htmx.oob, htmx.partial])
def test_a_target_that_no_page_has(make, target, why):
    """An id without its #, one that begins with a digit, and what is no selector: a browser would throw."""
    with pytest.raises(EventError, match=why) as caught:
        make(target, "")
    assert (caught.value.field, caught.value.value) == ("target", target)


def test_a_colon_in_a_target():
    """hx-swap-oob has one after the swap's name; a partial has an attribute for each."""
    with pytest.raises(EventError, match="target: has no colon"):
        htmx.oob('[data-id="a:b"]')
    assert "a:b" in htmx.partial('[data-id="a:b"]')


@pytest.mark.parametrize(
    "swap", ["", "innerHtml", "none", "textcontent", "innerHTML swap:1s", None, ["innerHTML"]]
)
@pytest.mark.parametrize("make", [htmx.oob, htmx.partial])
def test_a_swap_that_is_not_there(make, swap):
    """It is told which are."""
    with pytest.raises(EventError, match=r"swap: must be one of innerHTML, outerHTML, .* \(got") as caught:
        make("#a", "", swap=swap)
    assert caught.value.value == swap


def test_an_element_that_is_none():
    """What takes an element's place is an element."""
    with pytest.raises(EventError, match="html: begins with the element .* swap='outerHTML'"):
        htmx.oob("#a", "3 <b>", swap="outerHTML")


@pytest.mark.parametrize("html", [None, 7, b"<b>", ["<b>"], Element])
def test_html_that_is_none(html):
    """The message has no html: it may be private."""
    for make in (
        lambda: htmx.swap("a", html),
        lambda: htmx.swap("a", "", html),
        lambda: htmx.close("a", html),
        lambda: htmx.oob("#a", html),
        lambda: htmx.partial("#a", html),
    ):
        with pytest.raises(EventError) as caught:
            make()
        why = "html: must be text, or something with __html__"
        assert str(caught.value) == f"{why} (got a value of type {type(html).__name__})"


def test_as_much_as_an_event_may_have():
    """More is refused like any event's."""
    with pytest.raises(EventError, match="larger than 262144 bytes"):
        htmx.swap("a", "x" * 262_144)
    with pytest.raises(EventError, match="json"):
        htmx.trigger("a", object())


@pytest.mark.parametrize("text", ["<!---->" * 5000 + "x", "<!--" * 5000, " " * 50_000, "<" * 50_000])
def test_what_begins_with_no_element_for_long(text):
    """Looking for the first element takes no time."""
    began = time.monotonic()
    assert htmx.oob("#a", text).startswith("<div ")
    with pytest.raises(EventError, match="must be a selector"):
        htmx.oob("#a" + " #a" * 5000 + "!", text)
    assert time.monotonic() - began < 2


async def test_one_line_each():
    """Whatever takes an Event takes these."""
    backend = MemoryBackend()
    events = Publisher(backend)
    await events.publish("job:7", htmx.swap("status", "<b>1"))
    await events.publish_many([("job:7", htmx.trigger("a")), ("job:7", htmx.json("b", 1))])
    await events.publish("job:7", htmx.partial("#a", "2"))
    await events.finish("job:7", htmx.close("done"))
    kept = [(each.event, each.data) for each in await events.recent("job:7", 9)]
    assert kept == [
        ("status", "<b>1"),
        ("a", ""),
        ("b", "1"),
        ("message", htmx.partial("#a", "2")),
        ("done", ""),
    ]
    assert isinstance(htmx.close("done"), Event)


@pytest.mark.parametrize(
    ("html", "around"),
    [("<col>", "colgroup"), ("<!-- of two\nlines -->\n<tr></tr>", "tbody"), ("<TD>1</TD>", "tr")],
)
def test_what_a_parser_leaves_it_in(html, around):
    """A part of a table is wrapped in what it may be in, whatever comment is before it."""
    assert htmx.oob("#here", html) == f'<{around} hx-swap-oob="innerHTML:#here">{html}</{around}>'


def test_text_is_taken_as_it_is():
    """Whatever a class of text does when it is formatted."""

    class Formatted(str):
        __slots__ = ()

        def __format__(self, spec):
            return "escaped"

    assert "<b>" in htmx.partial("#here", Formatted("<b>"))
