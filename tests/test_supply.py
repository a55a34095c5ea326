"""What sse_edge is made of: dependency ranges."""

import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from servers.processes import TESTS

ROOT = TESTS.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("server", "metrics", "doctor")
"""What a deployment installs."""


def requirements(*extras):
    """What pip installs with these extras, without those of others."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    every = [Requirement(text) for each in lists for text in each]
    return [each for each in every if each.name != "sse_edge"]


# ---- dependencies


@pytest.mark.parametrize("extra", [None, *EXTRAS, "loadtest"])
def test_every_dependency_has_a_lowest_version(extra):
    """What users install has one lower bound, which `make test DEPS=lowest` installs."""
    for each in requirements(*filter(None, [extra])):
        assert [one.operator for one in each.specifier if one.operator != "<"] == [">="], str(each)


def test_upper_bounds_are_few():
    """Only what we build on the insides of has an upper bound: any other would shut out somebody's app."""
    bounded = {
        each.name
        for each in requirements(*EXTRAS, "loadtest")
        if any(o.operator == "<" for o in each.specifier)
    }
    assert bounded == {"redis", "limits", "itsdangerous"}


def test_the_installed_versions_are_in_range():
    """What these tests run on is what pyproject.toml allows."""
    for each in requirements(*EXTRAS, "loadtest"):
        assert each.specifier.contains(version(each.name)), f"{each.name} {version(each.name)}"
