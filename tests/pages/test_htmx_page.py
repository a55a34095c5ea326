"""docs/HTMX.md: what it shows works, in Chromium, with htmx 2 and htmx 4 and their extensions."""

import json
import urllib.request

import pytest

from servers.browser import wait_for
from servers.examples import SSE_EDGE, asked
from servers.pages import programs, templates
from servers.processes import SERVING, TESTS, free_port
from servers.proxies import wait_until
from sse_edge import SyncPublisher, htmx

PAGE = TESTS.parent / "docs" / "HTMX.md"
NPM = TESTS / "clients" / "node_modules"
STATIC = {
    2: ["htmx2/dist/htmx.min.js", "htmx-ext-sse/dist/sse.min.js"],
    4: ["htmx.org/dist/htmx.min.js", "htmx.org/dist/ext/hx-sse.min.js"],
}
VERSIONS = {"htmx2": "2.0.11", "htmx-ext-sse": "2.2.4", "htmx.org": "4.0.1"}


class Site:
    """The page's programs as one, with its html for a version of htmx, on a port of its own."""

    def __init__(self, serve, directory, version, redis_url):
        self._serve, self._directory, self.version = serve, directory, version
        self.templates = templates(PAGE, version)
        for name, html in self.templates.items():
            self.write(name, html)
        for name, code in programs(PAGE).items():
            _write(directory / name, code)
        for path in map(NPM.joinpath, STATIC[version]):
            if not path.exists():
                pytest.fail(
                    f"{path} is not there: cd tests/clients && npm ci --ignore-scripts", pytrace=False
                )
            _write(directory / "static" / path.name, path.read_text())
        self._env = {**SERVING, "SECRET": "8d0f4c of the tests", "BACKEND": redis_url}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        """The server; once more when it has ended."""
        run = [SSE_EDGE, "serve", "apps.htmxed:app", "--port", self.port, "--app-dir", self._directory]
        self.process = self._serve(run, port=self.port, env=self._env, cwd=self._directory, new=False)

    def write(self, name, html):
        """One of its templates."""
        _write(self._directory / "templates" / name, html)

    def call(self, module, name, *arguments):
        """Run a function of the page's."""
        self.post(f"/call/{module}/{name}", *arguments)

    def post(self, path, *arguments):
        body = json.dumps(arguments).encode()
        asking = urllib.request.Request(self.url + path, body, {"content-type": "application/json"})
        urllib.request.urlopen(asking).close()

    def log(self, times, text):
        """Wait until it has written something so often."""
        wait_until(lambda: self.process.log.count(text) >= times, f"{times} times in its log: {text}")


def _write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


@pytest.fixture(params=[2, pytest.param(4, marks=pytest.mark.heavy)], ids=["htmx 2", "htmx 4"])
def site(request, tmp_path, redis_url, serve):
    """One for each version of htmx."""
    return Site(serve, tmp_path, request.param, redis_url)


@pytest.fixture
def events(redis_url):
    with SyncPublisher(redis_url) as events:
        yield events


@pytest.fixture
def look(site, page):
    """``look(name)`` takes the browser, signed in as ann, to a page."""
    page.get(site.url)
    page.execute_async_script("fetch('/login/ann', {method: 'POST'}).then(arguments[0])")
    return lambda name: page.get(f"{site.url}/pages/{name}")


def shows(page, selector, text):
    """Wait until an element has exactly this text."""
    found = f"document.querySelector({json.dumps(selector)})?.innerText.trim()"
    wait_for(page, f"{found} === {json.dumps(text)}")


def rows(page, expected):
    """Wait until the table has these rows; there is none twice."""
    found = "[...document.querySelectorAll('tr')].map(row => row.innerText.replace('\\t', ' ')).join()"
    wait_for(page, f"{found} === {json.dumps(','.join(expected))}", 20)


def measured(page):
    return page.execute_script("return document.querySelector('meter').value")


def added(order):
    """A row that the application's memory does not know."""
    row = f'<tr id="order-{order}"><td>{order}</td><td>new</td></tr>'
    return htmx.swap("message", htmx.partial("#orders", row, swap="beforeend"))


def test_a_progress_bar(site, page, look):
    """A page opened in the middle shows where it is; at the end the stream is over, and asked for no more."""
    site.call("progress", "show", 7, 50)
    look("progress")
    shows(page, "p", "50 %")
    # As a boosted link does: the element is another, which knows nothing yet.
    page.execute_script("htmx.ajax('GET', '/pages/progress', {target: 'body', swap: 'innerHTML'})")
    site.log(2, "asked for /events/jobs/7")
    shows(page, "p", "50 %")
    site.call("progress", "done", 7)
    shows(page, "p", "100 %")
    assert asked(site.process, "/events/jobs/7", 2)
    page.refresh()
    shows(page, "p", "100 %")
    assert asked(site.process, "/events/jobs/7", 3)


def test_an_end_without_a_name(site, page, look, events):
    """Without sse-close both extensions ask a finished channel for ever."""
    whole = site.templates["progress.html"]
    site.write("progress.html", whole.replace('sse-close="done"', "").replace('hx-sse:close="done"', ""))
    site.call("progress", "done", 7)
    look("progress")
    shows(page, "p", "100 %")
    site.log(4, "asked for /events/jobs/7")


NASTY = [
    "one\ntwo\r\nthree\rfour",
    "  <b> leading </b>\n\n  <i>trailing</i>  \n",
    "<pre>\n\n  a\n\n</pre>",
    """<script>window.ran = "<b>'</b>"</script>""",
    '<p title="</script>">é \u2028 \x85 \x0b 😀</p>',
    "event: done\n\ndata: : &lt;&amp;",
    "<b>x</b>" + "<p>0123456789é</p>\n" * 6000,
]


def test_html_of_any_kind(site, page, look, events):
    """Lines of every kind, scripts, spaces around it, and 100 KiB are in the page as they were written."""
    assert len(NASTY[-1].encode()) > 100 * 1024
    look("progress")
    page.execute_script("it = document.querySelector('p'); expected = document.createElement('template')")
    page.execute_script("it.className = 'it'")

    def whole(made, html):
        page.execute_script("it.innerHTML = 'before'; expected.innerHTML = arguments[0]", html)
        events.publish("job:7", htmx.swap("message", made))
        wait_for(page, "it.innerHTML === expected.innerHTML")

    for html in NASTY:
        whole(html, html)
        whole(htmx.partial(".it", html), html)
    page.execute_script("it.setAttribute('hx-swap', 'none')")  # htmx 2 would swap in what oob leaves: nothing
    for html in NASTY:
        whole(htmx.oob(".it", html), html)
    assert page.execute_script("return ran") == "<b>'</b>"


def test_rows_out_of_band(site, page, look, events):
    """With hx-swap-oob, too, rows come, change and go, and an element takes another's place."""
    site.call("orders", "change", 7, "packed")
    look("orders")
    rows(page, ["7 packed"])
    new = htmx.oob("#orders", '<tr id="order-8"><td>8<td>new</tr>', swap="beforeend")
    changed = htmx.oob("#order-7", '<tr id="order-7"><td>7<td>shipped</tr>', swap="outerHTML")
    events.publish("orders", htmx.swap("message", new, changed, htmx.oob("#count", "2")))
    rows(page, ["7 shipped", "8 new"])
    shows(page, "#count", "2")
    events.publish("orders", htmx.oob("#order-7", "<td>7<td>gone"))
    rows(page, ["7 gone", "8 new"])
    events.publish("orders", htmx.oob("#order-7", swap="delete"))
    rows(page, ["8 new"])


def test_a_live_table(site, page, look):
    """Rows come and change in place, the number with them; what a user has written is text."""
    site.call("orders", "change", 7, "packed")
    look("orders")
    rows(page, ["7 packed"])
    site.call("orders", "change", 8, "<b>new</b>")
    site.call("orders", "change", 7, "shipped")
    rows(page, ["7 shipped", "8 <b>new</b>"])
    shows(page, "#count", "2")


async def test_nothing_lost_and_nothing_twice(site, page, look, events, connect):
    """The server is away behind a proxy, full, killed, and restarted: the page has each row once."""
    look("orders")
    shows(page, "#count", "0")
    events.publish("orders", added(1))
    rows(page, ["1 new"])

    site.post("/refuse/502")  # the status closes an EventSource, and its place is lost
    events.disconnect(channel="orders")
    site.log(2, "asked for /events/orders 502")
    events.publish("orders", added(2))
    cookies = {each["name"]: each["value"] for each in page.get_cookies()}
    others = [await connect(f"{site.url}/events/me", cookies=cookies) for _ in range(3)]
    site.post("/refuse/0")
    site.log(1, '"GET /events/orders" refused: user-limit')
    events.publish("orders", added(3))
    for other in others:
        await other.aclose()
    rows(page, ["1 new", "2 new", "3 new"])

    site.process.kill()
    events.publish("orders", added(4))
    site.start()
    rows(page, ["1 new", "2 new", "3 new", "4 new"])

    site.process.terminate()
    events.publish("orders", added(5))
    site.start()
    rows(page, ["1 new", "2 new", "3 new", "4 new", "5 new"])


def test_a_reset(site, page, look, events, redis_server):
    """The table is loaded again, with a place of its own, and goes on from there."""
    site.call("orders", "change", 7, "packed")
    look("orders")
    rows(page, ["7 packed"])
    page.execute_script("document.querySelector('tbody').innerHTML = ''")
    redis_server.flush()  # and with it all history
    events.disconnect(channel="orders")
    rows(page, ["7 packed"])
    site.call("orders", "change", 8, "new")
    rows(page, ["7 packed", "8 new"])


def test_notifications_over_tabs(site, page, look):
    """Every tab hears them; what is read in one is read in the other."""
    site.call("notifications", "notify", "ann", "one & only")
    look("notifications")
    shows(page, "#unread", "1")
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    look("notifications")
    shows(page, "#unread", "1")
    if site.version == 4:  # which listens only where somebody looks
        site.log(1, "client-gone")
    site.call("notifications", "notify", "ann", "two")
    shows(page, "ul", "two\none & only")
    page.find_element("tag name", "button").click()
    shows(page, "ul", "")
    page.switch_to.window(first)
    shows(page, "#unread", "0")
    shows(page, "ul", "")
    site.call("notifications", "notify", "ann", "three")
    shows(page, "ul", "three")


def test_our_own_client(site, page, look):
    """Two tabs show the same, each event once, over one stream."""
    site.call("notifications", "notify", "ann", "one")
    look("shared")
    shows(page, "#unread", "1")
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    look("shared")
    page.execute_script("document.body.addEventListener('changed', ({detail}) => { heard = detail.data })")
    site.call("notifications", "notify", "ann", "two & more")
    shows(page, "ul", "two & more\none")
    shows(page, "#unread", "2")
    site.call("glance", "glance", "")
    wait_for(page, """window.heard === '{"left":3}'""")
    page.switch_to.window(first)
    shows(page, "ul", "two & more\none")
    shows(page, "#unread", "2")
    assert site.process.log.count("ended: answered") == 1  # whose it is, for the second tab
    assert site.process.log.count("asked for /events/me") == 2


def test_a_value_for_a_script(site, page, look):
    """It is what was published, each time."""
    look("load")
    wait_until(lambda: site.call("load", "measured", "ann", 40) or measured(page) == 40, "40 %")
    site.call("load", "measured", "ann", 60)
    wait_until(lambda: measured(page) == 60, "60 %")


def test_sign_out(site, page, look):
    """Whoever signs out in one tab is signed out in all: a page whose stream is refused asks why."""
    look("notifications")
    shows(page, "#unread", "0")
    site.log(1, "asked for /events/me")
    page.execute_script("fetch('/logout', {method: 'POST'})")
    wait_for(page, "document.title === 'first'", 20)


def test_refused_at_first(site, page, look, events):
    """A page that is opened while the server is away shows no error, and is live when it is back."""
    site.post("/refuse/502")
    look("orders")
    shows(page, "#count", "0")
    site.log(1, "asked for /events/orders 502")
    site.post("/refuse/429")
    site.log(1, "asked for /events/orders 429")
    events.publish("orders", added(1))
    site.post("/refuse/0")
    rows(page, ["1 new"])
    assert "Gateway" not in page.page_source


def test_somebody_who_is_not_signed_in(site, page):
    """Sees no error either, and is led away."""
    page.get(f"{site.url}/pages/progress")
    wait_for(page, "document.title === 'first'")


def test_the_versions():
    """Those that the page names are those that are tried."""
    found = {name: json.loads((NPM / name / "package.json").read_text())["version"] for name in VERSIONS}
    assert found == VERSIONS
    assert all(version in PAGE.read_text() for version in VERSIONS.values())
