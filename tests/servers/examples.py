"""The examples, each run as its first lines say."""

import re
import sys
from pathlib import Path

from .processes import TESTS, free_port
from .proxies import wait_until

EXAMPLES = TESTS.parent / "examples"
SSE_EDGE = Path(sys.executable).with_name("sse-edge")


def serve_example(serve, app, *options, app_dir=EXAMPLES, unix=None, env=None):
    """Serve ``module`` or ``module:name`` of examples/ with the fixture ``serve``; it has ``.url``."""
    port = None if unix else free_port()
    named = app if ":" in app else f"{app}:app"
    where = ["--uds", unix] if unix else ["--port", port]
    run = [SSE_EDGE, "serve", named, "--app-dir", app_dir, *where, *options]
    process = serve(run, port=port, unix=unix, env=env)
    process.url = "http://localhost" if unix else f"http://127.0.0.1:{port}"
    return process


def asked(process, path, times):
    """Whether streams at ``path`` were asked for so often, as the log has it once all of them have ended."""
    line = re.compile(rf'sse_edge\.access: "GET {path}')
    wait_until(lambda: len(line.findall(process.log)) >= times, f"{times} have ended")
    return len(line.findall(process.log)) == times
