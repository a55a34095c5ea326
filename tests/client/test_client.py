"""The client in Chromium: one stream for all tabs, wherever their hub is, and exact whatever dies."""

import contextlib
import time

import pytest

from apps.edge import AUTH
from parts.visited import visiting
from servers.tabs import ALONE, LOCKS, Tabs, Ticker, figures, level, streams
from sse_edge import RedisBackend, SyncPublisher

VALUE = AUTH.issue("u42", ["order:*", "state:*"])


@pytest.fixture
def site(serve_app, redis_url, page):
    """``site(cookie=…, **env)``: a server with streams, and the browser on its page with a cookie."""
    return visiting(serve_app, redis_url, page, VALUE)


HOSTS = pytest.mark.parametrize("prepare", ["", LOCKS], ids=["worker", "locks"])


@pytest.mark.parametrize("prepare", ["", LOCKS, ALONE], ids=["worker", "locks", "alone"])
def test_a_tab_hears(site, page, publisher, prepare):
    """Names, text and ids as they were published, whatever the browser has."""
    tabs = Tabs(page, site())
    tab = tabs.open(prepare=prepare)
    tabs.live(tab)
    expected = [
        {"name": "message", "data": "one\ntwo", "id": publisher.publish("news", "one\r\ntwo")},
        {
            "name": "status",
            "data": '{"é":"\u2028 "}',
            "id": publisher.publish("user:u42", '{"é":"\u2028 "}', event="status"),
        },
        {"name": "message", "data": "", "id": publisher.publish("news", "")},
    ]
    tabs.wait(tab, "heard.length >= 3")
    assert tabs.run(tab, "return heard") == expected
    assert tabs.states(tab) == ["live"]


@HOSTS
def test_tabs_share_a_stream(site, page, publisher, prepare):
    """Every tab has every event, over one stream; one that comes later has what comes from then on."""
    server = site()
    tabs = Tabs(page, server)
    first = tabs.open(prepare=prepare)
    tabs.live(first)
    publisher.publish("news", "before")
    second, third = (tabs.open(prepare=prepare) for _ in range(2))
    tabs.live(second, third)
    for tab in (first, second, third):
        tabs.wait(tab, "stream.tabs === 3")
    # A tab hears once it is level.
    tabs.wait(second, "stream.tabs === 3")
    publisher.publish("news", "after")
    for tab in (first, second, third):
        tabs.wait(tab, "heard.some(event => event.data === 'after')")
    assert [tabs.heard(tab) for tab in (first, second, third)] == [["before", "after"], ["after"], ["after"]]
    assert figures(server)["streams"] == 1
    tabs.close(second)
    tabs.wait(first, "stream.tabs === 2")


@HOSTS
def test_a_tab_that_stands_still(site, page, publisher, prepare):
    """A tab that is busy hurts no other, and has all when it is not."""
    tabs = Tabs(page, site())
    first, busy = (tabs.open(prepare=prepare) for _ in range(2))
    tabs.live(first, busy)
    with Ticker(publisher) as ticker:
        tabs.run(busy, "setTimeout(() => { for (const end = Date.now() + 1500; Date.now() < end;); }, 10)")
        time.sleep(0.3)
        count = len(ticker.sent)
        tabs.wait(first, f"heard.some(event => event.data === '{count}')", timeout=1)
    level(tabs, [first, busy], ticker.sent)


@HOSTS
def test_a_tab_that_comes_later_sees_the_state(site, page, publisher, prepare):
    """What comes first on its stream comes first in each tab, and the others do not have it again."""
    publisher.publish("state:7", "60 %")
    server = site()
    tabs = Tabs(page, server)
    first = tabs.open("/events/states/7", prepare=prepare)
    tabs.wait(first, "heard.length === 1")
    publisher.publish("state:7", "80 %")
    second = tabs.open("/events/states/7", prepare=prepare)
    tabs.wait(second, "heard.length === 1")
    publisher.publish("state:7", "90 %")
    tabs.wait(second, "heard.length === 2")
    assert [tabs.heard(tab) for tab in (first, second)] == [["60 %", "80 %", "90 %"], ["80 %", "90 %"]]
    assert figures(server)["streams"] == 1


@HOSTS
def test_a_page_that_was_rendered_a_while_ago(site, page, publisher, prepare):
    """A tab's own place counts, whether others have the stream already or not."""
    place = publisher.publish("news", "rendered")
    publisher.publish("news", "missed")
    tabs = Tabs(page, site())
    first = tabs.open(prepare=prepare)
    tabs.live(first)
    second = tabs.open(prepare=prepare, place=place)
    tabs.wait(second, "heard.length === 1")
    publisher.publish("news", "next")
    for tab in (first, second):
        tabs.wait(tab, "heard.at(-1)?.data === 'next'")
    assert [tabs.heard(tab) for tab in (first, second)] == [["next"], ["missed", "next"]]


@HOSTS
def test_signed_out(site, page, publisher, prepare):
    """What ends one tab's stream ends it in all, with the reason; who has no session then is refused."""
    tabs = Tabs(page, site())
    both = [tabs.open(prepare=prepare) for _ in range(2)]
    tabs.live(*both)
    page.delete_all_cookies()
    publisher.disconnect(user="u42")
    for tab in both:
        tabs.wait(tab, "states.some(state => state.code === 'revoked')")
        tabs.wait(tab, "stream.state.state === 'refused' && stream.state.code === 'unauthenticated'")


@HOSTS
def test_dropped(site, page, publisher, prepare):
    """Whoever is disconnected and may still listen comes back, and has what was published meanwhile."""
    tabs = Tabs(page, site())
    both = [tabs.open(prepare=prepare) for _ in range(2)]
    tabs.live(*both)
    publisher.disconnect(user="u42")
    for tab in both:
        tabs.wait(tab, "states.some(state => state.code === 'revoked')")
    publisher.publish("news", "meanwhile")
    for tab in both:
        tabs.wait(tab, "heard.length === 1")
        assert tabs.heard(tab) == ["meanwhile"]


@HOSTS
def test_a_page_ends_it_everywhere(site, page, prepare):
    """``close(true)``, as a page does that signs its user out, is for all tabs."""
    server = site()
    tabs = Tabs(page, server)
    both = [tabs.open(prepare=prepare) for _ in range(2)]
    tabs.live(*both)
    tabs.run(both[1], "stream.close(true)")
    for tab in both:
        tabs.wait(tab, "stream.state.reason === 'closed'")
    streams(server, 0)


@HOSTS
def test_whoever_else_it_is_has_another_stream(site, page, publisher, prepare):
    """Other headers, another stream: nobody hears with the token of somebody else."""
    server = site()
    tabs = Tabs(page, server)
    headers = {"x-token": "a"}, {"x-token": "a"}, {"x-token": "b"}
    three = [tabs.open(prepare=prepare, headers=each) for each in headers]
    tabs.live(*three)
    streams(server, 2)
    assert [tabs.run(tab, "return stream.tabs") for tab in three] == [2, 2, 1]


def test_partitions(site, page, redis_url):
    """With ``partitions=N`` nothing tells how two places lie: each tab has a stream of its own, and all."""
    server = site(PARTITIONS="4")
    tabs = Tabs(page, server)
    with contextlib.ExitStack() as stack:
        backend = RedisBackend(redis_url, partitions=4)
        stack.callback(backend.close_sync)  # a publisher closes no backend that it was given
        publisher = stack.enter_context(SyncPublisher(backend))
        handles = [tabs.open()]
        tabs.live(*handles)
        publisher.publish("news", "first")
        tabs.wait(handles[0], "heard.length === 1")
        handles += [tabs.open() for _ in range(2)]
        tabs.live(*handles)
        streams(server, 3)
        for number in range(6):
            publisher.publish(("news", "user:u42")[number % 2], str(number))
    for tab in handles:
        tabs.wait(tab, "heard.length >= 6")
        assert tabs.heard(tab)[-6:] == [str(number) for number in range(6)]


def test_not_shared(site, page):
    """``share: false`` is a stream of the page's own."""
    server = site()
    tabs = Tabs(page, server)
    tabs.live(*(tabs.open(share=False) for _ in range(2)))
    streams(server, 2)


def test_back_and_forth(site, page, publisher):
    """A page that is left and gone back to hears what it missed, from the cache for that or anew."""
    tabs = Tabs(page, site())
    tab = tabs.open()
    tabs.live(tab)
    publisher.publish("news", "1")
    tabs.wait(tab, "heard.length === 1")
    page.get(tabs.site.url + "/large")
    publisher.publish("news", "2")
    page.back()
    if tabs.run(tab, "return window.stream !== undefined"):
        tabs.wait(tab, "heard.length === 2")
        assert tabs.heard(tab) == ["1", "2"]


def test_a_server_that_restarts(site, page, publisher, serve_app, redis_url):
    """Both tabs come back by themselves, and miss nothing."""
    server = site()
    tabs = Tabs(page, server)
    both = [tabs.open() for _ in range(2)]
    tabs.live(*both)
    server.kill()
    publisher.publish("news", "missed")
    tabs.wait(both[0], "states.some(state => state.state === 'waiting')")
    serve_app("apps.edge:edge", port=server.port, env={"BACKEND": redis_url, "RETRY": "0.2"})
    for tab in both:
        tabs.wait(tab, "heard.length === 1", timeout=20)
