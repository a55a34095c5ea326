"""The examples, each run as its first lines say."""

import re
import sys
from pathlib import Path

from .processes import TESTS, free_port
from .proxies import wait_until

EXAMPLES = TESTS.parent / "examples"
SSE_EDGE = Path(sys.executable).with_name("sse-edge")


def serve_example(serve, name, *options, env=None):
    """Serve a module of examples/ with the fixture ``serve``; the process has ``.url``."""
    port = free_port()
    run = [SSE_EDGE, "serve", f"{name}:app", "--app-dir", EXAMPLES, "--port", port, *options]
    process = serve(run, port=port, env=env)
    process.url = f"http://127.0.0.1:{port}"
    return process


def asked(process, path, times):
    """Whether streams at ``path`` were asked for so often, as the log has it once all of them have ended."""
    line = re.compile(rf'sse_edge\.access: "GET {path}')
    wait_until(lambda: len(line.findall(process.log)) >= times, f"{times} have ended")
    return len(line.findall(process.log)) == times
