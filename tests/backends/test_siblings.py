"""Several workers on memory://, which do not hear each other, or that do not know each other's figures: that
is said at the start."""

import pytest

from parts.ears import until
from sse_edge.status.slots import VARIABLE

SAID = "memory:// reaches one process, and this server runs several"
EACH = f"several workers, and a scrape of their metrics tells of one: name a directory in {VARIABLE}"
GUNICORN = {"server": "gunicorn", "options": ["-k", "uvicorn_worker.UvicornWorker"]}


@pytest.mark.parametrize("server", [{"server": "uvicorn"}, {"server": "hypercorn"}, GUNICORN])
async def test_several_workers_on_memory(serve_app, server):
    """Each worker but the first says that its streams hear nothing of the others, and one that a scrape tells
    of one worker."""
    process = serve_app("apps.edge:edge", **server, workers=3, env={"STATUS": "/status"})
    await until(lambda: process.log.count(SAID) >= 2, 20)
    process.terminate()
    assert process.log.count(EACH) == 1


def test_one_worker_on_memory(serve_app):
    """A worker that is alone has nothing to say, nor have workers on one Redis."""
    process = serve_app("apps.edge:edge", env={"STATUS": "/status"})
    process.terminate()
    assert SAID not in process.log
    assert VARIABLE not in process.log


def test_several_workers_on_redis(serve_app, redis_url, tmp_path):
    """They hear each other, and with a directory a scrape tells of all."""
    env = {"BACKEND": redis_url, "STATUS": "/status", VARIABLE: str(tmp_path / "figures")}
    process = serve_app("apps.edge:edge", workers=2, env=env)
    process.terminate()
    assert "memory://" not in process.log
    assert VARIABLE not in process.log
