"""What users may rely on: tests/public.txt has all of it, and what of it is new since the last release.

``pytest --tables tests/house/test_public.py`` writes that file; what CHANGELOG.md says, people write.
"""

import re
from difflib import SequenceMatcher
from importlib import resources

import pytest

import sse_edge
from parts import surface
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
    different = [
        line for line in compared(PAGE.read_text().splitlines(), now.splitlines()) if line[:2] != "  "
    ]
    assert different == [], (
        "What is public is not what tests/public.txt has (-). If it is meant, run "
        "`.venv/bin/pytest --tables tests/house/test_public.py` and name it in CHANGELOG.md:\n"
        + "\n".join(different)
    )


def words(line):
    """What CHANGELOG.md has to have within one pair of backticks for a line: a name, and whose it is."""
    if line.startswith("sse-edge "):
        _, name, *more = line.split()
        return [name, more[0]] if more else ["sse-edge", name]
    if line.startswith("sse_edge."):
        path, _, parameter = line.removeprefix("sse_edge.").partition("(")
        *_, owner, name = ["sse_edge", *re.match(r"[\w.]+", path)[0].split(".")]
        if given := re.match(r"(?:\*, )?\**(\w+)", parameter):
            return [name, given[1]]
        return [name] if owner == "sse_edge" or name[0].isupper() else [owner, name]
    return [re.match(r"(?:\d+ |event: |pytest fixture )?([\w.-]+)", line)[1]]


def whole(line):
    """What a line belongs to: the class, the function or the command; else it is for itself."""
    return re.match(r"sse-edge \S+|sse_edge(?:\.[a-z_]+)*\.[A-Z]\w*|sse_edge\.[\w.]+|.*", line)[0]


def unsaid(lines, changelog):
    """What is new or gone, and not named in the changelog: all of what is so as a whole by its own name."""
    changed = {mark: [line[2:] for line in lines if line[:2] == f"{mark} "] for mark in "+-"}
    here = {line[2:] for line in lines if line[:2] in ("  ", "+ ")}
    before = {line[2:] for line in lines if line[:2] in ("  ", "- ")}
    alone = {mark: {whole(line) for line in changed[mark]} for mark in "+-"}
    alone["+"] -= set(map(whole, before))
    alone["-"] -= set(map(whole, here))
    wanted = [
        words(whole(line) if whole(line) in alone[mark] else line) for mark in "+-" for line in changed[mark]
    ]
    spans = re.findall(r"`+([^`]+)`+", changelog)
    return [
        each
        for each in dict.fromkeys(map(tuple, wanted))
        if not any(
            all(re.search(rf"(?<![\w-]){re.escape(one)}(?![\w-])", span) for one in each) for span in spans
        )
    ]


def test_what_changed_is_in_the_changelog():
    """Whatever is marked in tests/public.txt is named in the newest section of CHANGELOG.md."""
    missing = unsaid(PAGE.read_text().splitlines()[1:], NEWEST)
    assert missing == [], (
        "The newest section of CHANGELOG.md has to name what is marked in tests/public.txt, these words in "
        "one pair of backticks, as `Channel(first=…)`, `Event.data`, `sse-edge serve --uds`: "
        + "; ".join(map(" and ".join, missing))
    )


@pytest.mark.parametrize(
    ("line", "said", "by_chance"),
    [
        ("sse_edge.Channel", "Channel", "ChannelMap"),
        ("sse_edge.Channel.count -> int", "Channel.count", "count"),
        ("sse_edge.Channel(first: int = 0)", "Channel(first=…)", "first"),
        ("sse_edge.SSEMiddleware(*, path: str = '/events')", "SSEMiddleware(path=…)", "path"),
        ("sse_edge.AnyOf(*authenticators: Authenticator)", "AnyOf(*authenticators)", "AnyOf"),
        ("sse_edge.Publisher.count() -> int", "Publisher.count()", "count"),
        ("sse_edge.Publisher.count(*, user: str)", "count(user=…)", "user"),
        ("sse_edge.literal() -> str", "literal(value)", "literals"),
        ("sse_edge.htmx.close() -> Event", "htmx.close", "close"),
        ("sse_edge.htmx.close(name: str)", "close(name)", "name"),
        ("sse_edge.cookies.FlaskSession(secret: str)", "FlaskSession(secret)", "secret"),
        ("pytest fixture sse_client", "sse_client", "sse_clients"),
        ("sse-edge top", "sse-edge top", "top"),
        ("sse-edge serve --uds-mode text", "sse-edge serve --uds-mode", "--uds-mode"),
        ("sse-edge token USER", "sse-edge token USER", "USER"),
        ("SSE_EDGE_SINK", "SSE_EDGE_SINK=task", "SINK"),
        ("503 draining", "draining", "drain"),
        ("max-duration (told)", "max-duration", "max_duration"),
        ("event: edge-close", "edge-close", "close"),
        ("sse_edge_refusals_total{code} counter", "sse_edge_refusals_total", "refusals"),
        ("stream-ended: method path", "stream-ended", "stream"),
        ("no-retry warning", "no-retry", "retry"),
    ],
)
def test_what_the_changelog_has_to_name(line, said, by_chance):
    """A new or lost line needs its name there in backticks, with whose it is; one that stays does not."""
    around = [] if whole(line) == line else [f"  {whole(line)}"]
    for mark in "+-":
        changed = [*around, f"{mark} {line}"]
        assert unsaid(changed, f"There is `{said}` now.") == []
        assert unsaid(changed, f"There is {said} now.") != []
        assert unsaid(changed, f"There is `{by_chance}`, of `sse-edge`, now.") != []
    assert unsaid([f"  {line}"], "") == []


def test_what_is_new_as_a_whole_is_named_once():
    """A new or lost class, function or command has to be named, and not each of its parts; a changed default
    and what is returned otherwise are named with what they belong to."""
    new = [
        "  sse_edge.Event",
        "+ sse_edge.Lamp",
        "+ sse_edge.Lamp(watts: int)",
        "+ sse_edge.Lamp.on() -> bool",
    ]
    command = ["+ sse-edge glow", "+ sse-edge glow --watts integer"]
    assert unsaid([*new, *command], "") == [("Lamp",), ("sse-edge", "glow")]
    assert unsaid([*new, *command], "`Lamp(watts)` and `sse-edge glow`") == []
    gone = [f"- {line[2:]}" for line in new[1:]]
    assert unsaid(gone, "") == [("Lamp",)]
    default = ["  sse_edge.Lamp", "- sse_edge.Lamp(watts: int = 1)", "+ sse_edge.Lamp(watts: int = 2)"]
    assert unsaid(default, "`Lamp` has other `watts`") == [("Lamp", "watts")]
    assert unsaid(default, "`Lamp(watts=2)` is the default") == []
    returned = ["- sse_edge.glow() -> int", "+ sse_edge.glow() -> str"]
    assert unsaid(returned, "") == [("glow",)]


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
