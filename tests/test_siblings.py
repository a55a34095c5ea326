"""Several workers on memory://, which do not hear each other: that is said at the start."""

import pytest

SAID = "memory:// reaches one process, and this server runs several"


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
def test_several_workers_on_memory(serve_app, server):
    """Each worker but the first says that its streams hear nothing of the others."""
    process = serve_app("apps.edge:edge", server=server, workers=3)
    process.wait_for_log(SAID)


def test_one_worker_on_memory(serve_app):
    """A worker that is alone has nothing to say, nor have workers on one Redis."""
    process = serve_app("apps.edge:edge")
    process.terminate()
    assert SAID not in process.log


def test_several_workers_on_redis(serve_app, redis_url):
    """They hear each other."""
    process = serve_app("apps.edge:edge", workers=2, env={"BACKEND": redis_url})
    process.terminate()
    assert "memory://" not in process.log
