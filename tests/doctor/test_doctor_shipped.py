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
    if kind == "nginx":  # which says why; Caddy has no certificate, and says no more than that
        other = [
            "doctor",
            f"https://127.0.0.1:{site.proxy.port}/events/me",
            "--cacert",
            str(site.proxy.authority),
        ]
        result = CliRunner().invoke(main, other)
        assert (result.exit_code, "[name-refused]" in result.output) == (4, True)
        assert "there is TLS, but no site of the name 127.0.0.1" in " ".join(result.output.split())
        assert CliRunner().invoke(main, [*other, "--host", f"localhost:{site.proxy.port}"]).exit_code == 4
    site.apps[0].kill()
    result = CliRunner().invoke(main, [*arguments, "--down"])
    assert result.exit_code == 0, result.output
    assert "0 failures, 0 warnings, 0 not checked, 2 ok" in result.output
