"""The client behind nginx with the shipped file, over both versions of HTTP, in both browsers."""

import signal

import pytest

from servers.browser import run_module, wait_for
from servers.proxies import COOKIES, PATIENCE
from sse_edge import SyncPublisher

LISTEN = """
import {subscribe} from "/events/sse-edge.js"
window.heard = []
window.resets = []
window.lives = 0
window.stream = subscribe("/events/me", {
    onEvent: ({data}) => heard.push(Number(data)), onReset: reset => resets.push(reset),
    onState: ({state}) => { if (state === "live") lives++ },
})
"""
PROTOCOLS = "return performance.getEntriesByType('resource').map(entry => entry.nextHopProtocol)"


@pytest.fixture
def publish(redis_url):
    """``publish()`` is one more number, beginning with 1."""
    with SyncPublisher(redis_url) as publisher:
        numbers = iter(range(1, 1000))

        def publish():
            number = next(numbers)
            publisher.publish("news", str(number))
            return number

        yield publish


def listening(site, tabs):
    """A tab that listens through the proxy, once it is live."""
    tab = tabs.open(f"{site.url}/")
    tab.execute_script("document.cookie = arguments[0]", f"session={COOKIES['session']}; path=/")
    run_module(tab, LISTEN)
    wait_for(tab, "window.stream?.state.state === 'live'", PATIENCE)
    return tab


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("tabs", "kind", "protocol", "count"),
    [
        pytest.param("firefox", "nginx", "h2", 3, marks=pytest.mark.heavy),
        ("chromium", "nginx http1", "http/1.1", 8),
    ],
    indirect=["tabs"],
)
def test_the_client_behind_nginx(behind, serve_app, tabs, redis_url, publish, kind, protocol, count):
    """All tabs load, even more than HTTP/1.1 has connections, and hear everything once: nginx's workers are
    killed, an app is drained, and all of them are away and back.
    """
    site = behind(kind)
    every = [listening(site, tabs) for _ in range(count)]
    assert set(every[-1].execute_script(PROTOCOLS)) == {protocol}
    wait_for(every[0], f"stream.tabs === {count}")

    def all_heard(last):
        for tab in every:
            wait_for(tab, f"heard.at(-1) === {last}", PATIENCE)

    all_heard(publish())
    site.proxy.crash()
    publish()
    all_heard(publish())
    env = {"BACKEND": redis_url, "TRUSTED": "127.0.0.1/32"}
    for away in (site.apps[:1], site.apps):
        for app in away:
            app.signal(signal.SIGTERM)
            publish()
        for app in away:
            app.wait()
        publish()
        for app in away:
            site.apps[site.apps.index(app)] = serve_app("apps.edge:edge", env=env, port=app.port)
        all_heard(publish())
    last = publish()
    all_heard(last)
    assert every[0].execute_script("return lives") >= 3  # it was cut off twice at least
    for tab in every:
        assert tab.execute_script("return [heard, resets, stream.state]") == [
            list(range(1, last + 1)),
            [],
            {"state": "live", "polling": False},
        ]
