"""A process that has imported what most servers are made of, and forks one of them whenever it is asked.

The tests start hundreds of servers, and half a second of CPU for each was a quarter of all they took: Python
begins, and imports uvicorn and sse_edge.  What is forked runs the same program with the same arguments,
environment, directory and output; it only finds modules imported.  So it will do where a server is a mere
means.  New processes, started by their command lines, are the servers of tests/cli and of what pages and
examples show, of tests/door/test_live.py, test_servers.py and test_abuse.py, where memory is weighed, with
several workers, and every server that is not uvicorn.
"""

import gc
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

IMPORTED = (
    "sse_edge.cli",
    "starlette.applications",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.main",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
)
"""Nothing that reads settings when it is imported, nor anything that is used only where an app imports it."""

_MESSAGE = 1 << 17  # bytes: a command line and an environment


class ForkServer:
    """It starts when it is first asked for a process, and ends when it is closed or whoever asks it ends."""

    def __init__(self, env):
        self._env = env
        self._process = None
        self._lock = threading.Lock()

    def forks(self, arguments, env):
        """Whether it is such a program, and Python itself is to be as it is here."""
        python = [sys.executable, "-m", "uvicorn"]
        edge = [str(Path(sys.executable).with_name("sse-edge")), "serve"]
        return (arguments[:3] == python or arguments[:2] == edge) and _of_python(env) == _of_python(self._env)

    def start(self, arguments, *, env, cwd, output):
        """A process in a session of its own that writes to the file ``output``."""
        order = {"arguments": arguments, "env": env, "cwd": str(cwd or Path.cwd())}
        return Forked(self, self._ask(order, output.fileno()))

    def reap(self, pid):
        """The exit code of a process that has ended, for Forked."""
        return os.waitstatus_to_exitcode(self._ask({"reap": pid}))

    def close(self):
        """End it.  What it has forked goes on."""
        if self._process is not None:
            self._socket.close()
            self._process.wait(10)
            self._process = None

    def _ask(self, order, *descriptors):
        with self._lock:
            if self._process is None:
                self._start()
            socket.send_fds(self._socket, [json.dumps(order).encode()], descriptors)
            return int(self._socket.recv(_MESSAGE))

    def _start(self):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=self._env,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )


class Forked:
    """A process that the fork server is the parent of, with the part of Popen that ServerProcess needs."""

    def __init__(self, parent, pid):
        self.pid = pid
        self.returncode = None
        self._parent = parent
        self._lock = threading.Lock()
        self._descriptor = os.pidfd_open(pid)

    def poll(self):
        """Its exit code, None while it runs."""
        with self._lock:
            if self.returncode is None and self._has_ended(0):
                self.returncode = self._parent.reap(self.pid)
                os.close(self._descriptor)
            return self.returncode

    def wait(self, timeout):
        """Its exit code once it has ended.  Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            left = deadline - time.monotonic()
            if left < 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            self._has_ended(left)
        return self.returncode

    def send_signal(self, number):
        """As os.kill does, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _has_ended(self, seconds):
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


def _of_python(env):
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}


def _take_orders(asked):
    """Fork for each order, and return it in the process that was forked."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(asked, _MESSAGE, 1)
        if not message:
            sys.exit()
        order = json.loads(message)
        if "reap" in order:
            asked.send(b"%d" % os.waitpid(order["reap"], 0)[1])
        elif os.fork() == 0:
            os.setsid()
            for standard in (1, 2):
                os.dup2(descriptors[0], standard)
            os.close(descriptors[0])
            asked.send(b"%d" % os.getpid())  # not before it can be killed with its group
            asked.close()
            return order
        else:
            os.close(descriptors[0])


def _become(arguments, env, cwd):
    """Run a program as Python does that is started with this command line."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    gc.enable()
    sys.orig_argv[:] = arguments
    if arguments[1] == "-m":
        sys.path[0], sys.argv[:] = cwd, arguments[2:]
        runpy.run_module(arguments[2], run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv[:] = str(Path(arguments[0]).parent), arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    gc.disable()
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    _become(**_take_orders(socket.socket(fileno=int(sys.argv[1]))))
