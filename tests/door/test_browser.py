"""A real browser: native EventSource and fetch(), with real cookies, origins and reconnects."""

import json
import time
import urllib.request

import pytest

from apps.edge import AUTH
from parts.visited import visiting
from servers.browser import wait_for

VALUE = AUTH.issue("u42")

OPEN = """
window.heard = []; window.errors = 0; window.opened = 0
window.source = new EventSource(arguments[0], {withCredentials: arguments[1]})
source.onopen = () => opened++
source.onerror = () => errors++
const hear = event => heard.push([event.type, event.data, event.lastEventId])
source.onmessage = hear
for (const name of ["status", "edge-close", "edge-reset"]) source.addEventListener(name, hear)
"""
FETCH = """
const [url, options, done] = arguments
fetch(url, options).then(
    async response => {
        if (response.headers.get("content-type") !== "application/json")
            return done([response.status, response.headers.get("content-type")])
        done([response.status, (await response.json()).error])
    },
    error => done([0, error.name]),
)
"""


@pytest.fixture
def site(serve_app, redis_url, page):
    """``site(cookie=…, **env)``: a server with streams, and the browser on its page with a cookie."""
    return visiting(serve_app, redis_url, page, VALUE)


@pytest.fixture
def other_page(serve_app, page):
    """``other_page(host)`` takes the browser to a page of another origin, and returns that origin."""

    def go(host="127.0.0.1"):
        process = serve_app("apps.edge:edge")
        origin = f"http://{host}:{process.port}"
        page.get(origin)
        return origin

    return go


def figures(site):
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/figures") as answer:
        return json.load(answer)


def open_source(page, url, *, credentials=False):
    page.execute_script(OPEN, url, credentials)


def heard(page):
    return page.execute_script("return heard")


def placed(page, site, streams=1):
    """Wait until the page's stream is open, here and there."""
    wait_for(page, "source.readyState === EventSource.OPEN && opened > 0")
    deadline = time.monotonic() + 10
    while figures(site)["streams"] != streams:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_same_origin(site, page, publisher):
    """A native EventSource of the same origin hears named and unnamed events, text and ids intact."""
    server = site()
    open_source(page, "/events/me")
    placed(page, server)
    expected = [
        ["message", "one\ntwo", publisher.publish("news", "one\r\ntwo")],
        ["status", '{"é":"\u2028 "}', publisher.publish("user:u42", json={"é": "\u2028 "}, event="status")],
        ["message", "", publisher.publish("news", "")],
        ["message", " spaced ", publisher.publish("news", " spaced ")],
    ]
    wait_for(page, "heard.length >= 4")
    assert heard(page) == expected


@pytest.mark.parametrize(
    "env", [{}, {"SSE_EDGE_SINK": "task"}, {"COMPRESS": "1"}], ids=["plain", "task", "compressed"]
)
def test_a_page_sees_the_state_and_the_end(site, page, publisher, env):
    """It opens with the last event; when the channel has finished the browser comes back once, and is told
    that this was all. So is a page that opens afterwards."""
    publisher.publish("state:7", "40 %", event="status")
    first = publisher.publish("state:7", "60 %", event="status")
    server = site(cookie=AUTH.issue("u42", ["state:*"]), **env)
    open_source(page, "/events/states/7")
    wait_for(page, "heard.length >= 1")
    assert heard(page) == [["status", "60 %", first]]
    last = publisher.finish("state:7", "100 %", event="status")
    wait_for(page, "source.readyState === EventSource.CLOSED")
    *_, state, close = heard(page)
    assert state == ["status", "100 %", last]
    assert (close[0], json.loads(close[1])) == ("edge-close", {"reason": "finished"})
    assert page.execute_script("return [opened, errors]") == [1, 2]
    time.sleep(1)  # five times what it waits before it comes back
    seen = figures(server)
    assert (seen["opened"], seen["refusals"], seen["endings"]) == (1, {"finished": 1}, {"finished": 1})
    open_source(page, "/events/states/7")
    wait_for(page, "source.readyState === EventSource.CLOSED")
    assert [name for name, _, _ in heard(page)] == ["status", "edge-close"]
    assert heard(page)[0] == ["status", "100 %", last]


def test_reconnect(site, page, publisher):
    """Over several ends of its stream a browser comes back by itself and hears every event once."""
    server = site(MAX_DURATION="0.7")
    open_source(page, "/events/me")
    placed(page, server)
    sent = []
    while len(sent) < 20 or figures(server)["opened"] < 4:
        sent.append(["message", str(len(sent)), publisher.publish("news", str(len(sent)))])
        assert len(sent) < 500
        time.sleep(0.03)
    publisher.publish("news", "last", event="status")
    wait_for(page, "heard.some(event => event[1] === 'last')")
    seen = heard(page)
    assert [event for event in seen if event[0] == "message"] == sent
    closes = [json.loads(data) for name, data, _ in seen if name == "edge-close"]
    assert closes == [{"reason": "max-duration"}] * len(closes)
    assert len(closes) >= 3
    assert [event for event in seen if event[0] == "edge-reset"] == []
    assert figures(server)["refusals"] == {}


def test_reconnect_without_events(site, page, publisher):
    """A stream that ended before it had any event still resumes where it was: nothing is missed."""
    server = site(MAX_DURATION="0.5", RETRY="1")
    open_source(page, "/events/me")
    wait_for(page, "heard.length === 1")
    assert heard(page)[0][0] == "edge-close"
    id = publisher.publish("news", "while away")
    wait_for(page, "heard.length >= 2")
    assert heard(page)[1] == ["message", "while away", id]
    assert figures(server)["opened"] >= 2


def test_closed_tab(site, page):
    """A closed EventSource is noticed."""
    server = site()
    open_source(page, "/events/me")
    placed(page, server)
    page.execute_script("source.close()")
    deadline = time.monotonic() + 10
    while figures(server)["endings"] != {"client-gone": 1}:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_allowed_origin(site, page, publisher, other_page):
    """A page of an allowed origin may open a stream with the user's cookie."""
    origin = other_page()
    server = site(ORIGINS=origin)
    page.get(origin)
    open_source(page, f"{server.url}/events/me", credentials=True)
    placed(page, server)
    id = publisher.publish("user:u42", "across")
    wait_for(page, "heard.length >= 1")
    assert heard(page) == [["message", "across", id]]


def test_foreign_origin(site, page, other_page):
    """A page of any other origin is refused although the cookie is sent, and its EventSource is closed."""
    server = site()
    other_page()
    open_source(page, f"{server.url}/events/me", credentials=True)
    wait_for(page, "source.readyState === EventSource.CLOSED")
    assert page.execute_script("return [opened, errors]") == [0, 1]
    assert figures(server)["refusals"] == {"origin": 1}
    assert figures(server)["opened"] == 0


def test_other_site(site, page, other_page):
    """To a page of another site, even an allowed one, a browser gives no Lax cookie: unauthenticated."""
    origin = other_page("localhost")
    server = site(ORIGINS=origin)
    page.get(origin)
    open_source(page, f"{server.url}/events/me", credentials=True)
    wait_for(page, "source.readyState === EventSource.CLOSED")
    assert figures(server)["refusals"] == {"unauthenticated": 1}


@pytest.mark.parametrize(
    ("cookie", "path", "code"),
    [
        (None, "/events/me", "unauthenticated"),
        (VALUE, "/events/orders/1", "forbidden"),
        (VALUE, "/events/nowhere", "not-found"),
    ],
    ids=["no cookie", "no right", "no such path"],
)
def test_refusals_are_final(site, page, cookie, path, code):
    """A native EventSource that is refused for good asks once and is closed."""
    server = site(cookie)
    open_source(page, path)
    wait_for(page, "source.readyState === EventSource.CLOSED")
    assert page.execute_script("return [opened, errors]") == [0, 1]
    assert figures(server)["refusals"] == {code: 1}


TAMPERED = VALUE[:-4] + ("AAAA" if VALUE[-4:] != "AAAA" else "BBBB")
EXPIRED = AUTH.issue("u42", now=time.time() - 86400 - 5)


@pytest.mark.parametrize(
    ("cookie", "path", "expected"),
    [
        (VALUE, "/events/me", [200, "text/event-stream; charset=utf-8"]),
        (None, "/events/me", [401, "unauthenticated"]),
        (TAMPERED, "/events/me", [401, "unauthenticated"]),
        (EXPIRED, "/events/me", [401, "unauthenticated"]),
        (AUTH.issue("u42", ["order:8"]), "/events/orders/7", [403, "forbidden"]),
        (AUTH.issue("u42", ["order:*"]), "/events/orders/7", [200, "text/event-stream; charset=utf-8"]),
        (VALUE, "/events/nowhere", [404, "not-found"]),
    ],
    ids=["ours", "no cookie", "tampered", "expired", "no right", "a right", "no such path"],
)
def test_fetch(site, page, cookie, path, expected):
    """A page reads the table's status and code with fetch()."""
    site(cookie)
    assert page.execute_async_script(FETCH, path, {}) == expected


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_fetch_with_another_method(site, page, method):
    """Other methods get 405."""
    site()
    assert page.execute_async_script(FETCH, "/events/me", {"method": method}) == [405, "method"]


def test_fetch_from_an_allowed_origin(site, page, other_page):
    """A page of an allowed origin reads refusals too, and may send Last-Event-ID, which is preflighted."""
    origin = other_page()
    server = site(ORIGINS=origin)
    page.get(origin)
    options = {"credentials": "include", "headers": {"Last-Event-ID": "1-1", "Cache-Control": "no-cache"}}
    asked = [
        page.execute_async_script(FETCH, f"{server.url}{path}", {**options, "headers": headers})
        for path in ("/events/me", "/events/orders/7")
        for headers in (options["headers"], {})
    ]
    assert asked == [[200, "text/event-stream; charset=utf-8"]] * 2 + [[403, "forbidden"]] * 2
    too_long = f"{server.url}/events/me?{'x' * 9000}"
    assert page.execute_async_script(FETCH, too_long, {"credentials": "include"}) == [400, "bad-request"]


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_fetch_from_a_foreign_origin(site, page, other_page, mode):
    """A page of a foreign origin can read nothing, and its attempt opens nothing, with no-cors neither."""
    server = site()
    other_page()
    options = {"credentials": "include", "mode": mode}
    answer = page.execute_async_script(FETCH, f"{server.url}/events/me", options)
    assert answer in ([0, "TypeError"], [0, None])
    assert figures(server)["refusals"] == {"origin": 1}
    assert figures(server)["opened"] == 0


def test_navigation(site, page):
    """Typing a stream's address opens no stream."""
    server = site()
    page.get(f"{server.url}/events/me")
    assert json.loads(page.find_element("tag name", "body").text)["error"] == "origin"
    assert figures(server)["opened"] == 0
