"""The client with several URLs: one response for all of them where the edge can."""

import pytest

from apps.edge import AUTH
from servers.tabs import HOSTS, LOCKS, Tabs, Ticker, figures, level, streams

VALUE = AUTH.issue("u42", ["order:1", "order:2", "order:3", "state:*"])
PATHS = ["/events/me", "/events/orders/1", "/events/orders/2", "/events/orders/3"]
CHANNELS = ["news", "order:1", "order:2", "order:3"]


@pytest.fixture
def start(serve_app, redis_url, page):
    """``start(app, **env)``: tabs of a browser that is signed in there."""

    def start(app="edge", **env):
        process = serve_app(f"apps.edge:{app}", env={"BACKEND": redis_url, "RETRY": "0.2", **env})
        page.get(process.url)
        page.add_cookie({"name": "session", "value": VALUE})
        return Tabs(page, process)

    return start


@pytest.fixture
def tabs(start):
    return start()


def requests(site):
    """How many URLs there were in each request for streams that was answered."""
    asked = [line for line in site.log.splitlines() if '"GET /' in line and "/events/" in line]
    return [1 + line.count("also=") for line in asked if " HTTP/" in line and ".js" not in line]


def last(site):
    """How many URLs there were in the last request for streams that was answered."""
    return requests(site)[-1]


@HOSTS
def test_tabs_with_urls_of_their_own(tabs, publisher, prepare):
    """Three have a response each; these are given up for one where a fourth would be needed."""
    handles = []
    for path in PATHS:
        handles.append(tabs.open(path, prepare=prepare))
        tabs.live(handles[-1])
        assert last(tabs.site) == (4 if len(handles) == 4 else 1)
    for channel in CHANNELS:
        publisher.publish(channel, channel)
    for tab, channel in zip(handles, CHANNELS, strict=True):
        tabs.wait(tab, "heard.length === 1")
        assert tabs.heard(tab) == [channel]
    streams(tabs.site, 4)


def test_a_strand_that_nobody_hears_any_more(tabs):
    """It ends within seconds of its last tab, and the others go on."""
    handles = [tabs.open(path) for path in PATHS]
    tabs.live(*handles)
    tabs.close(handles[1])
    streams(tabs.site, 3)
    tabs.live(*handles[2:])


def test_joining_and_leaving_loses_nothing(tabs, publisher):
    """While others come and go a tab has each event once."""
    first = tabs.open("/events/orders/1", prepare=LOCKS)
    tabs.live(first)
    others = [tabs.open(f"/events/states/{number}", prepare=LOCKS) for number in range(2)]
    tabs.live(*others)
    with Ticker(publisher, "order:1") as ticker:
        for path in ["/events/me", "/events/orders/2", "/events/me"]:
            other = tabs.open(path, prepare=LOCKS)
            tabs.live(other)
            tabs.close(other)
    level(tabs, [first], ticker.sent)


def test_one_of_several_is_refused(tabs, publisher):
    """Its tab is told, and the others hear theirs."""
    three = [tabs.open(path, prepare=LOCKS) for path in PATHS[:3]]
    tabs.live(*three)
    refused = tabs.open("/events/orders/9", prepare=LOCKS)
    tabs.wait(refused, "stream.state.state === 'refused'")
    assert tabs.run(refused, "return [stream.state.code, stream.state.status]") == ["forbidden", 403]
    assert "waiting" not in tabs.states(refused)
    assert last(tabs.site) == 4
    publisher.publish("news", "x")
    tabs.wait(three[0], "heard.length === 1")
    tabs.live(*three)


def test_one_of_several_finishes(tabs, publisher):
    """Its tab is told, and the others hear theirs."""
    four = [tabs.open(path) for path in ["/events/states/7", *PATHS[:3]]]
    tabs.live(*four)
    publisher.finish("state:7", "100 %")
    tabs.wait(four[0], "stream.state.state === 'ended'")
    assert tabs.run(four[0], "return [stream.state.reason, heard[0].data]") == ["finished", "100 %"]
    publisher.publish("news", "x")
    tabs.wait(four[1], "heard.length === 1")
    streams(tabs.site, 3)
    assert figures(tabs.site)["endings"]["finished"] == 1


def test_long_urls(tabs):
    """No request has more of them than servers and proxies take: 8 KiB."""
    tab = tabs.open()
    tabs.live(tab)
    tabs.run(
        tab,
        "window.more = [...Array(12).keys()].map(n => "
        "subscribe('/events/states/' + 'x'.repeat(120) + n + '?filter=' + '/'.repeat(300)))",
    )
    tabs.wait(tab, "more.every(({state}) => state.state === 'live')")
    asked = [line for line in tabs.site.log.splitlines() if "also=" in line]
    assert asked
    assert max(map(len, asked)) < 8000


def test_two_on_one_page(tabs, publisher):
    """They are asked for together."""
    tab = tabs.open(prepare=LOCKS)
    tabs.live(tab)
    options = "{onEvent: event => heard.push(event)}"
    tabs.run(tab, f"window.more = [1, 2].map(n => subscribe('/events/orders/' + n, {options}))")
    tabs.wait(tab, "more.every(({state}) => state.state === 'live')")
    publisher.publish("order:1", "1")
    publisher.publish("order:2", "2")
    tabs.wait(tab, "heard.length === 2")
    assert sorted(tabs.heard(tab)) == ["1", "2"]
    assert last(tabs.site) == 2


@pytest.mark.parametrize(("app", "base"), [("stripped", "/app"), ("edge", "")], ids=["stripped", "apart"])
def test_what_cannot_be_joined(start, publisher, app, base):
    """Behind a proxy that takes a prefix off, or with ``joins=False``: each URL is asked for by itself."""
    tabs = start(app, APART="" if base else "1", KEEP_ALIVE="60")
    module = f"{base}/events/sse-edge.js"
    handles = []
    for path in PATHS:
        handles.append(tabs.open(base + path, module=module))
        tabs.live(handles[-1])
    tabs.run(handles[0], f"window.more = [2, 3].map(n => subscribe('{base}/events/states/' + n))")
    tabs.wait(handles[0], "more.every(({state}) => state.state === 'live')")
    streams(tabs.site, 6)  # as many as HTTP/1.1 has
    count = len(requests(tabs.site))
    assert count <= 15
    for channel in CHANNELS:
        publisher.publish(channel, channel)
    for tab, channel in zip(handles, CHANNELS, strict=False):
        tabs.wait(tab, "heard.length === 1")
        assert tabs.heard(tab) == [channel]
    assert len(requests(tabs.site)) == count
