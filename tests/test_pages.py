"""The pages: what they link to is there."""

import re

import pytest

from servers.processes import TESTS

ROOT = TESTS.parent
PAGES = sorted(
    page
    for place in ("", "deploy", "docs", "examples", "examples/chat")
    for page in (ROOT / place).glob("*.md")
)


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


def test_the_pages_are_found():
    """There are as many as somebody can see."""
    assert len(PAGES) >= 16
