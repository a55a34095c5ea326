"""The doctor finds nothing wrong with the nginx.conf and the Caddyfile that are shipped."""

import pytest
from click.testing import CliRunner

from sse_edge.cli import main


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_the_shipped_files(kind, behind, redis_url):
    """No failure and no warning, while the app is there and while it is away."""
    site = behind(kind, apps=1, env={"CONNECTS": "60/minute"})
    arguments = ["doctor", f"{site.url}/events/me", "--cacert", str(site.proxy.authority), "--elsewhere"]
    options = ["--secret", "a secret of the tests", "--redis", redis_url, "--flood"]
    result = CliRunner().invoke(main, [*arguments, *options])
    assert result.exit_code == 0, result.output
    for line in (
        "ok    http version     HTTP/2",
        "ok    buffering        3 events",
        "ok    resume           2 missed events",
        "ok    spoofing         refused after",
    ):
        assert line in result.output
    site.apps[0].kill()
    result = CliRunner().invoke(main, [*arguments, "--down"])
    assert result.exit_code == 0, result.output
    assert "0 failures, 0 warnings, 0 not checked, 2 ok" in result.output
