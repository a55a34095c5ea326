"""``sse-edge serve``: where it listens, and who may connect to a unix socket."""

import grp
import os
import signal
import socket
import stat

import pytest

from parts.commands import invoke, said
from servers.proxies import wait_until
from servers.sse import get


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_unix_socket(serve_example, tmp_path, workers):
    """A socket that a dead server left behind is replaced, and removed at the end."""
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = serve_example("plain_asgi:app", "--workers", workers, unix=path)
    assert stat.filemode(path.stat().st_mode) == "srw-rw----"
    answer = await get(server.url + "/", unix=path)
    assert answer.body.startswith(b"Listen at /events/clock")
    wait_until(lambda: ': unix - "GET / HTTP/1.1" 200' in server.log, "the request is logged")
    assert said(invoke("serve", "os:getcwd", "--uds", path), 1) == f"{path} is in use by another server"
    server.signal(signal.SIGTERM)
    assert await server.exited() == 0
    assert not path.exists()


async def test_who_may_connect_to_a_unix_socket(serve_example, tmp_path):
    """Its mode and its group are what was said, whatever the umask and the process's own group."""
    path, group = tmp_path / "app.sock", grp.getgrgid(os.getegid())
    if os.geteuid() == 0:  # who may give it to any
        group = grp.getgrall()[-1]
    options = ["--uds-mode", "0606", "--uds-group", group.gr_name]
    server = serve_example("plain_asgi:app", *options, unix=path)
    assert stat.filemode(path.stat().st_mode) == "srw----rw-"
    assert path.stat().st_gid == group.gr_gid
    assert (await get(server.url + "/", unix=path)).status == 200


@pytest.mark.parametrize(
    ("options", "exit_code", "error"),
    [
        (["--uds-mode", "rw"], 2, "--uds-mode: must be permissions in octal, such as 0660 (got 'rw')"),
        (["--uds-mode", "0680"], 2, "--uds-mode: must be permissions in octal, such as 0660 (got '0680')"),
        (["--uds-mode", "1777"], 2, "--uds-mode: must be permissions in octal, such as 0660 (got '1777')"),
        (["--uds-group", "nobodys"], 2, "--uds-group: there is no group 'nobodys' on this machine"),
        (["--uds-group", "0"], 1, "--uds-group: {} cannot be given to it, unless its owner is in it: No"),
    ],
)
def test_a_unix_socket_that_nobody_gets(tmp_path, monkeypatch, options, exit_code, error):
    """A mode or a group that cannot be is said in one line, and no socket is left behind."""

    def refuse(*arguments):
        raise PermissionError(1, "No such right")

    monkeypatch.setattr(os, "chown", refuse)
    path = tmp_path / "app.sock"
    line = said(invoke("serve", "os:getcwd", "--uds", path, *options), exit_code)
    assert line.startswith(error.format(path))
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "env", "error"),
    [
        (["--uds-mode", "0600"], {}, "--uds-mode: is of no use without --uds (got 0600)"),
        (["--uds-mode", "0660"], {}, "--uds-mode: is of no use without --uds (got 0660)"),
        (["--uds-group", "www-data"], {}, "--uds-group: is of no use without --uds (got www-data)"),
        (["--uds", "a.sock", "--port", 8000], {}, "--port: is of no use with --uds a.sock (got 8000)"),
        (["--uds", "a.sock", "--host", "::1"], {}, "--host: is of no use with --uds a.sock (got ::1)"),
        (
            ["--uds", "a.sock"],
            {"SSE_EDGE_SERVE_PORT": "80"},
            "--port: is of no use with --uds a.sock (got 80, from SSE_EDGE_SERVE_PORT)",
        ),
        (
            ["--port", "80"],
            {"SSE_EDGE_SERVE_UDS_MODE": "0666"},
            "--uds-mode: is of no use without --uds (got 0666, from SSE_EDGE_SERVE_UDS_MODE)",
        ),
    ],
)
def test_two_places_to_listen_at(options, env, error, tmp_path, monkeypatch):
    """What is said of a place that is not listened at is a mistake; nothing listens elsewhere instead."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sse_edge.cli.serving.server.run_one", lambda *arguments: None)
    assert said(invoke("serve", "os:getcwd", *options, env=env), 2) == error


@pytest.mark.parametrize("command", [["serve", "os:getcwd"], ["demo"]])
def test_where_one_cannot_listen(command, tmp_path):
    """The error names the port, the address or the file."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = said(invoke(*command, "--port", port), 1)
        assert line == f"port {port} on 127.0.0.1 is in use; choose another with --port"
    assert said(invoke(*command, "--host", "192.0.2.1"), 1).startswith(
        "cannot listen on 192.0.2.1 port 8000: "
    )
    assert said(invoke(*command, "--host", "no.such.invalid"), 1).startswith(
        "--host no.such.invalid is no addr"
    )
    if command[0] == "serve":
        file = tmp_path / "file"
        file.touch()
        assert said(invoke(*command, "--uds", file), 1) == f"{file} exists and is not a socket"
        assert "No such file" in said(invoke(*command, "--uds", tmp_path / "none" / "x"), 1)
