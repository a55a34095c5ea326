"""SyncPublisher where threads are greenlets."""

import subprocess
import sys
import types

import pytest

from servers.processes import TESTS, free_port
from sse_edge import SyncPublisher
from sse_edge.errors import ConfigError


def run(case, url):
    """One case of ``apps.greened``, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "apps.greened", case, url],
        cwd=TESTS, capture_output=True, text=True, timeout=50, check=False,
        env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "PYTHONFAULTHANDLER": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("case", ["many", "asyncio_beside", "others_go_on", "killed", "forked"])
def test_under_gevent(redis_url, case):
    """Under gevent's patching it works, other greenlets go on meanwhile, and asyncio stays theirs."""
    run(case, redis_url)


def test_tls_under_gevent(private_redis, certificate):
    """With TLS as well."""
    cert, key = certificate
    port = free_port()
    files = [f"tls-cert-file {cert}", f"tls-key-file {key}", f"tls-ca-cert-file {cert}"]
    private_redis(config=[f"tls-port {port}", *files, "tls-auth-clients no"])
    run("many", f"rediss://localhost:{port}/0?ssl_ca_certs={cert}")


def test_under_eventlet(monkeypatch, redis_url):
    """Under eventlet's patching it refuses by name, with what to do instead, and nothing was published."""
    patcher = types.SimpleNamespace(is_monkey_patched=lambda name: name == "thread")
    events = SyncPublisher(redis_url)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "eventlet.patcher", patcher)
        with pytest.raises(ConfigError, match="^SyncPublisher: cannot wait under eventlet"):
            events.publish("c", "x")
    events.publish("c", "x")
    events.close()
