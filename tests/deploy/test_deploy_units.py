"""The units of systemd: its checkers take them, and what they start runs as they say."""

import json
import re
import shlex
import signal
from pathlib import Path

import pytest

from parts.shipped import DEPLOY, SECRET, cookies, run, unit
from servers.processes import BIN, command, free_port
from servers.sse import get


def verify(directory, service, target):
    """``systemd-analyze verify`` with a command that exists here in place of the app's own."""
    text = service.read_text()
    assert "/srv/app/.venv/bin/sse-edge" in text
    (directory / "sse-edge@.service").write_text(
        text.replace("/srv/app/.venv/bin/sse-edge", str(BIN / "sse-edge"))
    )
    (directory / "sse-edge.target").write_text(target.read_text())
    (directory / "sse-edge@8001.service").symlink_to("sse-edge@.service")
    return run(
        command("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no",
        directory / "sse-edge@8001.service", directory / "sse-edge.target",
    )  # fmt: skip


def test_systemd_units(tmp_path):
    """systemd finds nothing wrong with the units, not even an unknown setting."""
    code, said = verify(tmp_path, DEPLOY / "systemd/sse-edge@.service", DEPLOY / "systemd/sse-edge.target")
    assert (code, said) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("Type=exec", "Type=exek", "Failed to parse"),
        ("LimitNOFILE=16384", "LimitNOFILES=16384", "Unknown key"),
        ("/srv/app/.venv/bin/sse-edge serve", "/srv/app/.venv/bin/sse-edge-none serve", "not executable"),
    ],
)
def test_broken_systemd_units(tmp_path, broken, old, new, why):
    """systemd's checker sees a wrong value, a wrong name and a missing command."""
    directory = tmp_path / "units"
    directory.mkdir()
    service = broken("systemd/sse-edge@.service", old, new)
    _, said = verify(directory, service, DEPLOY / "systemd/sse-edge.target")
    assert why in said


def test_the_proxy_drop_in(tmp_path):
    """The proxy's drop-in is read as one: with it the file limit of a unit is another."""
    unit = tmp_path / "proxy.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    dropins = tmp_path / "proxy.service.d"
    dropins.mkdir()
    (dropins / "limits.conf").write_text((DEPLOY / "systemd/proxy-limits.conf").read_text())
    verified = run(command("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit)
    assert verified == (0, "")
    (dropins / "limits.conf").write_text("[Service]\nLimitNOFILE=many\n")
    assert "many" in run(command("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit)[1]


def exposure(service):
    """systemd's own score of a unit's hardening, 0 (all) to 10 (none)."""
    code, said = run(command("systemd-analyze"), "security", "--offline=true", service)
    assert code == 0, said
    return float(re.search(r"exposure level for \S+: ([\d.]+)", said)[1])


def test_hardening(broken):
    """systemd scores the unit's hardening as good, and each part counts."""
    kept = exposure(DEPLOY / "systemd/sse-edge@.service")
    assert kept < 2
    assert exposure(broken("systemd/sse-edge@.service", "ProtectSystem=strict\n", "")) > kept


async def test_the_unit_starts_and_drains(serve, connect, redis_url):
    """ExecStart as it is written, in a directory with the example app: it is ready, streams, and a stop
    ends the stream with a reason and the process with 0.
    """
    settings = unit((DEPLOY / "systemd/sse-edge@.service").read_text())
    port = free_port()
    program, *arguments = shlex.split(settings["ExecStart"][0].replace("%i", str(port)))
    assert Path(program).name == "sse-edge"
    env = dict(each.split("=", 1) for each in settings["Environment"])
    env |= {"REDIS": redis_url, "SESSION_SECRET": SECRET}
    process = serve([BIN / "sse-edge", *arguments], port=port, env=env, cwd=DEPLOY)
    url = f"http://127.0.0.1:{port}"
    assert (await get(f"{url}/status/live")).status == 200
    stream = await connect(f"{url}/events/me", cookies=cookies())
    metrics = (await get(f"{url}/status/metrics")).body.decode()
    assert "sse_edge_ready 1.0" in metrics  # it waited for Redis before it took the stream
    process.signal(signal.SIGTERM)
    assert json.loads((await stream.until(lambda event: event.event == "edge-close")).data) == {
        "reason": "drain"
    }
    assert await process.exited() == 0
