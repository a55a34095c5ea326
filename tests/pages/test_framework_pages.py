"""docs/frameworks/: whoever follows a page gets what it says, and each way to put the edge in works."""

import os
import subprocess
import sys

import pytest

from servers.pages import FOLLOWED, ROOT
from servers.processes import free_port
from servers.reader import Reader, files, steps

PAGES = FOLLOWED[1:]
WAYS = [
    (page, file)
    for page in PAGES
    for file in files(page)
    if file.rpartition("/")[2] in ("inside.py", "mounted.py")
]
FOLLOWERS = [page if page.stem == "FLASK" else pytest.param(page, marks=pytest.mark.heavy) for page in PAGES]
"""The page to start with has an app of ASGI, this one of WSGI; of the others only the apps in which the edge
is, without --heavy."""

HEARS = """
from {module} import app
from sse_edge import Publisher
from sse_edge.testing import sync_client

with sync_client(app) as client:
    assert client.post("/login/ann").status < 300
    with client.stream("/events/me") as stream:
        client.wait(Publisher().publish("user:ann", "hello"))
        assert stream.next(timeout=5).data == "hello"
"""


@pytest.fixture
def reader(tmp_path, serve, redis_url):
    """``reader(page)`` is somebody at the beginning of one."""
    readers = []

    def begin(page):
        instead = {
            "8000": str(free_port()),
            "8001": str(free_port()),
            "redis://127.0.0.1:6379/0": redis_url,
        }
        readers.append(Reader(page, tmp_path, serve, instead=instead))
        return readers[-1]

    yield begin
    for each in readers:
        each.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", FOLLOWERS, ids=lambda page: page.stem)
def test_whoever_follows_the_page_gets_what_it_says(reader, page):
    """Each file and command as it is written, with what it prints, and the page's tests pass."""
    follower = reader(page)
    for step in steps(page):
        follower.follow(step)
    commands = "".join(step.text for step in steps(page) if step.language == "sh")
    assert "-m pytest" in commands or "manage.py test" in commands
    assert "curl" in commands


@pytest.mark.parametrize(("page", "file"), WAYS, ids=lambda each: getattr(each, "stem", each))
def test_the_edge_inside(tmp_path, page, file):
    """Put into the app, or mounted in it, the edge has streams as it has around it."""
    for name, text in files(page).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "hears.py").write_text(HEARS.format(module=file.removesuffix(".py")))
    env = {**os.environ, "SECRET": "a secret of the tests", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "hears.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_each_framework_has_its_page():
    """All that the overview's table has, and it links them."""
    overview = (ROOT / "docs" / "FRAMEWORKS.md").read_text()
    table = overview.partition("<!-- works -->")[2].partition("<!-- /works -->")[0]
    named = {line.split("|")[1].strip() for line in table.splitlines()[3:] if line}
    assert {page.stem for page in PAGES} == {name.upper() for name in named}
    assert all(f"(frameworks/{page.name})" in overview for page in PAGES)
