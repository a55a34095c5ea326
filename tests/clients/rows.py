"""The rows: every client, and how its driver is started."""

import json

import pytest

from servers.processes import command

from .listening import InPage, Program
from .scene import HERE

JAVASCRIPT = HERE / "javascript"


def _installed(package):
    """The version of an npm package; the test fails when it is missing."""
    file = HERE / "node_modules" / package / "package.json"
    if not file.exists():
        pytest.fail(f"{file} is not there: cd tests/clients && npm ci --ignore-scripts", pytrace=False)
    return json.loads(file.read_text())["version"]


def node(name, package, driver, **more):
    """A row whose driver runs in node."""
    run = (command("node"), "--no-warnings", str(JAVASCRIPT / driver))
    return Program(name, _installed(package), command=run, **more)


def page(name, package, driver, frames, **more):
    """A row whose driver runs in a page."""
    return InPage(name, _installed(package), driver=driver, browser=frames, **more)


def browser(name, driver, frames):
    """A row of a browser's own; which version is Debian's matter."""
    return InPage(name, "of Debian 12", driver=driver, browser=frames)


ROWS = {
    "Chromium": lambda frames: browser("Chromium", "eventsource.js", frames),
    "Firefox": lambda frames: browser("Firefox", "eventsource.js", frames),
    "eventsource 4": lambda frames: node("eventsource 4", "eventsource4", "eventsource4.js"),
}
"""What the tests try: a function each, which is given Frames, and makes the Client."""

RECORDED = {}
"""What only ``make clients`` tries, because it takes a toolchain that the tests do not install."""
