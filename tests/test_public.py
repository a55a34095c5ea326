"""What users may rely on: tests/public.txt has all of it, and what of it is new since the last release.

``pytest --tables tests/test_public.py`` writes that file; what CHANGELOG.md says is for people to write.
"""

import re
from difflib import SequenceMatcher
from importlib import resources

import pytest

import sse_edge
import surface
from servers.processes import TESTS

PAGE = TESTS / "public.txt"
CHANGELOG = (TESTS.parent / "CHANGELOG.md").read_text()
NEWEST = re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1]
RELEASED = re.search(r"^## (\S+) \(\d", CHANGELOG, re.MULTILINE)[1]
"""The last version that has a date."""


def written(page):
    """The version that a page is compared with, and by sections what was public then."""
    head, *sections = page.split("\n[")
    lines = {name: body.split("\n") for name, _, body in (each.partition("]\n") for each in sections)}
    then = {name: [line[2:] for line in body if line[:2] in ("  ", "- ")] for name, body in lines.items()}
    return re.search(r"since (\S+):", head)[1], then


def compared(before, now):
    """The lines of ``now``, those that are new marked with +, and those that were there ``before`` with -."""
    for tag, begin, end, first, last in SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from (f"- {line}" for line in before[begin:end])
        yield from (f"{' ' if tag == 'equal' else '+'} {line}" for line in now[first:last])


def page(since, then):
    """tests/public.txt as it has to be."""
    head = f"What is public, and since {since}: + what is new or different, - what it was or is not any more."
    sections = [
        "\n".join([f"[{name}]", *compared(then.get(name, []), lines)])
        for name, lines in surface.lines().items()
    ]
    return "\n\n".join([head, *sections]) + "\n"


def test_the_public_face_is_pinned(request):
    """Names, signatures, options, codes, metrics and lines of the log change with this page, and in sight."""
    since, then = written(PAGE.read_text()) if PAGE.exists() else ("", {})
    if since != RELEASED:
        then = surface.lines()
    now = page(RELEASED, then)
    if request.config.getoption("--tables"):
        PAGE.write_text(now)
    assert PAGE.read_text() == now


def names(line):
    """What CHANGELOG.md has to say of a line: a parameter, an option, a code, or what else is called so."""
    parameter = re.search(r"\((?:\*, )?\**(\w+):", line)
    option = re.search(r"(?<= )--?[a-z][a-z-]*", line)
    first = re.match(r"(?:\d+ |event: |pytest fixture |sse-edge )?([\w.-]+)", line)
    return parameter[1] if parameter else option[0] if option else first[1].rpartition(".")[2]


def unsaid(lines, changelog):
    """The names of what is new or gone and that the changelog does not have."""
    changed = [line[2:] for line in lines if line[:2] in ("+ ", "- ")]
    return [
        name
        for name in map(names, changed)
        if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", changelog)
    ]


def test_what_changed_is_in_the_changelog():
    """Whatever is marked in tests/public.txt is named in the newest section of CHANGELOG.md."""
    assert unsaid(PAGE.read_text().splitlines()[1:], NEWEST) == []


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("sse_edge.Channel", "Channel"),
        ("sse_edge.Channel.count -> int", "count"),
        ("sse_edge.Channel(first: int = 0)", "first"),
        ("sse_edge.Event(*, id: str | None = None)", "id"),
        ("sse_edge.AnyOf(*authenticators: Authenticator)", "authenticators"),
        ("sse_edge.Publisher.count() -> int", "count"),
        ("pytest fixture sse_client", "sse_client"),
        ("sse-edge top", "top"),
        ("sse-edge serve --uds-mode text", "--uds-mode"),
        ("SSE_EDGE_SINK", "SSE_EDGE_SINK"),
        ("503 draining", "draining"),
        ("max-duration (told)", "max-duration"),
        ("event: edge-close", "edge-close"),
        ("sse_edge_refusals_total{code} counter", "sse_edge_refusals_total"),
        ("stream-ended: method path", "stream-ended"),
        ("no-retry warning", "no-retry"),
    ],
)
def test_what_the_changelog_has_to_name(line, name):
    """A new or lost line needs its name there, as a word of its own; one that stays does not."""
    for mark in "+-":
        assert unsaid([f"{mark} {line}"], f"Other-{name}, {name}s.") == [name]
        assert unsaid([f"{mark} {line}"], f"There is `{name}` now.") == []
    assert unsaid([f"  {line}"], "") == []


def test_a_change_is_seen():
    """A line that is different shows as it was and as it is; the others stay, in the order that they have."""
    before, now = ["a()", "a(b: int)", "c"], ["a()", "a(b: str)", "c", "d"]
    assert list(compared(before, now)) == ["  a()", "- a(b: int)", "+ a(b: str)", "  c", "+ d"]
    text = "What is public, and since 1.2:\n\n[python]\n" + "\n".join(compared(before, now)) + "\n"
    assert written(text) == ("1.2", {"python": before})


def test_every_public_name_is_there():
    """Whatever may be imported exists and says what it is; the list is in order."""
    for name, value in surface.public().items():
        assert not callable(value) or value.__doc__ or name.startswith("sse_edge.asgi."), name
    assert list(sse_edge.__all__) == sorted(sse_edge.__all__)


def test_the_package_ships_its_types():
    """A type checker finds py.typed next to the code."""
    assert resources.files("sse_edge").joinpath("py.typed").is_file()
