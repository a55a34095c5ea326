"""The demo in a real browser, as a newcomer uses it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from servers.browser import wait_for
from servers.processes import free_port
from servers.sse import get
from sse_edge.event import Place

SSE_EDGE = Path(sys.executable).with_name("sse-edge")
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def demo(serve):
    """``demo(…)`` runs `sse-edge demo` with further options; the process has ``.url``."""

    def start(*options, port=None):
        port = port or free_port()
        process = serve([SSE_EDGE, "demo", "--port", port, *options], port=port)
        process.url = f"http://127.0.0.1:{port}"
        return process

    return start


def sign_in(page, url, user="alice"):
    """Open the demo and sign in with a click; returns when the stream is open."""
    page.get(url)
    button = f"document.querySelector('button[value={user}]')"
    wait_for(page, f"{button}.offsetParent")
    page.execute_script(f"return {button}").click()
    wait_live(page)


def wait_live(page):
    """Wait until the page says that it is connected."""
    wait_for(page, "document.getElementById('link')?.dataset.state === 'live'")


def click(page, id):
    """Click on what has an id."""
    page.find_element(By.ID, id).click()


def text(page, id):
    """The text of what has an id."""
    return page.find_element(By.ID, id).text


def say(page, words, to="everyone"):
    """Publish with the page's form, and wait until the server has taken it."""
    Select(page.find_element(By.ID, "to")).select_by_value(to)
    page.find_element(By.ID, "text").send_keys(words)
    page.find_element(By.CSS_SELECTOR, "#publish button").click()
    wait_for(page, "document.getElementById('text').value === ''")


def wait_for_note(page, words, timeout=10):
    """Wait until a message is in the page; it and whom it is for."""
    found = f"[...document.querySelectorAll('#notes li')].find(item => item.innerText.includes({words!r}))"
    return wait_for(page, f"{found}?.innerText.split('\\n')", timeout)


def rows(page):
    """The timeline, oldest first: id, event, content, and whether it was caught up on."""
    return page.execute_script(
        "return [...document.querySelectorAll('#timeline tr')].reverse().map(row => "
        "[...[...row.cells].slice(1).map(cell => cell.textContent), row.className === 'caught'])"
    )


def errors(page):
    """What the browser's console complains about, a lost or refused stream aside."""
    return [line["message"] for line in page.get_log("browser") if "/events/" not in line["message"]]


# ---- the boxes


def test_a_newcomer_signs_in_and_watches(demo, page):
    """After one click the order moves on and the figures count, without the page being loaded again."""
    sign_in(page, demo().url)
    page.execute_script("window.untouched = true")
    assert text(page, "name") == "Alice"
    seen = text(page, "status")
    wait_for(page, f"document.getElementById('status').innerText !== {seen!r}")
    current = page.execute_script("return document.querySelector('[aria-current]').innerText")
    assert current == text(page, "status").lower()
    wait_for(page, "document.getElementById('streams').innerText === '1'")
    delivered = int(text(page, "delivered"))
    wait_for(page, f"Number(document.getElementById('delivered').innerText) > {delivered}")
    assert page.execute_script("return window.untouched")
    assert errors(page) == []


def test_a_background_job_reports(demo, page):
    """The progress bar moves while the job runs, and the job can be run again when it is done."""
    sign_in(page, demo().url)
    click(page, "job")
    wait_for(page, "document.getElementById('bar').value > 0")
    assert not page.find_element(By.ID, "job").is_enabled()
    assert int(text(page, "percent").removesuffix(" %")) < 100
    wait_for(page, "document.getElementById('bar').value === 100")
    assert text(page, "job") == "Run it again"
    progress = [content for _, event, content, _ in rows(page) if event == "progress"]
    assert progress == [f"{percent} %" for percent in range(0, 101, 10)]


def test_messages_between_two_users(demo, page):
    """What is for everyone reaches both pages; what is for one user reaches no other."""
    url = demo().url
    sign_in(page, url, "alice")
    alice = page.current_window_handle
    click(page, "second-link")  # another host name, and so other cookies
    bob = next(handle for handle in page.window_handles if handle not in (alice, page.window_handles[0]))
    page.switch_to.window(bob)
    assert page.current_url.startswith("http://localhost:")
    sign_in(page, page.current_url, "bob")
    page.switch_to.window(alice)
    say(page, "for Bob alone", to="bob")
    say(page, "<img src=x onerror=alert(1)> for all")
    _, whom, who, *_ = wait_for_note(page, "for all")
    assert whom == "everyone"
    assert who.startswith("Alice, ")
    assert "for Bob alone" not in page.page_source
    page.switch_to.window(bob)
    assert wait_for_note(page, "for Bob alone")[1] == "only you"
    assert wait_for_note(page, "for all")[0] == "<img src=x onerror=alert(1)> for all"
    assert page.find_elements(By.CSS_SELECTOR, "#notes img") == []


def test_the_shop_writes_privately(demo, page):
    """When an order ships, its owner gets a message that is marked as private."""
    sign_in(page, demo().url, "bob")
    words, whom, *_ = wait_for_note(page, "was shipped", timeout=20)
    assert words == "Your order 2002, a pair of hiking boots, was shipped."
    assert whom == "only you"


async def test_a_page_that_was_given_this_machines_address(demo):
    """The demo answers to this machine's names alone, whatever is asked for, and however."""
    process = demo()
    own = f"http://evil.example:{process.port}"
    for method, path in [("GET", "/"), ("GET", "/session"), ("POST", "/sign-in"), ("GET", "/events/me")]:
        headers = {"Host": own.removeprefix("http://"), "Origin": own, "Sec-Fetch-Site": "same-origin"}
        assert (await get(process.url + path, method=method, headers=headers)).status == 403
    for name in ("localhost", "alices.localhost", "127.0.0.1", "[::1]"):
        assert (await get(process.url + "/", headers={"Host": f"{name}:{process.port}"})).status == 200


# ---- losing the connection


def test_a_dropped_connection_loses_nothing(demo, page):
    """The browser comes back by itself, and the events of its absence arrive once each, in order."""
    sign_in(page, demo().url)
    click(page, "drop")
    wait_for(page, "document.getElementById('link').dataset.state === 'waiting'")
    assert "reason: revoked" in text(page, "trip-dropped")
    assert text(page, "link-text") == "Reconnecting"
    wait_for(page, "document.getElementById('trip-said').textContent")
    assert text(page, "trip-back").endswith("caught up, none lost")
    assert text(page, "link-text") == "Live"
    table = rows(page)
    away = [(content, caught) for _, event, content, caught in table if event == "away"]
    assert away == [(f"{number} of 5 while you were away", True) for number in range(1, 6)]
    said = [content for _, event, content, _ in table if event == "connection"]
    assert said[0] == "The server ends this connection: revoked"
    assert said[1].startswith("Reconnected after ")
    ids = [Place.parse(id).id for id, *_ in table if id]
    assert ids == sorted(set(ids))
    wait_for(page, "document.getElementById('endings').innerText === 'revoked 1'")
    assert errors(page) == []


def test_a_demo_that_was_restarted(demo, page):
    """A new run has a new secret: the page notices, and asks to sign in again."""
    first = demo()
    sign_in(page, first.url)
    first.terminate()
    wait_for(page, "document.getElementById('link').dataset.state === 'waiting'")
    demo(port=first.port)
    wait_for(page, "document.getElementById('welcome-notice')?.offsetParent", timeout=20)
    assert text(page, "welcome-notice").startswith("Your sign-in is not valid any more.")


def test_history_that_is_gone(demo, page):
    """A restart with the same secret loses memory's history: the page is told, and goes on."""
    first = demo("--secret", "a secret of the tests")
    sign_in(page, first.url)
    first.terminate()
    wait_for(page, "document.getElementById('link').dataset.state === 'waiting'")
    demo("--secret", "a secret of the tests", port=first.port)
    wait_live(page)
    wait_for(page, "document.getElementById('timeline').innerText.includes('Events may be missing (epoch)')")
    seen = text(page, "status")
    wait_for(page, f"document.getElementById('status').innerText !== {seen!r}")


def test_signing_out_and_in_as_somebody_else(demo, page):
    """Signing out ends the stream and leads back to the beginning; the next user has an order of his own."""
    url = demo().url
    sign_in(page, url)
    page.find_element(By.CSS_SELECTOR, ".who button").click()
    wait_for(page, "document.querySelector('button[value=bob]')?.offsetParent")
    assert page.get_cookies() == []
    sign_in(page, url, "bob")
    assert text(page, "order-number") == "2002"


# ---- several tabs of one browser


def enter(tabs, url):
    """A tab of the demo, signed in as Alice by a click if nobody is."""
    tab = tabs.open(url)
    wait_for(tab, "document.body.innerText.includes('sse_edge')")  # one of its two faces is shown
    tab.execute_script(
        "const alice = document.querySelector('button[value=alice]'); if (alice.offsetParent) alice.click()"
    )
    wait_live(tab)
    return tab


def test_tabs_share_one_stream(demo, tabs):
    """Each says how many there are, while they come and go; the server has one stream, and all hear it."""
    url = demo().url
    first = enter(tabs, url)
    assert wait_for(first, "document.getElementById('tabs').innerText") == "one stream, one tab"
    second = enter(tabs, url)
    for tab in (first, second):
        wait_for(tab, "document.getElementById('tabs').innerText === 'one stream, 2 tabs'")
    first.execute_script("document.getElementById('job').click()")
    for tab in (first, second):
        wait_for(tab, "document.getElementById('bar').value > 0")
        wait_for(tab, "document.getElementById('streams').innerText === '1'")
    second.close()
    wait_for(first, "document.getElementById('tabs').innerText === 'one stream, one tab'")


def test_all_tabs_are_dropped_and_signed_out(demo, tabs):
    """Cut off, each tab comes back and has missed nothing; signed out in one, all are at the beginning."""
    url = demo().url
    first, second = (enter(tabs, url) for _ in range(2))
    second.execute_script("document.getElementById('drop').click()")
    away = "[...document.querySelectorAll('#timeline tr')].filter(row => row.cells[2].innerText === 'away')"
    for tab in (second, first):  # to look at another tab brings the stream back at once
        wait_for(tab, "document.getElementById('trip-back').innerText.includes('caught up')", timeout=20)
        wait_for(tab, f"{away}.length === 5 && {away}.every(row => row.className === 'caught')")
    wait_for(second, "document.getElementById('trip-back').innerText.endsWith('none lost')")
    second.execute_script("document.querySelector('.who button').click()")
    wait_for(second, "document.getElementById('welcome').offsetParent !== null")
    wait_for(first, "document.getElementById('welcome-notice').offsetParent !== null", timeout=20)


async def test_the_page_may_run_nothing_but_its_own(demo):
    """Its scripts and workers are the demo's own, the client at the address that has its hash among them."""
    url = demo().url
    page, script = await get(url + "/"), await get(url + "/page.js")
    policy = page.header("content-security-policy")
    assert "default-src 'none'; script-src 'self'; worker-src 'self';" in policy
    client = re.search(r'^import \{subscribe\} from "(/events/sse-edge\.js\?v=\w+)";', script.body.decode())[
        1
    ]
    assert (await get(url + client)).header("cache-control").endswith("immutable")


# ---- trying to get in

REFUSALS = {
    "no-cookie": "401 unauthenticated",
    "tampered": "401 unauthenticated",
    "expired": "401 unauthenticated",
    "other-order": "403 forbidden",
    "foreign-page": "403 origin",
    "unknown-path": "404 not-found",
}


def test_refusals(demo, page):
    """Each button shows the answer that its request got, and the panel counts them by code."""
    sign_in(page, demo().url)
    buttons = page.find_elements(By.CSS_SELECTOR, "#tries button")
    assert [button.get_attribute("value") for button in buttons] == list(REFUSALS)
    for button in buttons:
        page.execute_script("document.getElementById('verdict').replaceChildren()")
        button.click()
        shown = wait_for(page, "document.querySelector('#verdict strong')?.innerText")
        assert shown == REFUSALS[button.get_attribute("value")]
    counted = "unauthenticated 3\nforbidden 1\norigin 1\nnot-found 1"
    wait_for(page, f"document.getElementById('refusals').innerText === {json.dumps(counted)}")


# ---- on Redis


def test_publishing_from_a_terminal(demo, page, redis_url):
    """On Redis, `sse-edge publish` reaches the page within a second."""
    sign_in(page, demo("--redis", redis_url).url)
    assert "sse-edge publish shop" in text(page, "shell")
    arguments = [SSE_EDGE, "publish", "shop", "Hello from a terminal", "--redis", redis_url]
    subprocess.run(arguments, check=True, capture_output=True, timeout=20)
    assert wait_for_note(page, "Hello from a terminal", timeout=1)[1] == "everyone"
    click(page, "drop")
    wait_for(page, "document.getElementById('trip-said').textContent")
    assert text(page, "trip-back").endswith("caught up, none lost")


def test_redis_comes_and_goes(demo, page, private_redis):
    """While Redis is away the page says what does not work; when it is back the order moves on."""
    redis = private_redis()
    server = demo("--redis", redis.url)
    sign_in(page, server.url)
    redis.kill()
    click(page, "job")
    server.wait_for_log("an event was not published")
    page.find_element(By.ID, "text").send_keys("anybody?")
    page.find_element(By.CSS_SELECTOR, "#publish button").click()
    wait_for(page, "document.getElementById('publish-problem').innerText")
    assert text(page, "publish-problem") == "Redis cannot be reached at the moment."
    redis.start()
    seen = text(page, "status")
    wait_for(page, f"document.getElementById('status').innerText !== {seen!r}", timeout=20)


# ---- the page itself


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_sticks_out(demo, page, width):
    """Signed out and signed in, no width needs sideways scrolling."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    url = demo().url
    page.get(url)
    wait_for(page, "document.querySelector('button[value=alice]').offsetParent")
    assert page.execute_script(wide)
    sign_in(page, url)
    page.find_element(By.CSS_SELECTOR, "#tries button").click()
    wait_for(page, "document.querySelector('#verdict strong')")
    assert page.execute_script(wide)


def test_everything_on_the_page_has_a_name(demo, page):
    """Every control and region has a name for those who do not see it."""
    sign_in(page, demo().url)
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "textbox", "combobox", "progressbar", "progressIndicator", "link", "region"}
    named = [(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if "role" in node]
    found = [(role, name) for role, name in named if role in roles]
    assert len(found) > 15
    assert [role for role, name in found if not name] == []


async def test_everything_comes_from_here(demo):
    """The policy allows no other source, and every file that the page names is there."""
    url = demo().url
    page = await get(url + "/")
    assert page.header("content-security-policy").startswith("default-src 'none'; script-src 'self';")
    assert b"http://" not in page.body
    assert b"https://" not in page.body
    for path, kind in (
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/icon.svg", "image/svg"),
    ):
        assert path.encode() in page.body
        answer = await get(url + path)
        assert answer.status == 200
        assert answer.header("content-type").startswith(kind)


# ---- what the buttons ask for, asked by others


def post(url, path, fields=(), **headers):
    """A posted form."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return get(url + path, method="POST", headers={**kind, **headers}, body=urlencode(fields).encode())


async def signed_in(url, user="alice"):
    """Headers of a page that is signed in."""
    answer = await post(url, "/sign-in", {"user": user}, **SAME_ORIGIN)
    assert (answer.status, answer.header("location")) == (303, "/")
    return {**SAME_ORIGIN, "Cookie": answer.header("set-cookie").partition(";")[0]}


async def test_other_pages_can_do_nothing(demo):
    """What changes something is done for the demo's own page only."""
    url = demo().url
    cookie = {"Cookie": (await signed_in(url))["Cookie"]}
    fields = {"user": "alice", "text": "x", "to": "everyone", "attempt": "expired"}
    for path in ("/sign-in", "/sign-out", "/publish", "/job", "/drop", "/try"):
        foreign = [
            {"Origin": "https://elsewhere.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "same-site"},
            {},
        ]
        for headers in foreign:
            assert (await post(url, path, fields, **cookie, **headers)).status == 403, (path, headers)
        assert (await post(url, path, fields, Origin=url, **cookie)).status in (200, 303), path
        assert (await get(url + path)).status == 404


@pytest.mark.parametrize(
    ("path", "fields", "status", "message"),
    [
        ("/sign-in", {"user": "mallory"}, 400, "There is nobody of that name."),
        ("/publish", {"to": "everyone", "text": " "}, 400, "Please write 1 to 200 characters."),
        ("/publish", {"to": "everyone", "text": "x" * 201}, 400, "Please write 1 to 200 characters."),
        ("/publish", {"to": "mallory", "text": "x"}, 400, "There is nobody of that name."),
        ("/publish", {"to": "everyone", "text": "x" * 5000}, 400, "That was too long, or not readable."),
        ("/publish", {str(number): "x" for number in range(20)}, 400, "That was too long, or not readable."),
        ("/try", {"attempt": "nothing"}, 400, "There is no such attempt."),
        ("/nothing", {}, 405, "This cannot be done here."),
    ],
)
async def test_what_is_asked_wrongly(demo, path, fields, status, message):
    """Input is limited, and what is wrong with it is said in plain words."""
    url = demo().url
    answer = await post(url, path, fields, **await signed_in(url))
    assert (answer.status, json.loads(answer.body)) == (status, {"message": message})


async def test_without_signing_in(demo):
    """The buttons work for somebody who is signed in; one job at a time."""
    url = demo().url
    for path in ("/publish", "/job", "/drop", "/try"):
        assert (await post(url, path, **SAME_ORIGIN)).status == 401
    assert json.loads((await get(url + "/session")).body) == {"user": None}
    assert (await post(url, "/sign-out", **SAME_ORIGIN)).status == 303
    headers = await signed_in(url)
    assert (await post(url, "/job", **headers)).status == 200
    assert (await post(url, "/job", **headers)).status == 409
