"""A headless Chromium that can reach loopback only."""

import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

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

    def close(self):
        """End Chromium and chromedriver, and remove the profile."""
        try:
            self.driver.quit()
        finally:
            kill_group(self._group)
            guard.forget(self._group)
            self._profile.cleanup()


def wait_for(page, expression, timeout=10):
    """Wait until a JavaScript expression is true in the page; its value."""
    waiting = WebDriverWait(page, timeout, poll_frequency=0.05)
    return waiting.until(
        lambda driver: driver.execute_script(f"return {expression}"), f"not true: {expression}"
    )
