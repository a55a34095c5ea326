"""deploy/DOCTOR.md has every fault of the catalogue; with ``--tables`` that part of it is written."""

import re

import pytest

from servers.processes import TESTS
from sse_edge.cli.doctor import doctor
from sse_edge.doctor.catalogue import FAULTS, SECTIONS

PAGE = TESTS.parent / "deploy" / "DOCTOR.md"
BEGIN, END = "<!-- faults -->\n", "<!-- /faults -->"
LIVE = ("live", "planted", "behind", "shipped", "strangers")


def planted():
    """The codes that a test with real programs expects."""
    source = "".join((TESTS / "doctor" / f"test_doctor_{name}.py").read_text() for name in LIVE)
    return {code for code in FAULTS if f'"{code}"' in source or f"[{code}]" in source}


def plain(text):
    """A text of the catalogue as Markdown shows it."""
    return re.sub(r"([*|<])", r"\\\1", text)


def row(fault):
    """A fault's line."""
    told = [("", fault.remedy), ("nginx: ", fault.nginx), ("Caddy: ", fault.caddy)]
    todo = "<br>".join(f"{where}{plain(text)}" for where, text in told if text)
    sign = "" if fault.code in planted() else " °"
    cells = [f"`{fault.code}`{sign}", fault.level.name.lower(), plain(fault.seen), todo, fault.needs]
    return f"| {' | '.join(cells)} |\n"


def written():
    """All of them, by sections."""
    head = "| code | level | seen | to do | needs |\n|---|---|---|---|---|\n"
    return "\n".join(
        f"### {title}\n\n{head}{''.join(map(row, faults))}" for title, faults in SECTIONS.items()
    )


def test_the_page_has_every_fault(request):
    """Its code and level, what is seen, what to do, and what it takes to see it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page = f"{before}{BEGIN}{written()}{END}{after}"
    if request.config.getoption("--tables"):
        PAGE.write_text(page)
    missing = set(page.splitlines()) - set(PAGE.read_text().splitlines())
    assert PAGE.read_text() == page, (
        "deploy/DOCTOR.md is not as the catalogue is: "
        f"`.venv/bin/pytest --tables tests/pages/test_doctor_page.py` writes it. It lacks {sorted(missing)}"
    )


def test_most_are_planted_for_real():
    """In a proxy, an app, a Redis or a machine, and not in a table alone."""
    said = re.search(r"(\d+) faults, of which (\d+) are", (TESTS.parent / "CHANGELOG.md").read_text())
    assert said.groups() == (str(len(FAULTS)), str(len(planted())))
    assert f"all {len(FAULTS)} faults" in (TESTS.parent / "docs" / "COMMANDS.md").read_text()
    assert FAULTS.keys() - planted() == {
        "few-ports",
        "no-keep-alive",
        "no-retry",
        "rare-keep-alive",
        "redis-not-writing",
        "redis-old",
        "short-backlog",
        "slow-first-byte",
        "unclean-end",
    }


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.code)
def test_a_fault(fault):
    """It has a sentence on what is seen, and names only options that there are."""
    assert fault.seen.endswith(".")
    assert fault.seen[0].isupper()
    options = {name for parameter in doctor.params for name in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", fault.needs)) <= options


def test_every_option_of_the_page():
    """Is one that there is."""
    options = {name for parameter in doctor.params for name in parameter.opts}
    head = PAGE.read_text().partition(BEGIN)[0]
    assert set(re.findall(r"`(--[a-z-]+)`", head)) <= options
