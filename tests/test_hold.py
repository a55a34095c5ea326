"""``python -m loadtest.hold`` against real deployments: what it counts is what happened."""

import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.hold import PER_ADDRESS, main, source
from sse_edge import Limits

ROOT = Path(__file__).parents[1]
SECRET = "a secret of the tests"


def hold(url, redis_url, *options, secret=SECRET):
    """Run it for a moment; exit code and output."""
    arguments = [url, "--redis", redis_url, "--secret", secret, "--seconds", "0.5", "--events", "3", *options]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.hold", *arguments],
        check=False, capture_output=True, text=True, timeout=50, cwd=ROOT,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_through_the_proxy(behind, redis_url):
    """Through the shipped nginx.conf and TLS every stream opens and gets every event."""
    site = behind("nginx", apps=1)
    code, said = hold(
        f"https://localhost:{site.proxy.port}/events/me", redis_url,
        "--streams", "100", "--cacert", str(site.proxy.authority),
    )  # fmt: skip
    assert "100 of 100" in said
    assert "refused, ended  none" in said
    assert "3 published, 300 of 300 arrived" in said
    assert code == 0


def test_refused(serve_app, redis_url):
    """Streams that the app refuses are counted with what it answered, and it fails."""
    app = serve_app("apps.edge:edge", env={"BACKEND": redis_url})
    code, said = hold(f"{app.url}/events/me", redis_url, "--streams", "5", secret="another")
    assert "0 of 5" in said
    assert "'refused: HTTP/1.1 401 Unauthorized': 5" in said
    assert code == 1


def test_full(serve_app, redis_url):
    """A refusal that is said as a stream is no open stream."""
    app = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "PER_WORKER": "3"})
    code, said = hold(f"{app.url}/events/me", redis_url, "--streams", "5", "--processes", "1")
    assert "3 of 5" in said
    assert "retry" in said
    assert "9 of 9 arrived" in said
    assert code == 1


def test_addresses():
    """To this machine streams come from so many addresses that no cap is met, elsewhere from one."""
    assert Limits().per_ip > PER_ADDRESS
    assert [source(number, "127.0.0.1") for number in (0, 79, 80, 9_999)] == [
        "127.1.0.1", "127.1.0.1", "127.1.0.2", "127.1.0.125",
    ]  # fmt: skip
    assert source(9_999, "192.0.2.1") is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["https://localhost/events/me"], "no secret"),
        (["localhost/events/me", "--secret", "s"], "is no http"),
        (["https://localhost/events/me", "--secret", "s", "--streams", "0"], "must be 1 or more"),
    ],
)
def test_bad_usage(arguments, said, monkeypatch, capsys):
    """What cannot work is said before anything is opened."""
    monkeypatch.delenv("SSE_EDGE_SECRET", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
