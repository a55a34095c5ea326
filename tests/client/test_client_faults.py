"""The client where things are forbidden, old or wrong: what it does is said, and its stream goes on."""

import time

import pytest

from apps.scripted import STREAM
from servers.tabs import ALONE, HOSTS, LOCKS, Tabs

KEEP_ALIVE = ": keep-alive\n\n"


@pytest.fixture
def tabs(page, scripted):
    return Tabs(page, scripted)


def subscribe(tabs, url="/events/me", **options):
    return tabs.open(url, **{"module": "/client.js", **options})


def event(number, data, tag="abcde", **fields):
    more = "".join(f"{name}: {value}\n" for name, value in fields.items())
    return f"id: {number}-1.{tag}\n{more}data: {data}\n\n"


@pytest.mark.parametrize(
    ("root", "prepare"),
    [
        ("/noworkers", ""),
        (
            "/",
            "window.SharedWorker = class { constructor() { throw new DOMException('no', 'SecurityError') } }",
        ),
        (
            "/",
            LOCKS
            + "; navigator.locks.request = async () => { throw new DOMException('no', 'SecurityError') }",
        ),
        ("/", LOCKS + "; window.BroadcastChannel = class { constructor() { throw new DOMException('no') } }"),
        ("/", LOCKS + "; Object.defineProperty(navigator, 'locks', {value: undefined})"),
        ("/sandboxed", ""),
    ],
    ids=["policy", "workers", "locks", "channels", "insecure", "sandbox"],
)
def test_where_things_are_forbidden(tabs, scripted, root, prepare):
    """It takes the next best way, and at last a stream of the page's own; each tab hears."""
    tabs.first = False
    both = [subscribe(tabs, prepare=prepare, root=root) for _ in range(2)]
    tabs.live(*both)
    scripted.say(event(8, "x"))
    for tab in both:
        tabs.wait(tab, "heard.length === 1")
    opened = sum("poll" not in each["query"] for each in scripted.asked)
    assert opened == (1 if root == "/noworkers" or "SharedWorker = class" in prepare else 2)


@HOSTS
def test_two_versions_at_once(tabs, scripted, prepare):
    """After a deploy an old tab and a new one have a stream each, and know nothing of each other."""
    modules = ["/client.js?v=1", "/client.js?v=2", "/client.js?v=2"]
    three = [subscribe(tabs, prepare=prepare, module=module) for module in modules]
    tabs.live(*three)
    assert [tabs.run(tab, "return stream.tabs") for tab in three] == [1, 2, 2]
    scripted.say(event(8, "x"))
    for tab in three:
        tabs.wait(tab, "heard.length === 1")


def test_a_clock_that_is_moved(tabs, scripted):
    """It measures time by another one."""
    tab = subscribe(tabs, prepare=ALONE)
    tabs.live(tab)
    tabs.run(tab, "const now = Date.now; Date.now = () => now() + 86400e3")
    for number in range(8, 12):
        scripted.say(event(number, "x"))
        tabs.wait(tab, f"heard.length === {number - 7}")
    assert tabs.states(tab) == ["live"]
    assert len(scripted.asked) == 1


@HOSTS
def test_events_of_a_channel_that_was_reset(tabs, scripted, prepare):
    """Each comes in its order: what was before, the reset, what is after, of lower ids or other data."""
    both = [subscribe(tabs, prepare=prepare) for _ in range(2)]
    tabs.live(*both)
    reset = 'event: edge-reset\ndata: {"channel": "c", "reason": "epoch"}\n\n'
    scripted.say(event(9, "before") + reset + event(7, "lower") + event(3, "other", "fghij"))
    for tab in both:
        tabs.wait(tab, "heard.length === 3")
        assert tabs.heard(tab) == ["before", "lower", "other"]
        assert tabs.run(tab, "return resets") == [{"channel": "c", "reason": "epoch"}]


OLD = ": stream open\nretry: 100\n\nid: 5-0.abcde\n\n"


def test_a_server_of_0_1(tabs, scripted):
    """It has keep-alives with a blank line, places without a name, and no strands: each URL is opened by
    itself."""
    scripted.script(*[{"body": OLD, "open": True}] * 7)
    four = [subscribe(tabs, f"/events/{number}", prepare=LOCKS) for number in range(3)]
    tabs.live(*four)
    four.append(subscribe(tabs, "/events/3", prepare=LOCKS))
    tabs.live(*four)
    scripted.say(KEEP_ALIVE + ": keep-alive\nid: 6-0.abcde\n\n" + event(8, "x"))
    for tab in four:
        tabs.wait(tab, "heard.length === 1")
    queries = [each["query"] for each in scripted.asked]
    assert [query.count("also=") for query in queries] == [0, 0, 0, 3, 0, 0, 0]


BOTH = ": strand 0\n" + STREAM["body"] + ": strand 1\n" + STREAM["body"]


def test_refused_together(tabs, scripted):
    """An edge that refuses a whole response joins all the same, and is asked to again."""
    tab = subscribe(tabs, "/events/0", prepare=LOCKS)
    tabs.live(tab)
    tabs.run(tab, "stream.close()")
    refused = ': strand 0\nretry: 100\nevent: edge-refused\ndata: {"error": "ip-limit"}\n\n'
    scripted.script({"body": refused}, *[STREAM] * 4)
    tabs.run(tab, "window.more = [1, 2, 3, 4].map(number => subscribe('/events/' + number))")
    tabs.wait(tab, "more.every(({state}) => state.state === 'live')")
    counts = [each["query"].count("also=") for each in scripted.asked]
    assert counts[1] == 3
    assert max(counts[2:]) > 0


def test_those_of_one_response_come_back_on_one(tabs, scripted):
    """However often it is cut."""
    tab = subscribe(tabs, "/events/0", prepare=LOCKS)
    tabs.live(tab)
    tabs.run(tab, "stream.close()")
    scripted.script(*[{"body": BOTH, "open": True}] * 9)
    tabs.run(tab, "window.more = [1, 2].map(number => subscribe('/events/' + number))")
    for count in range(2, 7):
        assert "also=" in scripted.wait_asked(count)["query"]
        tabs.wait(tab, "more.every(({state}) => state.state === 'live')")
        scripted.cut()


def test_live_events_without_ids(tabs, scripted):
    """There is nothing to come back for, so a later tab has what is new, and nobody anything twice."""
    opening = {"body": ": stream open\nretry: 100\n\n", "open": True}
    nothing = '{"events": [], "next": null, "resets": [], "dropped": [], "close": null, "retry": 100}'
    scripted.script(opening, {"body": nothing})
    first = subscribe(tabs)
    tabs.live(first)
    scripted.say("data: 1\n\n")
    tabs.wait(first, "heard.length === 1")
    second = subscribe(tabs)
    tabs.live(second)
    scripted.say("data: 2\n\n")
    for tab, count in ((first, 2), (second, 1)):
        tabs.wait(tab, f"heard.length === {count}")
    assert [tabs.heard(tab) for tab in (first, second)] == [["1", "2"], ["2"]]


@pytest.mark.parametrize(
    ("place", "answer"),
    [("12", {"status": 400, "body": "{}"}), ("5-0.abcdefghij", {})],
    ids=["source", "parts"],
)
def test_places_without_an_order(tabs, scripted, place, answer):
    """Of a generator, or over several partitions: a later tab has a stream of its own."""
    opening = {"body": f": stream open\n\nid: {place}\n\n", "open": True}
    polled = (
        '{"events": [], "next": "5-0.abcdefghij", "resets": [], "dropped": [], "close": null, "retry": 9}'
    )
    scripted.script(opening, {"body": polled, **answer}, opening)
    first = subscribe(tabs)
    tabs.live(first)
    second = subscribe(tabs)
    tabs.live(second)
    scripted.say("data: x\n\n")
    for tab in (first, second):
        tabs.wait(tab, "heard.length === 1")
    assert [each["query"] for each in scripted.asked] == ["", "poll=0", ""]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("{onEvent: 5}", "onEvent cannot be 5"),
        ("{onevent() {}}", "onevent cannot be onevent() {}"),
        ("{headers: 'x'}", "headers cannot be x"),
        ("{firstByte: -1}", "firstByte cannot be -1"),
        ("{hidden: -1}", "hidden cannot be -1"),
        ("{hidden: NaN}", "hidden cannot be NaN"),
        ("{share: 1}", "share cannot be 1"),
        ("{place: 17}", "place cannot be 17"),
        ("{place: '1-0.abcde' + String.fromCharCode(10)}", "place cannot be 1-0.abcde\n"),
        ("{constructor: 1}", "constructor cannot be 1"),
        ("null", "options cannot be null"),
        ("'x'", "options cannot be x"),
    ],
)
def test_options_that_cannot_be(tabs, options, says):
    """Each is a TypeError that names it and its value, before anything is asked."""
    tab = subscribe(tabs)
    script = f"try {{ subscribe('/events/me', {options}) }} catch (error) {{ return String(error) }}"
    assert tabs.run(tab, script) == f"TypeError: subscribe: {says}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("'data:x'", "data:x"),
        ("undefined", "undefined"),
        ("null", "null"),
        ("''", ""),
        ("'/events/1?also=%2Fevents%2F2'", "/events/1?also=%2Fevents%2F2"),
        ("'/events/1?a=b&last_event_id=1-0.abcde'", "/events/1?a=b&last_event_id=1-0.abcde"),
    ],
)
def test_addresses_that_cannot_be(tabs, url, says):
    """Only http has streams, something has to be asked for; from where, and what besides, the client says."""
    tab = subscribe(tabs)
    script = f"try {{ subscribe({url}) }} catch (error) {{ return String(error) }}"
    assert tabs.run(tab, script) == f"TypeError: subscribe: url cannot be {says}"


@pytest.mark.parametrize(
    "headers",
    ["new Headers({'X-Who': 'me'})", "[['X-Who', 'me']]", "async () => new Headers({'X-Who': 'me'})"],
)
def test_headers_in_all_forms(tabs, scripted, headers):
    """What fetch takes it takes, too."""
    tab = subscribe(tabs, code=f"{{headers: {headers}}}")
    tabs.live(tab)
    assert scripted.asked[0]["headers"]["x-who"] == "me"


@pytest.mark.parametrize("headers", ["{'x y': '1'}", "{x: 'a\\nb'}"])
def test_headers_that_cannot_be(tabs, headers):
    """No request could have them: a TypeError at once."""
    tab = subscribe(tabs)
    options = f"{{headers: {headers}}}"
    said = tabs.run(
        tab, f"try {{ subscribe('/events/me', {options}) }} catch (error) {{ return String(error) }}"
    )
    assert said.startswith("TypeError")
    assert "Headers" in said


def test_a_page_that_throws(tabs, scripted):
    """What its functions throw is reported as the page's own, and the stream goes on."""
    prepare = "window.thrown = []; addEventListener('error', () => thrown.push(1))"
    code = "{onEvent(event) { heard.push(event); throw Error('event') }, onState() { throw Error('state') }}"
    tab = subscribe(tabs, prepare=prepare, code=code)
    tabs.live(tab)
    scripted.say(event(8, "1") + event(9, "2"))
    tabs.wait(tab, "heard.length === 2")
    assert tabs.run(tab, "return thrown.length") == 3


@HOSTS
def test_a_page_that_has_heard_enough(tabs, scripted, prepare):
    """In the middle of what others had: it is told nothing after its end."""
    first = subscribe(tabs, prepare=prepare)
    tabs.live(first)
    scripted.say(event(8, "1") + event(9, "2"))
    tabs.wait(first, "heard.length === 2")
    code = "{onEvent(event) { heard.push(event); stream.close() }}"
    second = subscribe(tabs, prepare=prepare, code=code, place="5-0.abcde")
    tabs.wait(second, "heard.length")
    assert tabs.heard(second) == ["1"]
    assert tabs.states(second) == ["ended"]
    assert tabs.run(second, "return stream.state") == {"state": "ended", "reason": "closed"}


def test_a_tab_that_hands_over_while_another_is_behind(tabs, scripted):
    """Nothing is left to fail in it."""
    prepare = LOCKS + "; window.thrown = []; addEventListener('unhandledrejection', () => thrown.push(1))"
    first = subscribe(tabs, prepare=prepare)
    tabs.live(first)
    scripted.script(*[{"status": 503}] * 2)
    second = subscribe(tabs, prepare=prepare)
    scripted.wait_asked(3)
    tabs.run(first, "stream.close()")
    tabs.live(second)
    time.sleep(0.5)
    assert tabs.run(first, "return thrown") == []


def test_headers_that_fail(tabs, scripted):
    """A function that throws is reported, and asked again."""
    prepare = "window.thrown = []; addEventListener('error', () => thrown.push(1))"
    code = "{headers() { if (!thrown.length) throw new Error('no token'); return {} }}"
    tab = subscribe(tabs, prepare=prepare, code=code)
    tabs.live(tab)
    assert tabs.run(tab, "return thrown.length") == 1


def test_a_page_elsewhere(tabs, scripted, serve_app):
    """Of another origin it shares among its own tabs, without a worker, and sends the cookies that it may."""
    other = serve_app("apps.scripted:app")
    tab = subscribe(tabs, other.url + "/events/me", module=other.url + "/client.js")
    tabs.live(tab)
    assert tabs.run(tab, "return stream.tabs") == 1
