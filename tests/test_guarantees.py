"""The page of guarantees names tests that exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "deploy" / "GUARANTEES.md").read_text()


def named():
    """(file, test) of everything the page names; a bare test is in the file named before it."""
    file = ""
    for name in re.findall(r"`(test_[a-z0-9_]+(?:\.py)?(?:::(?:Test\w+::)?test_[a-z0-9_]+)?)`", PAGE):
        path, _, test = name.partition("::")
        test = test.rpartition("::")[2]
        if path.endswith(".py"):
            file = path
        else:
            test = path
        yield file, test


@pytest.mark.parametrize(("file", "test"), list(named()))
def test_the_page_names_a_test_that_exists(file, test):
    """Each line of the page can be checked."""
    assert re.search(rf"^ *(async )?def {test}\(", (TESTS / file).read_text(), re.MULTILINE)


def test_the_page_names_many():
    """The pattern that finds the names finds them."""
    assert len(list(named())) > 25
