"""Tabs that hear a stream through the edge's own client, each with all that it was told."""

import json
import time
import urllib.request

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


class Tabs:
    """Tabs of one browser at the root of ``site``; each is a handle of ``page``."""

    def __init__(self, page, site):
        self.page = page
        self.site = site
        self.first = True

    def open(
        self, url="/events/me", *, prepare="", module="/events/sse-edge.js", root="/", code="{}", **options
    ):
        """A tab that subscribes to ``url`` with ``options``, those of ``code`` too; ``prepare`` runs before."""
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
