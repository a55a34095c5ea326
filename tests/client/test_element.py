"""``<sse-edge>`` in both browsers: events as the DOM's, and what becomes of it where it is put."""

import json
import urllib.request

import pytest

from apps.edge import AUTH
from servers.browser import run_module, wait_for
from servers.proxies import wait_until

ELEMENT = """
import "/events/sse-edge.js"
window.heard = []
window.states = []
window.element = document.createElement("sse-edge")
for (const name of ["message", "status", "edge-reset"])
    element.addEventListener(name, event => heard.push([event.type, event.detail]))
element.addEventListener("edge-state", ({detail}) => states.push(detail.state))
window.wrong = []
document.addEventListener("status", event => wrong.push("bubbles"))
"""


@pytest.fixture
def site(serve_app, redis_url, tabs):
    """A server; ``site.tab`` is at its page, signed in, and has made an element."""
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "RETRY": "0.2"})
    process.tab = tabs.open(process.url + "/")
    cookie = f"session={AUTH.issue('u42', ['order:*', 'state:*'])}"
    process.tab.execute_script("document.cookie = arguments[0]", cookie)
    run_module(process.tab, ELEMENT)
    wait_for(process.tab, "window.wrong?.length === 0")
    return process


def figures(site):
    with urllib.request.urlopen(f"{site.url}/figures") as answer:
        return json.load(answer)


def put(site, **attributes):
    """Put the element into the page, and wait until it is live."""
    for name, value in attributes.items():
        site.tab.execute_script("element.setAttribute(...arguments)", name, value)
    site.tab.execute_script("document.body.append(element)")
    wait_for(site.tab, "element.stream?.state.state === 'live'")


def test_events_are_events_of_the_dom(site, publisher):
    """Each is dispatched by its name, with itself as detail, on the element alone; what happens, too."""
    tab = site.tab
    put(site, src="/events/me")
    first = publisher.publish("news", "one")
    second = publisher.publish("news", "two", event="status")
    wait_for(tab, "heard.length === 2")
    assert tab.execute_script("return heard") == [
        ["message", {"name": "message", "data": "one", "id": first}],
        ["status", {"name": "status", "data": "two", "id": second}],
    ]
    assert tab.execute_script("return [wrong, states.at(-1), element.stream.tabs]") == [[], "live", 1]


def test_it_begins_at_its_place(site, publisher):
    """What a page was rendered with is not told again, what came after it is; an unknown place is a reset."""
    place = publisher.publish("news", "in the page")
    after = publisher.publish("news", "after it")
    put(site, src="/events/me", place=place)
    wait_for(site.tab, "heard.length === 1")
    assert site.tab.execute_script("return heard[0][1]") == {
        "name": "message",
        "data": "after it",
        "id": after,
    }
    site.tab.execute_script(
        "element.setAttribute('place', '1-1.zzz'); element.setAttribute('src', '/events/orders/7')"
    )
    wait_for(site.tab, "heard.length === 2")
    name, detail = site.tab.execute_script("return heard[1]")
    assert (name, detail["channel"]) == ("edge-reset", "order:7")


def test_it_ends_with_its_place_in_the_page(site, publisher):
    """Removed it lets go of its stream; put back it has missed nothing."""
    put(site, src="/events/me")
    publisher.publish("news", "one")
    wait_for(site.tab, "heard.length === 1")
    site.tab.execute_script("element.remove()")
    wait_until(lambda: figures(site)["streams"] == 0, "its stream has ended")
    assert site.tab.execute_script("return element.stream") is None
    publisher.publish("news", "while it was nowhere")
    put(site)
    publisher.publish("news", "three")
    wait_for(site.tab, "heard.length === 3")
    said = site.tab.execute_script("return heard.map(([, {data}]) => data)")
    assert said == ["one", "while it was nowhere", "three"]


def test_it_is_put_back_before_it_heard_anything(site, publisher):
    """It goes on from the place where it was, not from where it is put back."""
    put(site, src="/events/me")
    wait_for(site.tab, "element.stream.place")
    site.tab.execute_script("element.remove()")
    wait_until(lambda: figures(site)["streams"] == 0, "its stream has ended")
    publisher.publish("news", "while it was nowhere")
    put(site)
    wait_for(site.tab, "heard.length === 1")


def test_it_is_moved(site, publisher):
    """Moved within the page it keeps its stream; without a src it has none, and with another another."""
    tab = site.tab
    put(site, src="/events/me")
    tab.execute_script(
        "window.before = element.stream; const section = document.createElement('section')\n"
        "document.body.append(section); section.append(element); section.remove()\n"
        "document.body.append(element); element.setAttribute('src', '/events/me')"
    )
    publisher.publish("news", "one")
    wait_for(tab, "heard.length === 1")
    assert tab.execute_script("return element.stream === before")
    assert figures(site)["opened"] == 1
    tab.execute_script("element.removeAttribute('src')")
    wait_until(lambda: figures(site)["streams"] == 0, "its stream has ended")
    put(site, src="/events/orders/7")
    publisher.publish("news", "not for it")
    publisher.publish("order:7", "two")
    wait_for(tab, "heard.length === 2")
    assert tab.execute_script("return heard[1][1].data") == "two"


def test_what_a_page_has_already(site, publisher):
    """An element that was there before the module is one as soon as the module runs."""
    tab = site.tab
    tab.get(site.url + "/")
    tab.execute_script(
        """document.body.innerHTML = '<sse-edge src="/events/me"></sse-edge>'; window.heard = []
        document.body.firstChild.addEventListener("message", ({detail}) => heard.push(detail.data))"""
    )
    run_module(tab, 'import "/events/sse-edge.js"')
    wait_for(tab, "document.body.firstChild.stream?.state.state === 'live'")
    publisher.publish("news", "one")
    wait_for(tab, "heard.length === 1")
