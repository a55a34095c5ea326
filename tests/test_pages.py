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
        assert link.startswith("http") or target.exists(), link
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), link


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
        assert sum(re.fullmatch(r"[|: -]+", row) is not None and "-" in row for row in rows) == 1, table
    assert twice + again == []


GUIDES = [page for page in PAGES if page.parts[-2] in ("docs", "frameworks", "deploy")]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_says_where_to_go_next(page):
    """Its last line does, with a link at least."""
    assert re.fullmatch(r"Next: .*\]\([^)]+\).*\.", page.read_text().splitlines()[-1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lists_are_the_same_everywhere(page):
    """What belongs to an item of a list is four spaces in: forges take two, the site four."""
    assert re.findall(r"^\n {1,3}\S.*", prose(page), re.MULTILINE) == []
    fences = re.findall(r"^ +(?=```)", page.read_text(), re.MULTILINE)
    assert [each for each in fences if len(each) % 4] == []


def test_a_target_is_made_in_one_way():
    """The Makefile has each target once, and says once which are no files: all that ``make help`` lists."""
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):.*  ## ", text, re.MULTILINE)
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert sorted(phony.split()) == sorted(targets)


def test_the_pages_are_found():
    """There are as many as somebody can see."""
    assert len(PAGES) >= 16
