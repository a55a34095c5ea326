"""Every command that a page shows is run, or is one that its program would take, or has a reason for neither.

A block without a language, or of ``sh``, is commands; of one of ``console``, the lines behind ``$``.  What is
neither is ``text``.
"""

import functools
import re
import shlex
import subprocess
import sys
import tomllib

import click
import pytest

from servers.pages import FOLLOWED, PAGES, ROOT, blocks, name
from servers.processes import BIN
from sse_edge.cli import main

RUN = {
    "curl -s http://127.0.0.1:8000/status/metrics": r"sse_edge_streams",
    "curl -s 'http://127.0.0.1:8000/status/metrics?by=worker'": r'sse_edge_streams{.*worker="',
    "curl -s http://127.0.0.1:8001/status/ready": r"",
    "for port in 8001 8002 8003 8004; do curl -s http://127.0.0.1:$port/status/metrics"
    " | grep '^sse_edge_streams '; done": r"(?:sse_edge_streams 0.*\n){4}",
    "export REDIS=redis://127.0.0.1:6379/0 SECRET=$(openssl rand -hex 32)": r"",
    "export SSE_EDGE_SECRET=…": r"",
    "mkdir -p /etc/nginx/tls": r"",
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost"
    " -addext subjectAltName=DNS:localhost -keyout /etc/nginx/tls/privkey.pem"
    " -out /etc/nginx/tls/fullchain.pem": r"",
    "ps -o rss,cputime,args -C nginx,redis-server": r"redis-server",
    'redis-cli PUBLISH sse:news \'{"event": "headline", "data": "Rain later"}\'': r"^\d+$",
    "sed -i 's/server_name example.com;/server_name localhost;/' /etc/nginx/nginx.conf": r"",
    "sleep 1": r"",
    "sse-edge publish news Hello": r"^\d+-\d+\.\w+$",
    "sse-edge token billing --publish --channel 'order:*' --channel news": r"^[\w.-]{40,}$",
    "sse-edge tune --connections 50000": r"^50,000 streams",
    "sse-edge tune --connections 50000 --write out": r"nginx\.conf",
    "sse-edge tune --connections 10000 --write /root/edge": r"nginx\.conf",
    "sse-edge tune --connections 10000 --keep 'task:*=10000/3600:300'"
    " --keep 'order:*=1/86400:50000:200'": r"Redis",
    "ss -s": r"TCP:",
}
"""Commands that are run as they stand there, but for the addresses and directories: → what they print."""

ELSEWHERE = {
    "apt-get": "installs on this machine; tests/debian-packages does so, with the same names",
    "cp": "writes below /etc and /srv; test_tuning.py knows the files, and `make containers` installs them",
    "cd": "goes to a directory of the walk-through's",
    "chmod": "of a file below /etc",
    "ln": "below /usr/local",
    "mkdir": "below /etc and /srv",
    "printf": "writes secrets below /etc",
    "sysctl": "sets this machine's kernel; test_deploy_units.py has the file read by the program",
    "systemctl": "there is no systemd to talk to; `make containers` starts the units with one",
    "for port in 8001 8002 8003 8004; do systemctl": "likewise",
    "useradd": "adds to this machine's users",
    "python3 -m venv": "`make` itself does it",
    "nginx -t": "of the installed file; test_nginx.py starts the shipped one",
    'nginx -c "$PWD/nginx.conf"': "on ports 80 and 443; test_nginx.py starts it on others",
    "caddy run --config Caddyfile": "on ports 80 and 443; test_caddy.py starts it on others",
    "curl --fail-with-body https://app.example.com/publish": "test_publishing_live.py runs it",
    "curl -sN --max-time 5 --cacert /etc/nginx/tls/fullchain.pem": "on port 443, as test_nginx.py does",
    "curl -s http://127.0.0.1:8081/nginx_status": "test_nginx.py asks for it",
    "go install": "builds a server from the network; test_rivals.py runs what takes no building",
    "python -m loadtest.bench.rivals": "takes a quarter of an hour; test_rivals.py runs a part of it",
    "export SSE_EDGE_SECRET=$(sed": "reads a file below /etc",
}
"""What is not run here, by how it begins, and why."""


def commands(page):
    """The commands of a page, each on one line, without what is said of it: where → command."""
    found = {}
    for block in blocks(page, "", "sh", "bash", "console"):
        lines = re.sub(r" *\\\n\s*", " ", block.text).splitlines()
        if block.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        for line in lines:
            said = re.sub(r"(^|\s+)# .*$", "", line).removesuffix(" &")
            if said:
                found[f"{block}: {said}"] = said
    return found


SHOWN = {
    where: command for page in PAGES if page not in FOLLOWED for where, command in commands(page).items()
}


def made(command):
    """Whether it is a target of the Makefile, with variables that it knows."""
    makefile = (ROOT / "Makefile").read_text()
    target, *variables = shlex.split(command)[1:] or ["help"]
    assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for variable in variables:
        assert f"({variable.partition('=')[0]})" in makefile, variable


def parsed(command):
    """Whether ``sse-edge`` has such a command, and takes what is given to it."""
    words = shlex.split(command.replace('"$SECRET"', "8d0f4c1e9a7b3d5f8d0f4c1e9a7b3d5f"))
    assert words[1] in main.commands
    with click.Context(main, info_name="sse-edge", auto_envvar_prefix="SSE_EDGE") as context:
        main.commands[words[1]].make_context(words[1], words[2:], parent=context)


@functools.cache
def told_of_loads():
    """What ``python -m loadtest`` says of itself."""
    asked = [sys.executable, "-m", "loadtest", "--help"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def loads(command):
    """Whether it says that it has such a scenario and such options."""
    _, *words = shlex.split(command.partition(" -m ")[2])
    told = told_of_loads()
    assert words[0] in told
    for word in words:
        assert not word.startswith("--") or re.search(rf"{word}\b", told), word


def installs(command):
    """Whether there are such extras; what else is installed beside is an example's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"(?:sse_edge|/srv/src)\[([^\]]+)\]", command)
    assert extras
    assert {each for named in extras for each in named.split(",")} <= set(project["optional-dependencies"])


def workers(command):
    """Whether gunicorn takes it, with an app of its name."""
    variables, options = re.fullmatch(r"((?:\w+=\S+ )*)gunicorn (.*)", command).groups()
    sources = [path.read_text() for path in (ROOT / "sse_edge").rglob("*.py")]
    for variable in re.findall(r"(\w+)=", variables):
        assert any(f'"{variable}"' in source for source in sources), variable
    run = [BIN / "gunicorn", "--check-config", *shlex.split(options.replace("myapp:app", "apps.hello:app"))]
    done = subprocess.run(run, cwd=ROOT / "tests", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CHECKED = {
    r"make\b": made,
    r"(?:\./)?sse-edge ": parsed,
    r"(?:\S*/)?python -m loadtest ": loads,
    r"(?:\S*/)?pip install ": installs,
    r"(?:\w+=\S+ )*gunicorn ": workers,
}
"""How a command that is not run is looked at, by how it begins."""


def check_of(command):
    """What looks at a command, if anything does."""
    return next((check for start, check in CHECKED.items() if re.match(start, command)), None)


@pytest.mark.parametrize("where", SHOWN)
def test_a_command_that_is_shown(where):
    """It is run below, or its program would take it, or the list above says why it is neither."""
    command = SHOWN[where]
    if check := check_of(command):
        check(command)
    else:
        known = command in RUN or any(command.startswith(start) for start in ELSEWHERE)
        assert known, "a new command: put it into RUN, or into ELSEWHERE with the reason"


@pytest.mark.live
@pytest.mark.parametrize("command", RUN)
def test_a_command_that_is_run(command, serve_app, redis_url, tmp_path):
    """It ends well, and prints what it should."""
    places = {
        "/etc/nginx": f"{tmp_path}/nginx",
        "/root/edge": "edge",
        "redis-cli": f"redis-cli -u {redis_url}",
    }
    if "http://127.0.0.1" in command:
        env = {"REDIS": redis_url, "SESSION_SECRET": "8d0f4c of the tests"}
        url = serve_app("app:app", env=env | {"PYTHONPATH": str(ROOT / "deploy")}).url
        places |= {f"http://127.0.0.1:{port}": url for port in ("8000", "8001", "$port")}
    (tmp_path / "nginx/tls").mkdir(parents=True)
    (tmp_path / "nginx/nginx.conf").write_text((ROOT / "nginx.conf").read_text())
    text = command
    for shown, here in places.items():
        text = text.replace(shown, here)
    env = {"SSE_EDGE_REDIS": redis_url, "SSE_EDGE_SECRET": "8d0f4c1e9a7b3d5f8d0f4c1e9a7b3d5f"}
    env |= {"PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(RUN[command], done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_shell_takes_it(page):
    """Each block is right by the shell's grammar."""
    for block in blocks(page, "", "sh", "bash"):
        done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), f"{block}: {done.stderr}"


def test_the_tables_speak_of_what_is_shown():
    """No command is in them that no page has."""
    shown = set(SHOWN.values())
    assert sorted(set(RUN) - shown) == [], "no page shows these any more: take them out of RUN"
    left = [each for each in shown if each not in RUN and check_of(each) is None]
    assert [start for start in ELSEWHERE if not any(each.startswith(start) for each in left)] == []
    assert [start for start in CHECKED if not any(re.match(start, each) for each in shown)] == []


def test_what_is_not_there_is_found():
    """A command, an option, a target, an extra, a variable that do not exist."""
    for command in (
        "sse-edge serv myapp:app",
        "sse-edge serve myapp:app --log-fromat json",
        "sse-edge tune --connections many",
        "make everything",
        "make fuzz MINUETS=1",
        "pip install 'sse_edge[docter]'",
        "python -m loadtest steady --sreams 10",
        "gunicorn --wrokers 4 myapp:app",
        "SSE_EDGE_FIGURSE=/dev/shm/myapp gunicorn myapp:app",
    ):
        with pytest.raises((AssertionError, click.UsageError)):
            check_of(command)(command)
