"""The client with several URLs: one response for all of them where the edge can."""

import pytest

from apps.edge import AUTH
from servers.tabs import LOCKS, Tabs, Ticker, figures, level, streams
from sse_edge import SyncPublisher

VALUE = AUTH.issue("u42", ["order:1", "order:2", "order:3", "state:*"])
PATHS = ["/events/me", "/events/orders/1", "/events/orders/2", "/events/orders/3"]
CHANNELS = ["news", "order:1", "order:2", "order:3"]

HOSTS = pytest.mark.parametrize("prepare", ["", LOCKS], ids=["worker", "locks"])


@pytest.fixture
def tabs(serve_app, redis_url, page):
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "RETRY": "0.2"})
    page.get(process.url)
    page.add_cookie({"name": "session", "value": VALUE})
    return Tabs(page, process)


@pytest.fixture
def publisher(redis_url):
    with SyncPublisher(redis_url) as publisher:
        yield publisher


def last(site):
    """How many URLs there were in the last request for streams that was answered."""
    asked = [line for line in site.log.splitlines() if '"GET /events/' in line and " HTTP/" in line]
    return 1 + [line for line in asked if ".js" not in line and "poll" not in line][-1].count("also=")


@HOSTS
def test_tabs_with_urls_of_their_own(tabs, publisher, prepare):
    """Each hears its own, over one response: each is given up for a larger one."""
    handles = [tabs.open(path, prepare=prepare) for path in PATHS]
    tabs.live(*handles)
    for channel in CHANNELS:
        publisher.publish(channel, channel)
    for tab, channel in zip(handles, CHANNELS, strict=True):
        tabs.wait(tab, "heard.length === 1")
        assert tabs.heard(tab) == [channel]
    assert last(tabs.site) == 4
    streams(tabs.site, 4)


def test_joining_and_leaving_loses_nothing(tabs, publisher):
    """While others come and go a tab has each event once."""
    first = tabs.open("/events/orders/1", prepare=LOCKS)
    tabs.live(first)
    with Ticker(publisher, "order:1") as ticker:
        for path in ["/events/me", "/events/orders/2", "/events/me"]:
            other = tabs.open(path, prepare=LOCKS)
            tabs.live(other)
            tabs.close(other)
    level(tabs, [first], ticker.sent)


def test_one_of_several_is_refused(tabs, publisher):
    """Its tab is told, and the others hear theirs."""
    three = [
        tabs.open(path, prepare=LOCKS) for path in ["/events/orders/1", "/events/orders/9", "/events/me"]
    ]
    tabs.wait(three[1], "stream.state.state === 'refused'")
    assert tabs.run(three[1], "return stream.state.code") == "forbidden"
    tabs.live(three[0], three[2])
    publisher.publish("news", "x")
    tabs.wait(three[2], "heard.length === 1")
    tabs.live(three[0])


def test_one_of_several_finishes(tabs, publisher):
    """Its tab is told, and the others hear theirs."""
    both = [tabs.open(path) for path in ["/events/states/7", "/events/me"]]
    tabs.live(*both)
    publisher.finish("state:7", "100 %")
    tabs.wait(both[0], "stream.state.state === 'ended'")
    assert tabs.run(both[0], "return [stream.state.reason, heard[0].data]") == ["finished", "100 %"]
    publisher.publish("news", "x")
    tabs.wait(both[1], "heard.length === 1")
    streams(tabs.site, 1)
    assert figures(tabs.site)["endings"]["finished"] == 1


def test_two_on_one_page(tabs, publisher):
    """They are asked for together."""
    tab = tabs.open("/events/orders/1", prepare=LOCKS)
    tabs.run(tab, "window.more = subscribe('/events/orders/2', {onEvent: event => heard.push(event)})")
    tabs.live(tab)
    tabs.wait(tab, "more.state.state === 'live'")
    publisher.publish("order:1", "1")
    publisher.publish("order:2", "2")
    tabs.wait(tab, "heard.length === 2")
    assert sorted(tabs.heard(tab)) == ["1", "2"]
    assert last(tabs.site) == 2
