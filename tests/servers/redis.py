"""A private Redis: a real server on its own port, in its own directory."""

import contextlib
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .processes import ServerProcess, command, free_port


class RedisServer:
    """A redis-server child on 127.0.0.1; keeps nothing on disk unless told to.

    ``config`` are further lines of redis.conf.  ``restart`` comes back on the same port.
    """

    def __init__(
        self,
        *,
        port=None,
        appendonly=False,
        appendfsync="everysec",
        save="",
        password=None,
        unixsocket=False,
        config=(),
    ):
        self.port = port or free_port()
        self.password = password
        self._directory = tempfile.TemporaryDirectory(prefix="sse-edge-redis-")
        self.directory = Path(self._directory.name)
        self.unixsocket = self.directory / "redis.sock" if unixsocket else None
        self._keeps = appendonly or bool(save)
        self._process = None
        self._clients = []
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            "daemonize no",
            f"dir {self.directory}",
            f'save "{save}"',
            f"appendonly {'yes' if appendonly else 'no'}",
            f"appendfsync {appendfsync}",
        ]
        if password is not None:
            lines.append(f'requirepass "{password}"')
        if self.unixsocket is not None:
            lines += [f"unixsocket {self.unixsocket}", "unixsocketperm 700"]
        self._config = self.directory / "redis.conf"
        self._config.write_text("\n".join([*lines, *config, ""]))

    @property
    def url(self):
        """``redis://…/0``, with the password if there is one."""
        return f"redis://{self._credentials}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self):
        """``unix://…``, for a server made with ``unixsocket=True``."""
        return f"unix://{self._credentials}{self.unixsocket}?db=0"

    @property
    def pid(self):
        return self._process.pid

    @property
    def alive(self):
        return self._process is not None and self._process.alive

    @property
    def log(self):
        return "" if self._process is None else self._process.log

    def start(self, timeout=20):
        """Start it and wait until it answers PING, its data loaded."""
        if self.alive:
            return self
        self._drop_process()
        self._process = ServerProcess([command("redis-server"), self._config], port=self.port)
        self._process.wait_ready(timeout)
        deadline = time.monotonic() + timeout
        while not self.answers():
            if not self.alive or time.monotonic() > deadline:
                pytest.fail(f"redis-server does not answer PING\n{self.log}", pytrace=False)
            time.sleep(0.01)
        return self

    def answers(self):
        """Whether it answers a PING within a second."""
        with contextlib.closing(self._new_client(socket_timeout=1)) as client:
            try:
                return client.ping()
            except redis.RedisError:
                return False

    def stop(self):
        """An orderly end (SIGTERM): what its persistence settings keep is on disk afterwards."""
        if self.alive:
            self.resume()
            self._process.terminate()

    def kill(self):
        """An end without notice (SIGKILL)."""
        if self.alive:
            self._process.kill()

    def pause(self):
        """Freeze it: connections stay open and nothing is answered."""
        self._process.signal(signal.SIGSTOP)

    def resume(self):
        """End ``pause``."""
        self._process.signal(signal.SIGCONT)

    def restart(self, *, keep_data):
        """Stop it and start it on the same port, with all of its data or with none."""
        if keep_data and not self._keeps and self.alive:
            self.client().save()
        self.stop()
        if not keep_data:
            self._wipe()
        self.start()
        if not self._keeps:
            self._wipe()  # the snapshot was for this one start

    def cli(self, *arguments, timeout=20):
        """Run redis-cli against it; its output without the last newline."""
        arguments = [command("redis-cli"), "-p", str(self.port), *map(str, arguments)]
        environ = {} if self.password is None else {"REDISCLI_AUTH": self.password}
        done = subprocess.run(
            arguments, env=environ, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            pytest.fail(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout.removesuffix("\n")

    def flush(self):
        """Remove all data of all databases."""
        with contextlib.closing(self._new_client()) as client:
            client.flushall()

    def client(self, **options):
        """A synchronous redis.Redis for it, text in and out; closed together with the server.

        It reconnects, but repeats no command.
        """
        client = self._new_client(**options)
        self._clients.append(client)
        return client

    def close(self):
        """Kill it and remove its directory."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._drop_process()
        self._directory.cleanup()

    @property
    def _credentials(self):
        return "" if self.password is None else f":{quote(self.password, safe='')}@"

    def _new_client(self, **options):
        settings = {
            "port": self.port,
            "password": self.password,
            "decode_responses": True,
            "socket_timeout": 10,
            "retry": Retry(NoBackoff(), 0),
        }
        return redis.Redis(**{**settings, **options})

    def _drop_process(self):
        if self._process is not None:
            self._process.close()
            self._process = None

    def _wipe(self):
        for path in self.directory.rglob("*"):
            if path.is_file() and path != self._config:
                path.unlink()
