"""Whoever has the stream dies under an event every 20 ms: the tabs that are left miss nothing, and go on.

With ``--heavy`` of ten tabs, fifty times; with ``-s`` the figures are shown.
"""

import itertools
import statistics
import time

import pytest

from apps.edge import AUTH
from servers.tabs import LOCKS, Tabs, Ticker, end_worker, level, streams


@pytest.fixture
def tabs(serve_app, redis_url, page):
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url})
    page.get(process.url)
    page.add_cookie({"name": "session", "value": AUTH.issue("u42")})
    return Tabs(page, process)


@pytest.fixture
def rounds(request):
    """How many tabs there are, and how often one dies."""
    return (10, 50) if request.config.getoption("--heavy") else (3, 4)


WATCHED = "{onEvent(event) { heard.push(event); (window.times ??= []).push(Date.now()) }}"


def pauses(tabs, tab, deaths):
    """Milliseconds without an event that a tab had around each death."""
    times = tabs.run(tab, "return times")
    found = []
    for death in deaths:
        near = [moment for moment in times if death - 200 <= moment <= death + 1500]
        found.append(max(after - before for before, after in itertools.pairwise(near)))
    return found


def report(what, found, sent):
    """Show how long it took."""
    print(
        f"\n{what}: {len(found)} deaths, {len(sent)} events, 0 lost, 0 twice in each tab that was left; "
        f"from a death to the next event {statistics.median(found):.0f} ms (median), {max(found)} ms (worst)"
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["close", "crash"])
def test_the_tab_that_has_the_stream(tabs, publisher, rounds, how):
    """It is closed, or its process dies; the one after it takes over."""
    count, deaths = rounds
    handles = [tabs.open(prepare=LOCKS, code=WATCHED) for _ in range(count - 1)]
    tabs.live(*handles)
    found = []
    with Ticker(publisher) as ticker:
        for _ in range(deaths):
            handles.append(tabs.open(prepare=LOCKS, code=WATCHED))
            tabs.live(handles[-1])
            leader = handles.pop(0)
            heard = tabs.heard(leader)
            assert heard == [str(int(heard[0]) + n) for n in range(len(heard))]
            death = time.time() * 1000
            getattr(tabs, how)(leader)
            tabs.wait(handles[0], f"times.at(-1) > {death} + 500")
            found += pauses(tabs, handles[0], [death])
    level(tabs, handles, ticker.sent)
    report(f"the leader's tab, {how}", found, ticker.sent)
    streams(tabs.site, 1)


@pytest.mark.timeout(300)
def test_the_worker_that_has_the_stream(tabs, publisher, rounds):
    """It is ended without a word; the tabs begin another."""
    count, deaths = rounds
    handles = [tabs.open(code=WATCHED) for _ in range(count)]
    tabs.live(*handles)
    times = []
    with Ticker(publisher) as ticker:
        for _ in range(deaths):
            time.sleep(0.4)
            times.append(time.time() * 1000)
            end_worker(tabs.page)
    level(tabs, handles, ticker.sent)
    found = pauses(tabs, handles[0], times)
    report("the shared worker", found, ticker.sent)
    streams(tabs.site, 1)
