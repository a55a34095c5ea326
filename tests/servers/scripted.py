"""The other side of apps.scripted: what it is told to answer, and what it was asked."""

import json
import time
import urllib.request


class Scripted:
    """An apps.scripted."""

    def __init__(self, process):
        self.port = process.port
        self.url = f"http://127.0.0.1:{process.port}"

    def script(self, *answers):
        """What comes next."""
        self._post("/script", json.dumps(answers))

    def say(self, text):
        """Send this on what is open."""
        self._post("/say", text)

    def fresh(self):
        """Forget what was asked, and what comes next."""
        self._post("/fresh", "")

    def cut(self):
        """End what is open."""
        self._post("/cut", "")

    @property
    def asked(self):
        """The requests until now."""
        with urllib.request.urlopen(self.url + "/asked") as answer:
            return json.load(answer)

    def wait_asked(self, count):
        """Wait for so many requests; the last."""
        deadline = time.monotonic() + 10
        while len(self.asked) < count:
            assert time.monotonic() < deadline, self.asked
            time.sleep(0.02)
        return self.asked[count - 1]

    def _post(self, path, text):
        urllib.request.urlopen(self.url + path, data=text.encode()).close()
