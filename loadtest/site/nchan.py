"""nginx with the nchan module: a channel that all streams hear, and one for each name."""

from __future__ import annotations

import contextlib
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..measure import machine
from ..measure.process import children
from . import programs

CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {directory}/pid;
error_log stderr error;
{user}
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000;
    keepalive_timeout 1h;
    nchan_shared_memory_size 256M;
    nchan_message_buffer_length 100;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        nchan_subscriber_first_message newest;
        location = /publish {{ nchan_publisher; nchan_channel_id bench; }}
        location ~ ^/publish/(\\w+)$ {{ nchan_publisher; nchan_channel_id own-$1; }}
        location ~ ^/events/own/(\\w+)$ {{ nchan_subscriber eventsource; nchan_channel_id own-$1; }}
        location /events/ {{ nchan_subscriber eventsource; nchan_channel_id bench; }}
    }}
}}
"""


@contextlib.contextmanager
def running(port: int) -> Iterator[int]:
    """It, until the end of the block; the process id of its one worker."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory,
        programs.running(_command(Path(directory), port), port) as master,
    ):
        try:
            while not (workers := children(master.pid)):
                if master.exit_code is not None:
                    raise RuntimeError(f"nginx did not start:\n{master.log}")
                time.sleep(0.02)
            (worker,) = workers
            yield worker
        finally:
            master.stop()  # a SIGKILL would leave its worker behind


def _command(directory: Path, port: int) -> list[str]:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    configuration = directory / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            module=machine.NCHAN,
            directory=directory,
            port=port,
            descriptors=descriptors,
            connections=descriptors - 100,
            user="user root;" if os.getuid() == 0 else "",
        )
    )
    return [machine.nginx() or "nginx", "-e", "stderr", "-p", str(directory), "-c", str(configuration)]
