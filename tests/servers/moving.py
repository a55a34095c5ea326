"""The apps that a page shows, before and after a move from another library, and their visitors."""

import os

from .pages import programs
from .processes import BIN, TESTS, free_port
from .sse import StreamClient, get


def written(page, directory):
    """What the page shows of Python, as files in this directory."""
    for name, code in programs(page).items():
        (directory / name).write_text(code)


class Visitor:
    """A browser at one app: keeps the cookies that it is given."""

    def __init__(self, url):
        self.url = url
        self.cookies = {}

    def other(self):
        """Somebody else at the same app."""
        return Visitor(self.url)

    @property
    def headers(self):
        """What every request has."""
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    async def post(self, path):
        """The answer's status."""
        answer = await get(self.url + path, method="POST", headers=self.headers)
        for name, header in answer.headers:
            if name == "set-cookie":
                key, _, value = header.partition(";")[0].partition("=")
                self.cookies[key] = value
        return answer.status

    async def stream(self, path, last_event_id=None):
        """A stream, whatever its status."""
        return await StreamClient.connect(self.url + path, headers=self.headers, last_event_id=last_event_id)


class Apps:
    """Starts them, each as its page says."""

    def __init__(self, serve, directory, env):
        self._serve, self._directory = serve, directory
        self._env = env | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(directory)])}

    def run(self, *command):
        """A command of Python's, to its end."""
        done = self._serve([BIN / "python", *command], env=self._env, cwd=self._directory)
        assert done.wait() == 0, done.log

    def visitor(self, server, app):
        """Somebody at this app, under ``uvicorn`` or ``sse-edge``."""
        port = free_port()
        run = [BIN / "sse-edge", "serve", app] if server == "sse-edge" else [BIN / server, app]
        self._serve([*run, "--port", port], port=port, env=self._env, cwd=self._directory)
        return Visitor(f"http://127.0.0.1:{port}")
