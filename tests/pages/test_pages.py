"""The pages: what they link to is there."""

import re

import pytest

from servers.pages import PAGES, ROOT


def prose(page):
    """A page without what it shows."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """What can be linked to in a page: its headings as GitHub names them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    """Each file that a page links is there, and each section."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert link.startswith("http") or target.exists(), f"{link}: there is no such file"
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), (
            f"{link}: there is no such section"
        )


def tables(page):
    """The lines of each table."""
    return re.findall(r"(?:^\|.*\n)+", prose(page), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_said_twice(page):
    """No section, no row of a table and no item of a list is there twice, as after two edits of one place;
    and no table has two heads.
    """
    heads = re.findall(r"^#+ .+$", prose(page), re.MULTILINE)
    items = [re.sub(r"\s+", " ", each) for each in re.findall(r"^- .+(?:\n  .+)*", prose(page), re.MULTILINE)]
    again = [each for each in items for other in items if other is not each and other.startswith(each[:-1])]
    twice = [each for each in heads if heads.count(each) > 1]
    for table in tables(page):
        rows = table.splitlines()
        twice += [row for row in rows if rows.count(row) > 1]
        assert sum(re.fullmatch(r"[|: -]+", row) is not None and "-" in row for row in rows) == 1, (
            f"a table has one head, and one line of dashes below it:\n{table}"
        )
    assert twice + again == [], "each is on the page twice, or begins as another does: leave one"


GUIDES = [page for page in PAGES if page.parts[-2] in ("docs", "frameworks", "deploy")]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_says_where_to_go_next(page):
    """Its last line does, with a link at least."""
    last = page.read_text().splitlines()[-1]
    assert re.fullmatch(r"Next: .*\]\([^)]+\).*\.", last), (
        "the last line of a page in docs/ and deploy/ says where to go on, as "
        f"“Next: [channels](CHANNELS.md), or [running it](../deploy/TUNING.md).”, and not {last!r}"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lists_are_the_same_everywhere(page):
    """What belongs to an item of a list is four spaces in: forges take two, the site four."""
    said = "what belongs to an item of a list is to be indented by four spaces"
    assert re.findall(r"^\n {1,3}\S.*", prose(page), re.MULTILINE) == [], said
    fences = re.findall(r"^ +(?=```)", page.read_text(), re.MULTILINE)
    assert [each for each in fences if len(each) % 4] == [], said


def test_a_target_is_made_in_one_way():
    """The Makefile has each target once, and says once which are no files: all that ``make help`` lists."""
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):.*  ## ", text, re.MULTILINE)
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert sorted(phony.split()) == sorted(targets), (
        "each target is in .PHONY, and has a word for `make help`"
    )


def test_contributing_lists_the_targets():
    """The first block of CONTRIBUTING.md has each target of the Makefile, and none that is gone."""
    targets = set(re.findall(r"^([a-z]+):.*  ## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    block = (ROOT / "CONTRIBUTING.md").read_text().split("\n```\n")[1]
    listed = set(re.findall(r"^make ([a-z]+)(?: |$)", block, re.MULTILINE))
    assert sorted(targets - listed) == ["help"], "these have no line in the first block of CONTRIBUTING.md"
    assert listed <= targets, "the first block of CONTRIBUTING.md has targets that are gone"


MADE = {"__pycache__", "node_modules", "build", "dist", "loadtest-runs"}
"""Folders that git does not keep."""


def folders(top):
    """The names of the folders in one of the tree, but for one from which everything was moved away."""
    there = {each for each in top.iterdir() if each.is_dir() and not each.name.startswith(".")}
    kept = {each.name for each in there if {inner.name for inner in each.iterdir()} - MADE}
    return {name for name in kept if not name.endswith(".egg-info")} - MADE


def test_contributing_has_the_tree():
    """The tree in CONTRIBUTING.md has each folder at the top, and each in those that it opens, and none that
    is gone."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    tree = "sse_edge/" + page.partition("\n```text\nsse_edge/")[2].partition("\n```")[0]
    listed, top = {"": set()}, ""
    for line in tree.splitlines():
        names = re.findall(r"(?<=\s)([\w-]+)/(?=\s|$)", f" {line}")
        if line[0] != " ":
            top = names[0] if names else ""
            listed[""] |= set(names)
        elif names:
            listed.setdefault(top, set()).update(names)
    assert {top for top in listed if top} == {"sse_edge", "docs", "loadtest", "tests"}
    for top, names in listed.items():
        assert names == folders(ROOT / top), (
            f"the tree in CONTRIBUTING.md is to have the folders of {top or 'the top'}"
        )


def test_the_pages_are_found():
    """There are as many as somebody can see."""
    assert len(PAGES) >= 16
