"""docs/SETTINGS.md has each setting of SSEMiddleware with its default, and none that is gone."""

import inspect
import re

import pytest

from servers.processes import TESTS
from sse_edge import Limits, SSEMiddleware

PAGE = (TESTS.parent / "docs/SETTINGS.md").read_text()
UNITS = {"": 1, "s": 1, "MiB": 1_048_576}
IN_WORDS = {
    "auth": (None, "none: both have to be given"),
    "channels": (None, "none: both have to be given"),
    "origins": ((), "own origin"),
    "hosts": (None, "[any](CHANNELS.md#without-a-sign-in)"),
    "status_allow": (("127.0.0.0/8", "::1", "unix"), "loopback and unix"),
}
"""Settings whose default the page says in words that depend on what they are."""


def defaults():
    """Each setting, and its default."""
    parameters = inspect.signature(SSEMiddleware).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


def table(page):
    """What the first table of a page says: each setting, and its default as it is written there."""
    found = {}
    for row in re.findall(r"^\| (`.+?) \| (.+?) \| .* \|$", page.partition("\n## ")[0], re.MULTILINE):
        names, said = re.findall(r"`(\w+)`", row[0]), row[1]
        each = said.split(", ") if said.count(", ") == len(names) - 1 else [said] * len(names)
        found |= zip(names, each, strict=True)
    return found


def is_said(name, default, said):
    """Whether the words of the page are the default of a setting."""
    if name in IN_WORDS:
        return (default, said) == IN_WORDS[name]
    if name == "limits":
        return default is None and eval(said.strip("`"), {"Limits": Limits}) == Limits.of(None)
    if default is None or default == ():
        return said in ("none", "off")
    if isinstance(default, bool):
        return said == ("on" if default else "off")
    if isinstance(default, str):
        return said in (f"`{default}`", f'`"{default}"`')
    number = re.fullmatch(r"([\d,.]+) ?(\w*)", said)
    return number is not None and float(number[1].replace(",", "")) * UNITS[number[2]] == default


def wrong(page, settings):
    """What the page does not say as it is, a sentence each."""
    said = table(page)
    yield from (f"there is no setting {name}" for name in said.keys() - settings.keys())
    yield from (f"{name} is not in the table" for name in settings.keys() - said.keys())
    for name in settings.keys() & said.keys():
        if not is_said(name, settings[name], said[name]):
            yield f"{name} is {settings[name]!r}, and not {said[name]}"


def test_the_table_of_settings():
    """Each is in the table with its default, and no other is."""
    assert list(wrong(PAGE, defaults())) == [], (
        "the first table of docs/SETTINGS.md is not as SSEMiddleware is"
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"shiny": True}, ["shiny is not in the table"]),
        ({"retry": 4.0}, ["retry is 4.0, and not 3 s"]),
        ({"max_unsent": 2_097_152}, ["max_unsent is 2097152, and not 1 MiB"]),
        ({"ipv6_prefix": 56}, ["ipv6_prefix is 56, and not 64"]),
        ({"joins": False}, ["joins is False, and not on"]),
        ({"refusals": "status"}, ["refusals is 'status', and not `\"auto\"`"]),
        ({"status_path": "/status"}, ["status_path is '/status', and not off"]),
        ({"status_allow": ()}, ["status_allow is (), and not loopback and unix"]),
        ({"keep_alive": None}, ["keep_alive is None, and not 15 s"]),
    ],
)
def test_a_setting_that_is_another_is_found(changed, said):
    """A setting that is new, or has another default than the page says, is named with both."""
    assert list(wrong(PAGE, defaults() | changed)) == said


def test_a_setting_that_is_gone_is_found():
    """One that the page still has is named."""
    kept = {name: default for name, default in defaults().items() if name != "poll_wait"}
    assert list(wrong(PAGE, kept)) == ["there is no setting poll_wait"]
