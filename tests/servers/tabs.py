"""Tabs that hear a stream through the edge's own client, each with all that it was told."""

import contextlib
import json
import threading
import time
import urllib.request

import pytest
from selenium.common.exceptions import WebDriverException

from .browser import wait_for

SUBSCRIBE = """
const [url, options, module, prepare, code, done] = arguments
eval(prepare)
window.heard = []; window.states = []; window.resets = []
import(module).then(({subscribe}) => {
    window.subscribe = subscribe
    window.stream = subscribe(url, {
        onEvent: event => heard.push(event), onState: state => states.push(state),
        onReset: reset => resets.push(reset), ...options, ...eval(`(${code})`),
    })
    done()
}, error => done(String(error)))
"""
LOCKS = "delete window.SharedWorker"
ALONE = "delete window.SharedWorker; delete window.BroadcastChannel"
HOSTS = pytest.mark.parametrize(
    "prepare", ["", pytest.param(LOCKS, marks=pytest.mark.heavy)], ids=["worker", "locks"]
)
"""In which of a browser's ways tabs share a stream: without ``--heavy`` the one that most have, but where the
tests are about the ways.
"""


class Tabs:
    """Tabs of one browser at the root of ``site``; each is a handle of ``page``."""

    def __init__(self, page, site):
        self.page = page
        self.site = site
        self.first = True

    def open(
        self, url="/events/me", *, prepare="", module="/events/sse-edge.js", root="/", code="{}", **options
    ):
        """A tab that subscribes to ``url`` with ``options`` and those of ``code``, once ``prepare`` ran."""
        if not self.first:
            self.page.switch_to.new_window("tab")
            self.page.get(self.site.url + root)
        self.first = False
        failed = self.page.execute_async_script(SUBSCRIBE, url, options, module, prepare, code)
        assert failed is None
        return self.page.current_window_handle

    def run(self, tab, script, *arguments):
        """Run a script in a tab; what it returns."""
        self.page.switch_to.window(tab)
        return self.page.execute_script(script, *arguments)

    def wait(self, tab, expression, timeout=10):
        """Wait until an expression is true in a tab; its value."""
        self.page.switch_to.window(tab)
        return wait_for(self.page, expression, timeout)

    def live(self, *tabs):
        """Wait until these are live."""
        for tab in tabs:
            self.wait(tab, "stream.state.state === 'live'")

    def heard(self, tab):
        """The data of the events that a tab was given."""
        return self.run(tab, "return heard.map(event => event.data)")

    def states(self, tab):
        """The names of the states that a tab was told."""
        return self.run(tab, "return states.map(state => state.state)")

    def crash(self, tab):
        """End a tab's process."""
        self.page.switch_to.window(tab)
        with contextlib.suppress(WebDriverException):
            self.page.execute_cdp_cmd("Page.crash", {})
        with contextlib.suppress(WebDriverException):
            self.page.close()
        self.page.switch_to.window(self.page.window_handles[0])

    def close(self, tab):
        """Close a tab."""
        self.page.switch_to.window(tab)
        self.page.close()
        self.page.switch_to.window(self.page.window_handles[0])


def figures(site):
    """What the edge counts."""
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/figures") as answer:
        return json.load(answer)


def streams(site, count):
    """Wait until the edge has so many streams."""
    deadline = time.monotonic() + 10
    while figures(site)["streams"] != count:
        assert time.monotonic() < deadline, figures(site)
        time.sleep(0.02)


class Ticker:
    """Publishes a number every 20 ms, from a thread, until it is left; ``sent`` is what was."""

    def __init__(self, publisher, channel="news"):
        self.sent = []
        self._publisher = publisher
        self._channel = channel
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._over.wait(0.02):
            self._publisher.publish(self._channel, str(len(self.sent)))
            self.sent.append(str(len(self.sent)))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._over.set()
        self._thread.join()


def level(tabs, handles, sent):
    """Wait until these have all that was sent, and hold that each has it once and in order."""
    for tab in handles:
        tabs.wait(tab, f"heard.some(event => event.data === '{sent[-1]}')", timeout=20)
        heard = tabs.heard(tab)
        assert heard == sent[sent.index(heard[0]) :]


def end_worker(page):
    """End the shared worker without a word; wait until it has a successor."""
    before = workers(page)
    for worker in before:
        page.execute_cdp_cmd("Target.closeTarget", {"targetId": worker})
    deadline = time.monotonic() + 10
    while not workers(page) - before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers(page):
    """The shared workers that there are."""
    targets = page.execute_cdp_cmd("Target.getTargets", {"filter": [{"type": "shared_worker"}]})
    return {each["targetId"] for each in targets["targetInfos"]}
