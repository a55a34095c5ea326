"""A real browser that is refused, and a server that goes away: who comes back by itself."""

import json
import urllib.request

import pytest

from apps.edge import AUTH
from servers.browser import wait_for
from servers.processes import free_port
from sse_edge import SyncPublisher

OPEN = """
window.heard = []; window.refused = []; window.opened = 0
window.source = new EventSource("/events/me")
source.onopen = () => opened++
source.onmessage = event => heard.push(event.data)
source.addEventListener("edge-refused", event => refused.push(JSON.parse(event.data).error))
source.addEventListener("edge-close", event => heard.push(JSON.parse(event.data).reason))
"""
CLOSED = 2


def figures(process):
    with urllib.request.urlopen(f"{process.url}/figures") as answer:
        return json.load(answer)


@pytest.fixture
def tab(page):
    """``tab(url)``: one more tab of the same user on that page, with its EventSource open; its handle."""
    value = AUTH.issue("u42")
    fresh = [page.current_window_handle]

    def open_tab(url):
        if fresh:
            page.switch_to.window(fresh.pop())
        else:
            page.switch_to.new_window("tab")
        page.get(url)
        page.add_cookie({"name": "session", "value": value})
        page.execute_script(OPEN)
        return page.current_window_handle

    return open_tab


def test_the_seventh_tab_has_its_turn(serve_app, redis_url, page, tab):
    """Over a cap of six, the seventh tab is told to wait, and streams by itself once another is closed."""
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "RETRY": "0.2", "PER_USER": "6"})
    # Chromium opens six connections to a host at most, so the tabs are on two names of one server.
    hosts = ["a.test"] * 4 + ["b.test"] * 2
    tabs = []
    for host in hosts:
        tabs.append(tab(f"http://{host}:{process.port}/"))
        wait_for(page, "opened === 1 && refused.length === 0")
    tab(f"http://b.test:{process.port}/")
    seventh = page.current_window_handle
    wait_for(page, "refused.length >= 2")
    assert set(page.execute_script("return refused")) == {"user-limit"}
    assert page.execute_script("return source.readyState") != CLOSED
    assert figures(process)["streams"] == 6
    page.switch_to.window(tabs[0])
    page.close()
    page.switch_to.window(seventh)
    with SyncPublisher(redis_url) as events:
        wait_for(page, "source.readyState === 1", timeout=20)
        while not page.execute_script("return heard.length"):
            events.publish("news", "you are in")
            page.execute_async_script("setTimeout(arguments[0], 100)")
    assert page.execute_script("return heard[0]") == "you are in"
    assert figures(process)["streams"] == 6


def test_with_statuses_the_tab_is_lost(serve_app, redis_url, page, tab):
    """With refusals="status" a native EventSource over the cap is closed for good."""
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "PER_USER": "1", "REFUSALS": "status"})
    url = f"http://127.0.0.1:{process.port}/"
    tab(url)
    wait_for(page, "opened === 1")
    tab(url)
    wait_for(page, f"source.readyState === {CLOSED}")


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_restart_strands_nobody(serve_app, redis_url, page, tab, how):
    """Stopped or killed, and started again: EventSource comes back by itself and has missed nothing."""
    port = free_port()
    env = {"BACKEND": redis_url, "RETRY": "0.2"}
    process = serve_app("apps.edge:edge", port=port, env=env)
    tab(f"http://127.0.0.1:{port}/")
    wait_for(page, "opened === 1")
    with SyncPublisher(redis_url) as events:
        events.publish("news", "before")
        wait_for(page, "heard.includes('before')")
        getattr(process, how)()
        wait_for(page, "source.readyState === 0")
        events.publish("news", "meanwhile")
        assert page.execute_script("return source.readyState") != CLOSED
        serve_app("apps.edge:edge", port=port, env=env)
        wait_for(page, "heard.includes('meanwhile')")
        events.publish("news", "after")
        wait_for(page, "heard.includes('after')")
    heard = [text for text in page.execute_script("return heard") if text != "drain"]
    assert heard == ["before", "meanwhile", "after"]
