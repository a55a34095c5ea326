"""What the client tells a page of its stream, and when it comes back, by servers that do as they are told."""

import json
import time

import pytest

from servers.tabs import LOCKS, Tabs


@pytest.fixture
def tabs(page, scripted):
    return Tabs(page, scripted)


@pytest.fixture
def site(scripted):
    return scripted


def subscribe(tabs, url="/events/me", **options):
    return tabs.open(url, **{"module": "/quick.js", **options})


def opened(*blocks, **more):
    return {"body": ": stream open\nretry: 100\n\n" + "".join(blocks), "open": True, **more}


CLOSE = "event: edge-close\ndata: {}\n\n".replace("{}", '{{"reason": "{}"}}')


def test_an_end_for_good(tabs, site):
    """It is told why, and nothing is asked again."""
    site.script({"body": CLOSE.format("finished")})
    tab = subscribe(tabs)
    tabs.wait(tab, "stream.state.state === 'ended'")
    assert tabs.run(tab, "return stream.state") == {"state": "ended", "reason": "finished"}
    time.sleep(0.5)
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    "reason", ["max-duration", "session-expired", "revoked", "forbidden", "drain", "backend-lost"]
)
def test_an_end_after_which_it_comes_back(tabs, site, reason):
    """From its place, after as long as it was told."""
    site.script(opened("id: 7-1.abcde\ndata: x\n\n", CLOSE.format(reason), open=False))
    tab = subscribe(tabs)
    assert site.wait_asked(2)["headers"]["last-event-id"] == "7-1.abcde"
    tabs.live(tab)
    assert tabs.run(tab, "return states.find(state => state.state === 'waiting').code") == reason
    assert tabs.run(tab, "return states.find(state => state.state === 'waiting').until instanceof Date")


def test_an_empty_answer_is_the_end(tabs, site):
    """204: everything has finished."""
    site.script({"status": 204})
    tab = subscribe(tabs)
    tabs.wait(tab, "stream.state.state === 'ended'")
    assert tabs.run(tab, "return stream.state.reason") == "finished"


@pytest.mark.parametrize(
    ("status", "code"), [(401, "unauthenticated"), (403, "forbidden"), (404, "not-found")]
)
def test_refused_until_it_is_looked_at(tabs, site, status, code):
    """It asks no more by itself; when the network is back, or the tab is looked at, it does."""
    refusal = {
        "status": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"error": code}),
    }
    site.script(refusal)
    tab = subscribe(tabs)
    tabs.wait(tab, "stream.state.state === 'refused'")
    assert tabs.run(tab, "return stream.state") == {"state": "refused", "code": code, "status": status}
    time.sleep(1.1)
    assert len(site.asked) == 1
    tabs.run(tab, "dispatchEvent(new Event('online'))")
    tabs.live(tab)


REFUSED = 'event: edge-refused\ndata: {"error": "user-limit"}\nretry: 100\n\n'


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"body": REFUSED}, "user-limit"),
        ({"status": 429, "headers": {"retry-after": "1"}, "body": '{"error": "ip-limit"}'}, "ip-limit"),
        ({"status": 502, "body": "<html>"}, "502"),
        ({"headers": {"content-type": "text/html"}, "body": "a login of the hotel's network"}, "no-stream"),
        ({"body": "retry: 100\n"}, "cut"),
    ],
)
def test_what_passes_is_waited_for(tabs, site, answer, code):
    """And it says until when; the wait that it is told is the least."""
    site.script(answer, answer)
    began = time.monotonic()
    tab = subscribe(tabs)
    site.wait_asked(3)
    tabs.live(tab)
    waited = tabs.run(
        tab, "return states.filter(state => state.state === 'waiting').map(state => state.code)"
    )
    assert waited == [code, code]
    assert time.monotonic() - began > (1.5 if code == "ip-limit" else 0.15)


def test_silence_is_noticed(tabs, site):
    """A stream whose other end is gone without a word is opened again, from its place."""
    site.script(opened("id: 7-1.abcde\ndata: x\n\n"))
    tab = subscribe(tabs)
    assert site.wait_asked(2)["headers"]["last-event-id"] == "7-1.abcde"
    tabs.wait(tab, "states.length >= 2")
    assert tabs.states(tab)[0] == "live"


POLLED = {"resets": [], "dropped": [], "close": None, "retry": 50}


def polled(*events, next, **more):
    body = json.dumps({**POLLED, "events": events, "next": next, **more})
    return {"headers": {"content-type": "application/json"}, "body": body}


def test_a_network_that_holds_streams_back(tabs, site):
    """It polls instead, tells so, and comes back to streaming when it can."""
    event = {"event": "status", "data": "polled", "id": "7-1.abcde"}
    reset = {"channel": "c", "reason": "trimmed"}
    site.script({"silent": True}, polled(event, next="7-1.abcde", resets=[reset]), {"silent": True})
    tab = subscribe(tabs, firstByte=0.3)
    tabs.wait(tab, "heard.length === 1")
    assert tabs.run(tab, "return stream.state") == {"state": "live", "polling": True}
    assert tabs.run(tab, "return [heard[0], resets]") == [
        {"name": "status", "data": "polled", "id": "7-1.abcde"},
        [reset],
    ]
    streaming, poll, again = site.wait_asked(3) and site.asked[:3]
    assert (streaming["query"], poll["query"], again["query"]) == ("", "poll=20", "poll=20")
    assert again["headers"]["last-event-id"] == "7-1.abcde"
    site.script()
    tabs.wait(tab, "stream.state.polling === false", timeout=20)


def test_it_says_where_it_was_rendered(tabs, site):
    """The place goes with the first request, and headers with each, of a function that is asked for them."""
    tab = subscribe(tabs, place="3-1.abcde", headers={"x-who": "me"}, share=False)
    tabs.live(tab)
    head = site.asked[0]["headers"]
    assert (head["last-event-id"], head["x-who"]) == ("3-1.abcde", "me")
    assert head["accept"] == "text/event-stream;identity=1"


@pytest.mark.parametrize("prepare", ["", LOCKS], ids=["worker", "locks"])
def test_headers_of_a_function(tabs, site, prepare):
    """It is asked for each request, and once before, to know whose stream it is."""
    token = "{headers: async () => ({authorization: `B ${window.asked = (window.asked ?? 0) + 1}`})}"
    tab = subscribe(tabs, prepare=prepare, share="me", code=token)
    tabs.live(tab)
    site.cut()
    site.wait_asked(2)
    assert [each["headers"]["authorization"] for each in site.asked] == ["B 2", "B 3"]


HIDES = """
window.away = false
Object.defineProperty(document, "hidden", {get: () => away})
window.look = seen => { away = !seen; document.dispatchEvent(new Event("visibilitychange", {bubbles: true})) }
"""


def test_hidden_tabs_let_go(tabs, site):
    """After a while that no tab is seen the stream is let go; they catch up when one is."""
    first, second = (subscribe(tabs, prepare=HIDES, hidden=0.3) for _ in range(2))
    tabs.live(first, second)
    tabs.run(first, "look(false)")
    site.say("id: 8-1.abcde\ndata: heard\n\n")
    tabs.wait(first, "heard.length === 1")
    tabs.run(second, "look(false)")
    tabs.wait(first, "stream.state.code === 'hidden'")
    count = len(site.asked)
    site.script(opened("id: 9-1.abcde\ndata: missed\n\n"))
    time.sleep(0.5)
    assert len(site.asked) == count
    tabs.run(second, "look(true)")
    for tab in (first, second):
        tabs.wait(tab, "heard.length === 2")
    assert site.asked[-1]["headers"]["last-event-id"] == "8-1.abcde"
