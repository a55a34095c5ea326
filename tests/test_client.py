"""The client in Chromium: one stream for all tabs, wherever their hub is, and exact whatever dies."""

import threading
import time

import pytest

from apps.edge import AUTH
from servers.tabs import ALONE, LOCKS, Tabs, figures
from sse_edge import SyncPublisher

VALUE = AUTH.issue("u42", ["order:*", "state:*"])


@pytest.fixture
def site(serve_app, redis_url, page):
    """``site(**env)``: a server with streams, and the browser on its page with a cookie."""

    def start(cookie=VALUE, host="127.0.0.1", **env):
        process = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "RETRY": "0.2", **env})
        process.url = f"http://{host}:{process.port}"
        page.get(process.url)
        if cookie is not None:
            page.add_cookie({"name": "session", "value": cookie})
        return process

    return start


@pytest.fixture
def publisher(redis_url):
    with SyncPublisher(redis_url) as publisher:
        yield publisher


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


class Ticker:
    """Publishes a number every 20 ms, from a thread, until it is left; ``sent`` is what was."""

    def __init__(self, publisher):
        self.publisher = publisher
        self.sent = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.over.wait(0.02):
            self.publisher.publish("news", str(len(self.sent)))
            self.sent.append(str(len(self.sent)))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        self.thread.join()


def level(tabs, handles, sent):
    """Wait until these have all that was sent, and hold that each has it once and in order."""
    for tab in handles:
        tabs.wait(tab, f"heard.some(event => event.data === '{sent[-1]}')", timeout=20)
        heard = tabs.heard(tab)
        assert heard == sent[sent.index(heard[0]) :]


def end_worker(page):
    """End the shared worker without a word; wait until it has a successor."""
    before = workers(page)
    for worker in before:
        page.execute_cdp_cmd("Target.closeTarget", {"targetId": worker})
    deadline = time.monotonic() + 10
    while not workers(page) - before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers(page):
    """The shared workers that there are."""
    targets = page.execute_cdp_cmd("Target.getTargets", {"filter": [{"type": "shared_worker"}]})
    return {each["targetId"] for each in targets["targetInfos"]}


def test_the_leader_closes_again_and_again(site, page, publisher):
    """Under an event every 20 ms, a tab that has the stream is closed: the others miss nothing."""
    tabs = Tabs(page, site())
    open_tabs = [tabs.open(prepare=LOCKS) for _ in range(3)]
    tabs.live(*open_tabs)
    with Ticker(publisher) as ticker:
        for _ in range(4):
            time.sleep(0.3)
            open_tabs.append(tabs.open(prepare=LOCKS))
            tabs.live(open_tabs[-1])
            tabs.close(open_tabs.pop(0))
    level(tabs, open_tabs, ticker.sent)


def test_the_worker_is_ended_again_and_again(site, page, publisher):
    """Under an event every 20 ms, the worker that has the stream is ended: the tabs miss nothing."""
    tabs = Tabs(page, site())
    open_tabs = [tabs.open() for _ in range(3)]
    tabs.live(*open_tabs)
    with Ticker(publisher) as ticker:
        for _ in range(4):
            time.sleep(0.3)
            end_worker(page)
            tabs.live(*open_tabs)
    level(tabs, open_tabs, ticker.sent)
