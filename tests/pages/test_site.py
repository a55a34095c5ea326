"""The pages as a site: built strictly, whole, right at any width, and nothing is loaded from elsewhere."""

import inspect
import os
import re
import subprocess
import sys
from html import unescape
from importlib import import_module
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains

import sse_edge
from docs.site import __main__ as site
from docs.site import links, nav, pages, reference
from servers.browser import wait_for
from servers.processes import free_port

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The site, as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("docs")
    run = [sys.executable, "-m", "docs.site", folder]
    done = subprocess.run(run, cwd=pages.ROOT, capture_output=True, text=True, check=False)
    # What the menu lacks is for the test of the menu to say.
    others = set(done.stderr.splitlines()) - set(site.misplaced())
    assert done.returncode == 0 or (site.misplaced() and not others), done.stdout + done.stderr
    return folder / "site"


@pytest.fixture
def served(built, serve):
    """Its URL, from a server of plain files."""
    port = free_port()
    run = [sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1", "--directory", built]
    serve(run, port=port, env={})
    return f"http://127.0.0.1:{port}"


def files(built):
    """The pages of the site, as paths."""
    found = sorted(file.relative_to(built).as_posix() for file in built.rglob("*.html"))
    assert len(found) > len(pages.find())
    return found


def test_every_page_is_in_the_menu(built):
    """And on the site; there is nothing in the menu twice."""
    listed = list(nav.pages(nav.NAV))
    assert site.misplaced() == [], "a new page needs a line in docs/site/nav.py"
    assert len(listed) == len(set(listed))
    for page in pages.find():
        assert (built / page.parent / page.name.replace("README", "index")).with_suffix(".html").exists()


def test_the_menu_says_the_pages_headings(built):
    """What one clicks is what one then reads, on every page of the menu."""

    def plain(html):
        return unescape(re.sub(r"<[^>]*>", "", html)).strip()

    index = (built / "index.html").read_text()
    links_ = re.findall(r'<a href="([^"]+)" class="md-nav__link[^"]*">(.*?)</a>', index, re.DOTALL)
    menu = {url.removeprefix("./"): plain(text) for url, text in links_ if url.endswith(".html")}
    listed = {page.replace("README.md", "index.md").replace(".md", ".html") for page in nav.pages(nav.NAV)}
    assert listed <= set(menu)
    for page in listed:
        title = re.search(
            r"<h1[^>]*>(.*?)(?:<a class=\"headerlink|</h1>)", (built / page).read_text(), re.DOTALL
        )
        assert menu[page] == plain(title[1]), page


def test_every_public_name_is_in_the_reference(built):
    """With its signature, under the name by which it is imported."""
    assert set(sse_edge.__all__) <= set(reference.names("sse_edge"))
    for page, module in reference.MODULES.items():
        anchors = links.read(built / page.replace(".md", ".html")).anchors
        names = reference.names(module)
        assert names
        assert [name for name in names if f"{module}.{name}" not in anchors] == []
    protocols = links.read(built / reference.PROTOCOLS.replace(".md", ".html")).anchors
    assert set(reference.PROTOCOLS_SHOWN) <= protocols


def test_the_references_members():
    """A class has what it says something of; a backend nothing that only the edge calls."""
    assert {"publish", "finish", "write"} <= set(reference.members(sse_edge.Publisher))
    assert "publish" in reference.members(sse_edge.SyncPublisher)
    assert "per_user" in reference.members(sse_edge.Limits)
    assert "subscriber" not in reference.members(sse_edge.RedisBackend)
    assert reference.members(sse_edge.literal) == []


def told():
    """Each name of the reference, its members too, and what it says of itself."""
    shown = [
        (name, getattr(import_module(module), name))
        for module in reference.MODULES.values()
        for name in reference.names(module)
    ]
    for path in reference.PROTOCOLS_SHOWN:
        module, _, name = path.rpartition(".")
        shown.append((name, getattr(import_module(module), name)))
    for name, public in shown:
        yield name, inspect.getdoc(public) or "" if callable(public) else ""
        for member in reference.members(public):
            yield member, inspect.getdoc(inspect.getattr_static(public, member, None)) or ""


def test_the_reference_speaks_of_what_is_in_it():
    """Where a docstring names a class, a constant or an error of ours, or says "see", there is an entry."""
    said = list(told())
    there = {name for name, _ in said}
    sources = "\n".join(file.read_text() for file in (pages.ROOT / "sse_edge").rglob("*.py"))
    ours = set(re.findall(r"^(?:class )?([A-Z]\w+)(?:\(|:| =)", sources, re.MULTILINE))
    assert {"Lifetime", "FieldError", "MAX_EVENT_BYTES", "Request"} <= ours
    wrong = []
    for name, text in said:
        named = {*re.findall(r"``([A-Z]\w*)", text), *re.findall(r"Raises (\w+)", text)} & ours
        named |= set(re.findall(r"[Ss]ee ``(\w+)", text))
        wrong += [f"{name}: {each}" for each in sorted(named - there)]
    assert wrong == []


def test_a_page_that_is_nowhere_in_the_menu(monkeypatch):
    """It is said, and so is an entry without a page."""
    there = [each for each in pages.find() if each != Path("SECURITY.md")]
    monkeypatch.setattr(pages, "find", lambda: [*there, Path("docs/NEW.md")])
    assert site.misplaced() == [
        "docs/NEW.md is not in the menu: docs/site/nav.py",
        "docs/site/nav.py: SECURITY.md is not there",
    ]


def test_what_is_linked_is_shown(tmp_path, monkeypatch):
    """A file has a page, a folder its README or a list, a picture is beside; code is left alone."""
    monkeypatch.setattr(pages, "ROOT", tmp_path / "tree")
    for name in ("docs/A.md", "docs/B.md", "conf/a.conf", "demo/README.md", "demo/demo.png"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text("```\n")
    shown = "[b](B.md#b) [c](../conf/a.conf) [f](../conf/) [d](../demo) ![p](../demo/demo.png) [w](https://x.test/a)"
    (tmp_path / "tree/docs/A.md").write_text(f"{shown}\n\n```\n[c](../conf/a.conf)\n```\n")
    layout = pages.Layout(tmp_path / "laid")
    layout.add(Path("docs/A.md"))
    layout.add_lists()
    assert (tmp_path / "laid/docs/A.md").read_text() == (
        "[b](B.md#b) [c](../conf/a.conf.md) [f](../conf/index.md) [d](../demo/README.md)"
        " ![p](../demo/demo.png) [w](https://x.test/a)\n\n```\n[c](../conf/a.conf)\n```\n"
    )
    assert "\n````nginx\n```\n````\n" in (tmp_path / "laid/conf/a.conf.md").read_text()
    assert "[`a.conf`](a.conf.md)" in (tmp_path / "laid/conf/index.md").read_text()
    assert (tmp_path / "laid/demo/demo.png").exists()


def test_what_is_wrong_with_a_site_is_found(tmp_path):
    """What leads nowhere, what comes from elsewhere, and lists and tables that are paragraphs."""
    (tmp_path / "a.html").write_text("""
        <p id="here">fine - and so on | here</p> <a href="#here"> <a href="b.html#there"> <a href="https://x.test">
        <a href="c.html"> <a href="b.html#nowhere"> <a href="#nowhere"> <img src="no.png">
        <script src="https://x.test/a.js"></script> <link href="//x.test/a.css">
        <p>Such as:\n- one\n- two</p> <p>| a | b |\n|---|---|</p>
    """)
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>')
    (tmp_path / "a.css").write_text(
        '@import "https://x.test/font.css"; a { background: url(data:image/png,x) }'
    )
    assert list(links.wrong(tmp_path)) == [
        "a.html: is no paragraph: 'Such as:\\n- one\\n- two'",
        "a.html: is no paragraph: '| a | b |\\n|---|---|'",
        "a.html: c.html is not there",
        "a.html: b.html#nowhere has no such place",
        "a.html: #nowhere has no such place",
        "a.html: no.png is not there",
        "a.html: loads https://x.test/a.js",
        "a.html: loads //x.test/a.css",
        "a.css: loads https://x.test/font.css",
    ]


def test_the_generator_is_strict(tmp_path, monkeypatch):
    """A link to a page that is not there fails the build."""
    add = pages.Layout.add

    def added(layout, page):
        add(layout, page)
        layout.write(Path("SECURITY.md"), "# Security\n\n[nowhere](NOWHERE.md)\n")

    monkeypatch.setattr(pages, "find", lambda: [Path("README.md")])
    monkeypatch.setattr(pages.Layout, "add", added)
    (complaint,) = site.build(tmp_path)
    assert "page does not exist" in complaint
    assert not os.path.exists(tmp_path / "site/README.html")


def narrow(page, width, *, mobile=True):
    """Have the browser be a telephone of this width, or a window."""
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": mobile}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


WIDE = {"index", "docs/COMPARISON", "docs/SETTINGS", "deploy/METRICS", "reference/sse_edge", "nginx.conf"}
"""Pages of each kind: prose, wide tables, signatures, a file."""


@pytest.mark.parametrize("which", ["some", pytest.param("the others", marks=pytest.mark.heavy)])
def test_every_page_on_a_telephone(built, served, page, which):
    """None is wider than its 390 pixels: tables and code scroll in their own box.  All it loads is here."""
    wide = {f"{name}.html" for name in WIDE}
    there = set(files(built))
    assert wide <= there
    narrow(page, 390)
    try:
        for file in sorted(wide if which == "some" else there - wide):
            page.get(f"{served}/{file}")
            width, loaded = page.execute_script(
                "return [Math.max(innerWidth, document.documentElement.scrollWidth),"
                " performance.getEntriesByType('resource').map(each => each.name)]"
            )
            assert width == 390, file
            assert loaded
            assert [each for each in loaded if not each.startswith((served, "data:"))] == [], file
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


TABLES = {"README", "SECURITY", "docs/SETTINGS", "docs/COMPARISON", "deploy/CLIENTS", "deploy/SERVERS"}
"""Pages with the widest tables: of code, of names of tests, of many columns."""


@pytest.mark.parametrize("which", ["some", pytest.param("the others", marks=pytest.mark.heavy)])
def test_no_table_is_cut_off(served, page, which):
    """At 1200 pixels each is as wide as its box at most, so that its last column can be read."""
    some = {f"{name}.md" for name in TABLES}
    listed = set(nav.pages(nav.NAV))
    assert some <= listed
    narrow(page, 1200, mobile=False)
    seen = 0
    try:
        for each in sorted(some if which == "some" else listed - some):
            file = each.replace("README.md", "index.md").replace(".md", ".html")
            page.get(f"{served}/{file}")
            tables = page.execute_script(
                "return [...document.querySelectorAll('.md-typeset__scrollwrap')].map(box => ["
                "box.scrollWidth, box.clientWidth, box.textContent.trim().slice(0, 40)])"
            )
            assert [table for table in tables if table[0] > table[1]] == [], file
            seen += len(tables)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert seen > 10


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("max_unsent_age", "/deploy/TUNING.html"),
        ("max_unsent_age", "/docs/SETTINGS.html"),
        ("keep_alive", "/docs/SETTINGS.html"),
        ("poll_wait", "/docs/SETTINGS.html"),
    ],
)
def test_search(served, page, setting, found):
    """Who looks for a setting finds, among the first ten, the page that explains it; nobody else is asked."""
    page.get(served)
    page.execute_script("document.querySelector('.md-search__button').click()")
    there = "document.querySelector('body > div:last-child').shadowRoot"
    wait_for(page, f"{there}?.querySelector('dialog[open]')")
    ActionChains(page).send_keys(setting).perform()
    wait_for(
        page,
        f"[...{there}.querySelectorAll('a')].slice(0, 10).some(each => each.href.includes('{found}'))",
    )
