"""The rows: every client, and how its driver is started."""

import json
import os
import subprocess
import sys

import pytest

from servers.processes import command

from .listening import InPage, Program
from .others import GO, JAVA, PYTHON
from .scene import HERE

JAVASCRIPT = HERE / "javascript"


def _installed(packages):
    """The versions of npm packages; the test fails when one is missing."""
    files = [HERE / "node_modules" / package / "package.json" for package in packages]
    for file in files:
        if not file.exists():
            pytest.fail(f"{file} is not there: cd tests/clients && npm ci --ignore-scripts", pytrace=False)
    return ", ".join(json.loads(file.read_text())["version"] for file in files)


def node(name, driver, *packages, **more):
    """A row whose driver runs in node."""
    run = (command("node"), "--no-warnings", str(JAVASCRIPT / driver))
    return Program(name, _installed(packages), command=run, **more)


def page(name, frames, driver, *packages, **more):
    """A row whose driver runs in a page."""
    return InPage(name, _installed(packages), driver=driver, browser=frames, **more)


def browser(name, frames):
    """A row of a browser's own; which version is Debian's matter."""
    return InPage(name, "of Debian 12", driver="eventsource.js", browser=frames)


def ours(name, frames):
    """A row of the edge's own client."""
    return InPage(name, "this one", driver="sse-edge.js", browser=frames)


def curl(name, _):
    """A row of the curl that is on this machine."""
    run = (sys.executable, str(HERE / "curl" / "curl.py"))
    said = subprocess.run([command("curl"), "--version"], check=True, capture_output=True, text=True).stdout
    env = (("PYTHONPATH", os.pathsep.join((str(HERE.parent), str(HERE.parents[1])))),)
    skips = (("parse", "prints all"),)
    return Program(name, said.split()[1], command=run, env=env, lines=True, skips=skips)


BROWSERS = {
    "sse-edge.js in Chromium": ours,
    "sse-edge.js in Firefox": ours,
    "Chromium": browser,
    "Firefox": browser,
}

NATIVE = (("parse", "the browser's"),)

PAGES = {
    "htmx 2 with htmx-ext-sse": lambda name, frames: page(
        name, frames, "htmx2.js", "htmx2", "htmx-ext-sse", lines=True, skips=NATIVE
    ),
    "htmx 4 with hx-sse": lambda name, frames: page(name, frames, "htmx4.js", "htmx.org", lines=True),
    "@microsoft/fetch-event-source": lambda name, frames: page(
        name, frames, "fetch-event-source.js", name, lines=True
    ),
    "event-source-polyfill": lambda name, frames: page(
        name, frames, "event-source-polyfill.js", name, lines=True
    ),
    "reconnecting-eventsource": lambda name, frames: page(
        name, frames, "reconnecting-eventsource.js", name, lines=True
    ),
    "sse.js": lambda name, frames: page(name, frames, "sse.js", name, lines=True),
}

NODE = {
    "eventsource 2": lambda name, _: node(name, "eventsource2.js", "eventsource2"),
    "eventsource 4": lambda name, _: node(name, "eventsource4.js", "eventsource4", lines=True),
    "eventsource-client": lambda name, _: node(name, "eventsource-client.js", name, lines=True),
    "eventsource-parser": lambda name, _: node(name, "eventsource-parser.js", name, lines=True),
    "launchdarkly-eventsource": lambda name, _: node(name, "launchdarkly-eventsource.js", name, lines=True),
}

OTHERS = {"curl": curl}

IN_PAGES = {**BROWSERS, **PAGES}
ROWS = {**IN_PAGES, **NODE, **PYTHON, **OTHERS}
"""What the tests try: a function each, which is given the row's name and Frames, and makes the Client."""

RECORDED = {**GO, **JAVA}
"""What only ``make clients`` tries, because it takes a toolchain that the tests do not install."""
