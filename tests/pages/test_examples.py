"""Every example runs as its first lines say."""

import ast
import json
import re
from functools import partial

import pytest

from servers.browser import wait_for
from servers.examples import EXAMPLES, asked, serve_example
from servers.node import package
from servers.sse import get
from sse_edge import SyncPublisher

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def example(serve):
    """``example("fastapi_app", …)`` serves examples/fastapi_app.py; the process has ``.url``."""
    return partial(serve_example, serve)


def post(url, content, cookie=None):
    """Post JSON."""
    headers = {**JSON, **({"Cookie": cookie} if cookie else {})}
    return get(url, method="POST", headers=headers, body=json.dumps(content).encode())


def test_every_example_says_how_to_run_it():
    """The first lines of each file name the command that runs it, and so does the list."""
    listed = (EXAMPLES / "README.md").read_text()
    for path in [
        *EXAMPLES.glob("*.py"),
        *(EXAMPLES / name for name in ("chat/app.py", "chat/front_ends.py")),
    ]:
        name = ".".join(path.relative_to(EXAMPLES).with_suffix("").parts)
        text = ast.get_docstring(ast.parse(path.read_text()))
        assert f"sse-edge serve {name}:app --app-dir examples" in text
        assert f"sse-edge serve {name}:app --app-dir examples" in listed
    text = ast.get_docstring(ast.parse((EXAMPLES / "flask_nginx/run.py").read_text()))
    assert "python examples/flask_nginx/run.py" in text
    assert "`python examples/flask_nginx/run.py`" in listed


async def test_plain_asgi(example, connect):
    """The clock ticks for anybody."""
    stream = await connect(example("plain_asgi").url + "/events/clock")
    assert {event.event for event in await stream.take(2)} == {"tick"}


async def test_a_stop_watch_goes_on(example, connect):
    """Each client has its own, which goes on where its connection was cut."""
    url = example("plain_asgi").url + "/events/stopwatch"
    stream = await connect(url)
    assert [event.data for event in await stream.take(2)] == ["0", "1"]
    assert (await (await connect(url)).next()).data == "0"
    stream = await connect(url, headers={"Last-Event-ID": "1"})
    assert (await stream.next()).data == "2"


# ---- first events, and streams that finish


@pytest.fixture
def events(redis_url):
    with SyncPublisher(redis_url) as events:
        yield events


BAR = "document.querySelector('#bar progress')"


def percent(page, expected):
    """Wait until the bar is there."""
    wait_for(page, f"{BAR}?.value === {expected}")


def test_progress(example, page, redis_url, events):
    """A page opened at 60 % shows it at once; after the end it asks once more, gets 204, and asks no more."""
    server = example("progress", env={"REDIS": redis_url})
    bar = '<progress max="100" value="{}"></progress>'
    events.publish("task:7", bar.format(50), event="progress")
    events.publish("task:7", bar.format(60), event="progress")
    page.get(f"{server.url}/tasks/7")
    percent(page, 60)
    events.publish("task:7", bar.format(80), event="progress")
    percent(page, 80)
    events.finish("task:7", bar.format(100), event="complete")
    percent(page, 100)
    wait_for(page, "stream.readyState === EventSource.CLOSED")
    assert asked(server, "/events/tasks/7", 2)
    page.refresh()
    percent(page, 100)  # the end is the newest there is


HTMX = "document.getElementById('bar')['htmx-internal-data'].sseEventSource"


def test_progress_with_htmx(example, page):
    """A whole job, from its middle on: the htmx extension closes at its last event, and asks no more."""
    package("htmx.org"), package("htmx-ext-sse")
    server = example("progress")
    page.get(server.url)
    page.find_element("tag name", "button").click()
    wait_for(page, f"{BAR}?.value > 40")
    page.find_element("link text", "with htmx").click()
    wait_for(page, "window.htmx")
    assert 40 < wait_for(page, f"{BAR}?.value") < 100
    page.execute_script("window.errors = 0; document.addEventListener('htmx:sseError', () => errors++)")
    percent(page, 100)
    wait_for(page, f"{HTMX}.readyState === EventSource.CLOSED")
    assert page.execute_script("return errors") == 0
    path = page.current_url.replace(f"{server.url}/htmx/", "/events/tasks/")
    assert asked(server, path, 2)  # the page before, and this one


LINES = re.search(r"```js\n(.*?)```", (EXAMPLES / "README.md").read_text(), re.DOTALL)[1]
FETCH_EVENT_SOURCE = """
const base = new URL("/node_modules/@microsoft/fetch-event-source/lib/esm/", location)
const files = Object.fromEntries(["fetch", "parse"].map(name => [`${base}${name}`, `${base}${name}.js`]))
const map = document.createElement("script")
map.type = "importmap"
map.textContent = JSON.stringify({imports: {"@microsoft/fetch-event-source": `${base}index.js`, ...files}})
document.head.append(map)
window.heard = []
window.url = "/events/tasks/7"
window.show = (event, data) => heard.push([event, data])
const code = document.createElement("script")
code.type = "module"
code.textContent = arguments[0] + "; window.ended = true"
document.head.append(code)
"""


def test_fetch_event_source(example, page, redis_url, events):
    """With the lines of the README it comes back after a clean end, and after the last one it does not."""
    package("@microsoft/fetch-event-source")
    server = example("progress", env={"REDIS": redis_url})
    events.publish("task:7", "1", event="progress")
    page.get(server.url)
    page.execute_script(FETCH_EVENT_SOURCE, LINES)
    wait_for(page, "heard.length === 1")
    events.disconnect(channel="task:7")  # a clean end
    events.publish("task:7", "2", event="progress")
    wait_for(page, "heard.length === 2")
    events.finish("task:7", "3", event="complete")
    wait_for(page, "window.ended")
    expected = [["progress", "1"], ["progress", "2"], ["complete", "3"]]
    assert page.execute_script("return heard") == expected
    assert asked(server, "/events/tasks/7", 2)


async def test_orders(example, page):
    """A customer sees the state of one order at once, and staff of twelve, over one stream; nobody else's."""
    url = example("orders").url
    page.get(f"{url}/login/staff")
    cards = wait_for(page, "[...document.querySelectorAll('section')]")
    assert len(cards) == 12
    for card, state in ((2, "packed"), (2, "shipped"), (7, "packed")):
        buttons = cards[card - 1].find_elements("tag name", "button")
        next(each for each in buttons if each.text == state).click()
        wait_for(page, f"document.querySelector('#order-{card} b').innerText === '{state}'")
    page.refresh()
    wait_for(page, "[...document.querySelectorAll('b')].filter(each => each.innerText !== '…').length === 2")
    shown = page.execute_script("return [...document.querySelectorAll('b')].map(each => each.innerText)")
    assert shown == ["…", "shipped", *["…"] * 4, "packed", *["…"] * 5]
    page.get(f"{url}/login/customer/7")
    wait_for(page, "document.querySelector('#order-7 b').innerText === 'packed'")
    cookie = f"__Host-session={page.get_cookie('__Host-session')['value']}"
    for path in ("/events/orders/2", "/events/dashboard"):
        assert (await get(url + path, headers={"Cookie": cookie})).status == 403
    assert (await post(url + "/orders/7", {"state": "delivered"}, cookie)).status == 403
