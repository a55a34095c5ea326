"""A Flask app under gunicorn, with an edge beside it that reads Flask's own session, behind one nginx.

pip install 'sse_edge[server]' flask gunicorn      # and nginx, openssl, and Redis, of your system
python examples/flask_nginx/run.py
then open https://localhost:8443 (its certificate was made just now), and sign in as anybody

It starts the three and ends them with itself.  On a server a unit of systemd does so for each: gunicorn with
`flask_nginx.app:app`, `sse-edge serve flask_nginx.edge:app`, and the shipped nginx.conf, whose upstream
`streams` is the edge and whose upstream `app` is gunicorn.  Both have the same SECRET and the same REDIS.
"""

import contextlib
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sse_edge.tune.template import render, shipped

EXAMPLES = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PORT = os.environ.get("PORT", "8443")


def configuration(directory: Path, edge: str, flask: str) -> str:
    """The shipped nginx.conf for this machine: streams are the edge's, and everything else is Flask's."""
    text = render(
        shipped("nginx.conf"),
        {
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "workers": "2",
            "pid": f"{directory}/nginx.pid",
            "error_log": ["stderr"],
            "access_log": [f"{directory}/access.log"],
            "temp": f"{directory}/tmp",
            "listen": [f"127.0.0.1:{PORT}"],
            "http_listen": [f"unix:{directory}/http.sock"],
            "status_listen": f"unix:{directory}/status.sock",
            "server_name": "localhost",
            "certificate": f"{directory}/cert.pem",
            "certificate_key": f"{directory}/key.pem",
            "upstream": [edge],
        },
    )
    streams, pages = text.split("upstream app {")
    return f"{streams}upstream app {{{pages.replace(edge, flask, 1)}"


def accepts(path: str) -> bool:
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def run(directory: Path) -> int:
    """Run all three until one of them ends, or this is ended; the first exit code."""
    edge, flask = f"{directory}/edge.sock", f"{directory}/flask.sock"
    config = directory / "nginx.conf"
    config.write_text(configuration(directory, f"unix:{edge}", f"unix:{flask}"))
    made = [
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=localhost",
    ]
    keys = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", "req", *made, *keys], cwd=directory, check=True, capture_output=True)
    env = {"REDIS": "redis://127.0.0.1:6379/0", "SECRET": secrets.token_urlsafe(32), **os.environ}
    nginx = ["nginx", "-e", "stderr", "-c", str(config), "-g", "daemon off;"]
    processes = [
        subprocess.Popen([str(part) for part in command], cwd=EXAMPLES, env=env)
        for command in (
            [BIN / "gunicorn", "--workers", "2", "--bind", f"unix:{flask}", "flask_nginx.app:app"],
            [BIN / "sse-edge", "serve", "flask_nginx.edge:app", "--app-dir", EXAMPLES, "--uds", edge],
        )
    ]
    try:
        while not (accepts(edge) and accepts(flask)) and not any(each.poll() for each in processes):
            time.sleep(0.05)
        processes.append(subprocess.Popen(nginx))
        while all(each.poll() is None for each in processes):
            time.sleep(0.2)
        return max(each.returncode or 0 for each in processes)
    finally:
        for each in processes:
            each.terminate()
        for each in processes:
            each.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as made:
        sys.exit(run(Path(made)))
