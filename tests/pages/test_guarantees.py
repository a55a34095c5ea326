"""The pages of guarantees and of security name tests that exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGES = {page: (TESTS.parent / page).read_text() for page in ("deploy/GUARANTEES.md", "SECURITY.md")}
CONTROLS = PAGES["SECURITY.md"].partition("## Controls")[2].partition("## For operators")[0]
ROWS = [row for row in CONTROLS.splitlines() if row.startswith("| ") and not row.startswith("| attack |")]


def named(page):
    """(file, test) of everything a page names; a bare test is in the file named before it."""
    file = ""
    for name in re.findall(r"`(test_[a-z0-9_]+(?:\.py)?(?:::(?:Test\w+::)?test_[a-z0-9_]+)?)`", PAGES[page]):
        path, _, test = name.partition("::")
        test = test.rpartition("::")[2]
        if path.endswith(".py"):
            file = path
        else:
            test = path
        yield file, test


@pytest.mark.parametrize(("file", "test"), [each for page in PAGES for each in named(page)])
def test_the_page_names_a_test_that_exists(file, test):
    """Each line of the page can be checked."""
    assert re.search(rf"^ *(async )?def {test}\(", (next(TESTS.glob(f"*/{file}"))).read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_names_many(page):
    """The pattern that finds the names finds them."""
    assert len(list(named(page))) > 25


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip() for row in ROWS])
def test_each_control_says_what_it_does_not_stop_and_names_its_test(row):
    """A row of the threat table is whole: attack, control, what it does not stop, and a test."""
    attack, control, leaves, tests = [cell.strip() for cell in row.strip("|").split("|")]
    assert all([attack, control, leaves])
    assert re.match(r"`test_[a-z0-9_]+\.py::test_", tests)
