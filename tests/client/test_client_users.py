"""The client when a browser's user changes: nobody hears what is somebody else's, in whatever tab."""

import pytest

from apps.edge import AUTH
from servers.tabs import ALONE, HOSTS, LOCKS, Tabs, figures, streams

OTHER = {"state": "ended", "reason": "other-user"}


@pytest.fixture
def tabs(serve_app, redis_url, page):
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "RETRY": "0.2"})
    page.get(process.url)
    tabs = Tabs(page, process)
    sign_in(tabs, "ann")
    return tabs


def sign_in(tabs, user):
    """The browser is this user's from here on."""
    tabs.page.add_cookie({"name": "session", "value": AUTH.issue(user, ["order:*", "state:*"])})


@HOSTS
@pytest.mark.parametrize("path", ["/events/me", "/events/orders/1"])
def test_another_user_signs_in(tabs, publisher, prepare, path):
    """A page of the new user hears what is theirs alone, on any URL; the old user's tabs are ended."""
    both = [tabs.open(prepare=prepare) for _ in range(2)]
    tabs.live(*both)
    publisher.publish("user:ann", "kept")
    for tab in both:
        tabs.wait(tab, "heard.length === 1")
    place = tabs.run(both[0], "return heard[0].id")
    sign_in(tabs, "bob")
    third = tabs.open(path, prepare=prepare, place=f"1-0.{place.partition('.')[2]}")
    tabs.live(third)
    for tab in both:
        tabs.wait(tab, "stream.state.state === 'ended'")
        assert tabs.run(tab, "return stream.state") == OTHER
    tabs.run(third, "window.more = subscribe('/events/me', {onEvent: event => heard.push(event)})")
    tabs.wait(third, "more.state.state === 'live'")
    for user in ("ann", "bob"):
        publisher.publish(f"user:{user}", f"for {user}")
    tabs.wait(third, "heard.some(event => event.data === 'for bob')")
    assert set(tabs.heard(third)) == {"for bob"}
    tabs.run(both[0], "dispatchEvent(new Event('online'))")
    assert [tabs.heard(tab) for tab in both] == [["kept"], ["kept"]]
    assert tabs.run(both[0], "return stream.state") == OTHER


@pytest.mark.parametrize(
    "prepare", ["", pytest.param(LOCKS, marks=pytest.mark.heavy), ALONE], ids=["worker", "locks", "alone"]
)
def test_a_stream_that_comes_back_as_another_users(tabs, publisher, prepare):
    """What is cut and asked for again with somebody else's cookie is not given to the old user's tab."""
    tab = tabs.open(prepare=prepare)
    tabs.live(tab)
    sign_in(tabs, "bob")
    publisher.publish("user:bob", "for bob")
    publisher.disconnect(user="ann")
    tabs.wait(tab, "stream.state.state === 'ended'")
    assert tabs.run(tab, "return [stream.state, heard]") == [OTHER, []]
    streams(tabs.site, 0)


@HOSTS
def test_nobody_is_signed_in_any_more(tabs, prepare):
    """A page without a session is refused, and the tabs that it had before are ended."""
    first = tabs.open(prepare=prepare)
    tabs.live(first)
    tabs.page.delete_all_cookies()
    second = tabs.open(prepare=prepare)
    tabs.wait(second, "stream.state.state === 'refused'")
    tabs.wait(first, "stream.state.state === 'ended'")
    assert tabs.run(first, "return stream.state") == OTHER


@HOSTS
def test_the_same_user_signs_in_again(tabs, publisher, prepare):
    """Another cookie of the same user changes nothing: one stream for all tabs."""
    first = tabs.open(prepare=prepare)
    tabs.live(first)
    sign_in(tabs, "ann")
    second = tabs.open(prepare=prepare, place=publisher.publish("news", "rendered"))
    tabs.live(second)
    publisher.publish("user:ann", "x")
    for tab in (first, second):
        tabs.wait(tab, "heard.at(-1)?.data === 'x'")
    assert figures(tabs.site)["streams"] == 1


@HOSTS
def test_signing_out_and_in_on_one_page(tabs, publisher, prepare):
    """After ``close(true)`` a page subscribes anew at once, and has a stream; what was closed stays so."""
    both = [tabs.open(prepare=prepare) for _ in range(2)]
    tabs.live(*both)
    sign_in(tabs, "bob")
    again = "window.next = subscribe('/events/me', {onEvent: event => heard.push(event)})"
    tabs.run(both[0], "stream.close(true); " + again)
    tabs.wait(both[0], "next.state.state === 'live'")
    publisher.publish("user:bob", "for bob")
    tabs.wait(both[0], "heard.length === 1")
    assert tabs.heard(both[1]) == []
    for tab in both:
        assert tabs.states(tab) == ["live", "ended"]
        assert tabs.run(tab, "return stream.state.reason") == "closed"


@HOSTS
def test_what_has_finished_stays_so(tabs, publisher, prepare):
    """Another tab that subscribes is told the same by itself; the first hears nothing more."""
    publisher.publish("state:7", "60 %")
    first = tabs.open("/events/states/7", prepare=prepare)
    tabs.live(first)
    publisher.finish("state:7", "100 %")
    tabs.wait(first, "stream.state.reason === 'finished'")
    second = tabs.open("/events/states/7", prepare=prepare)
    tabs.wait(second, "stream.state.reason === 'finished'")
    assert tabs.states(first) == ["live", "ended"]
