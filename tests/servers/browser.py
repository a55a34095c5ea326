"""A headless Chromium that can reach loopback only."""

import base64
import contextlib
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service

from .processes import command, guard, kill_group

_FLAGS = [
    "--headless=new",
    # Root and most containers cannot have the sandbox, and pages of the tests' own need none.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    # Names under .test lead to this machine, which gives pages a choice of origins and sites.
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


class Browser:
    """Chromium behind chromedriver, with a profile of its own; ``driver`` is selenium's."""

    def __init__(self):
        chromium, chromedriver = command("chromium"), command("chromedriver")
        self._profile = tempfile.TemporaryDirectory(prefix="sse-edge-chromium-", ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        options.add_argument(f"--user-data-dir={self._profile.name}")
        for flag in _FLAGS:
            options.add_argument(flag)
        options.accept_insecure_certs = True
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # With the driver's path given, selenium looks for none and downloads none.
        service = Service(chromedriver, popen_kw={"start_new_session": True})
        try:
            self.driver = webdriver.Chrome(options, service)
        except BaseException:
            self._profile.cleanup()
            raise
        self._group = service.process.pid  # Chromium is in it too
        guard.watch(self._group)
        self._blank = self.driver.current_window_handle

    def open_page(self):
        """A fresh tab, without any cookies; the driver."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.driver.switch_to.new_window("tab")
        self.driver.get_log("browser")  # what is in it is from before
        return self.driver

    def close_page(self):
        """Close every tab but the blank one, and with them every connection they held."""
        for handle in self.driver.window_handles:
            if handle != self._blank:
                self.driver.switch_to.window(handle)
                self.driver.close()
        self.driver.switch_to.window(self._blank)

    def fresh(self):
        """Close every tab but the blank one, and forget cookies."""
        self.close_page()
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})

    def open(self, url):
        """A further tab with the page at ``url``, when it is loaded."""
        self.driver.switch_to.window(self._blank)  # the current one may have crashed
        self.driver.switch_to.new_window("tab")
        tab = Tab(self.driver, self.driver.current_window_handle)
        tab.get(url)
        return tab

    def close(self):
        """End Chromium and chromedriver, and remove the profile."""
        try:
            self.driver.quit()
        finally:
            kill_group(self._group)
            guard.forget(self._group)
            self._profile.cleanup()


class Tab:
    """One of several tabs, which is switched to for whatever is done in it; as Firefox's is."""

    def __init__(self, driver, handle):
        self._driver = driver
        self._handle = handle

    @property
    def driver(self):
        """selenium's, with this tab as the current one."""
        self._driver.switch_to.window(self._handle)
        return self._driver

    def get(self, url):
        """Go to another page, and wait until it is loaded."""
        self.driver.get(url)

    def execute_script(self, script, *parameters):
        """What a function with this body returns, called in the page; of a promise, what it comes to."""
        return self.driver.execute_script(script, *parameters)

    def picture(self, path, width, height, *, whole=False):
        """What one sees of the page in a window of that size, or all of the page, as a PNG."""
        driver = self.driver
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        found = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": whole})
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def show(self):
        """Bring it to the front."""
        self.driver.execute_cdp_cmd("Page.bringToFront", {})

    def close(self):
        """Close it, as a user does."""
        self.driver.close()

    def kill(self):
        """End the process that the page runs in, as a crash does."""
        with contextlib.suppress(WebDriverException):  # it says that the tab crashed
            self.driver.get("chrome://crash")


def wait_for(page, expression, timeout=10):
    """Wait until a JavaScript expression is true in the page; its value.

    Meanwhile it may fail: while a page is loaded, what is asked for is not there.  Each time takes 5 ms of
    CPU, and so it is asked less and less often.
    """
    script = f"try {{ return [{expression}] }} catch (error) {{ return [null, `${{error}}`] }}"
    end, pause = time.monotonic() + timeout, 0.02
    while not (found := page.execute_script(script))[0]:
        assert time.monotonic() < end, f"not true in {timeout} s: {expression}: {found}"
        time.sleep(pause)
        pause = min(1.5 * pause, 0.25)
    return found[0]


def run_module(page, text):
    """Have the page run a module, as if it were part of it."""
    page.execute_script(
        "const script = document.createElement('script'); script.type = 'module'\n"
        "script.textContent = arguments[0]; document.head.append(script)",
        text,
    )
