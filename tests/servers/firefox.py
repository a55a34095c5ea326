"""A headless Firefox that can reach loopback only, driven over WebDriver BiDi."""

import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from .processes import TESTS, ServerProcess, command, descendants, guard, kill_group

CLIENTS = TESTS / "clients"

_NOWHERE = 9
"""The port of the proxy that everything but loopback is sent to, where nothing listens."""

_PREFERENCES = {
    "network.proxy.type": 1,
    **{f"network.proxy.{kind}": "127.0.0.1" for kind in ("http", "ssl", "socks")},
    **{f"network.proxy.{kind}_port": _NOWHERE for kind in ("http", "ssl", "socks")},
    "network.proxy.socks_remote_dns": True,
    "network.proxy.no_proxies_on": "localhost, 127.0.0.1, .localhost, .test",
    "network.dns.localDomains": "one.test, two.test",
    # Each tab gets a process of its own, begun when it is opened: so one knows which to kill.
    "dom.ipc.processCount.webIsolated": 50,
    "dom.ipc.processPrelaunch.enabled": False,
}


class Firefox:
    """Firefox with a profile of its own, and the program of puppeteer's that drives it."""

    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(prefix="sse-edge-firefox-", ignore_cleanup_errors=True)
        home = Path(self._profile.name)
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in _PREFERENCES.items()
        ]
        (home / "user.js").write_text("\n".join(lines))
        options = ["--headless", "--no-remote", "--profile", home, "--remote-debugging-port", "0"]
        env = {"HOME": str(home), "MOZ_CRASHREPORTER_DISABLE": "1"}
        self._process = ServerProcess([command("firefox-esr"), *options], env=env)
        try:
            self._process.wait_for_log("WebDriver BiDi listening on ws://", timeout=60)
            where = re.search(r"WebDriver BiDi listening on (ws://\S+)", self._process.log)[1]
            self._driver = _driver(f"{where}/session")
        except BaseException:
            self._process.close()
            self._profile.cleanup()
            raise
        guard.watch(self._driver.pid)

    def fresh(self):
        """Close every tab, and forget cookies, storage and workers."""
        self._do("fresh")

    def open(self, url):
        """A tab with the page at ``url``, when it is loaded."""
        before = self._contents()
        tab = Tab(self._do, self._do("open"))
        tab.get(url)
        tab.processes = self._contents() - before
        return tab

    def close(self):
        """End both, and remove the profile."""
        kill_group(self._driver.pid)
        with self._driver:  # closes its pipes, and waits for it
            pass
        guard.forget(self._driver.pid)
        self._process.close()
        self._profile.cleanup()

    def _contents(self):
        """The processes that pages run in."""
        each = {pid for pid, _ in descendants(self._process.pid)}
        return {pid for pid in each if "-isForBrowser" in _arguments(pid)}

    def _do(self, name, **values):
        self._driver.stdin.write(json.dumps({"command": name, **values}).encode() + b"\n")
        self._driver.stdin.flush()
        line = self._driver.stdout.readline()
        assert line, f"firefox.js has ended\n{self._process.log[-8000:]}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]


class Tab:
    """A tab, with what of selenium's driver the tests use."""

    processes = frozenset()

    def __init__(self, do, number):
        self._do = do
        self._number = number

    def get(self, url):
        """Go to another page, and wait until it is loaded."""
        self._do("get", tab=self._number, url=url)

    def execute_script(self, script, *parameters):
        """What a function with this body returns, called in the page; of a promise, what it comes to."""
        return self._do("run", tab=self._number, script=script, parameters=parameters)

    def picture(self, path, width, height, *, whole=False):
        """What one sees of the page in a window of that size, or all of the page, as a PNG."""
        self._do("picture", tab=self._number, path=str(path), width=width, height=height, whole=whole)

    def show(self):
        """Bring it to the front."""
        self._do("show", tab=self._number)

    def close(self):
        """Close it, as a user does."""
        self._do("close", tab=self._number)

    def kill(self):
        """End the process that the page runs in, as a crash does."""
        assert self.processes, "it runs in a process that was there before"
        for pid in self.processes:
            os.kill(pid, signal.SIGKILL)


def _driver(where):
    program = CLIENTS / "firefox.js"
    if not (CLIENTS / "node_modules" / "puppeteer-core").exists():
        pytest.fail(f"puppeteer-core is not there: cd {CLIENTS} && npm ci --ignore-scripts", pytrace=False)
    run = [command("node"), program, where]
    return subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def _arguments(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # gone meanwhile
        return ""
