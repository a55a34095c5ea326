"""A load test's streams against servers that ``apps.locusts`` plays: patient like browsers, and counted."""

import subprocess
import sys

import pytest

from apps.locust_process import Locusts
from servers.processes import command

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def locusts():
    """A process that gevent has patched, and in which cases are played."""
    process = Locusts()
    yield process
    process.close()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A certificate of somebody else's, also for localhost."""
    directory = tmp_path_factory.mktemp("stranger")
    path = directory / "cert.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made = [command("openssl"), "req", *kind, "-keyout", directory / "key.pem", "-out", path]
    subprocess.run([*made, "-subj", "/CN=localhost"], check=True, capture_output=True)
    return str(path)


NOTHING = {
    "attempts": 0,
    "reconnects": 0,
    "opened": 0,
    "events": 0,
    "streams": 0,
    "endings": {},
    "refusals": {},
    "errors": {},
}


def happened(counted, **expected):
    """Whether a tally says this, and no more; what is timed is as often there as it happened."""
    found = {name: counted[name] for name in NOTHING}
    assert found == {**NOTHING, **expected}
    assert sum(counted["connect"].values()) >= sum(counted["first_byte"].values()) >= found["opened"]
    return True


def test_gevent_stays_in_its_process(locusts):
    """What Locust replaces is replaced where cases are played, and not where pytest runs."""
    assert locusts.play("patched") == {"gevent": True, "by": "locust"}
    assert "locust" not in sys.modules
    monkey = sys.modules.get("gevent.monkey")
    assert monkey is None or not monkey.is_module_patched("socket")


# One stream


def test_a_client_asks_as_a_browser_does(locusts):
    """The path with its query, a user of its own, an address of its own, and no place the first time."""
    found = locusts.play("request")
    assert found["line"] == "GET /events/me?page=1 HTTP/1.1"
    assert found["host"] == f"127.0.0.1:{found['port']}"
    assert (found["user"], found["source"]) == ("u0", "127.1.0.1")
    assert found["accept"] == "text/event-stream"
    assert found["last-event-id"] is None
    assert happened(found["counted"], attempts=1, opened=1, streams=1)
    assert not found["counted"]["away"]


@pytest.mark.parametrize(
    ("how", "retry_ms", "ending"),
    [("end", 50, "end"), ("cut", 200, "cut"), ("reset", 50, "cut"), ("cut in a chunk", 50, "cut")],
)
def test_an_ended_stream_is_resumed(locusts, how, retry_ms, ending):
    """After an end or a cut the client waits what it was told, and says where it was."""
    found = locusts.play("resume", how, retry_ms)
    assert found["place"] == "2-1"
    assert found["same"]
    assert retry_ms / 1000 <= found["waited"] < 2.5  # no more is told to wait by default
    assert found["between"] == 0
    assert found["retry_ms"] == retry_ms
    assert found["connection"] == 2
    assert found["heard"] == [3, 3]
    assert found["faults"] == []
    assert happened(
        found["counted"], attempts=2, reconnects=1, opened=2, streams=1, events=3, endings={ending: 1}
    )
    ((away, count),) = found["counted"]["away"].items()
    assert (int(away) >= retry_ms, count) == (True, 1)


def test_who_was_told_nothing_waits_three_seconds(locusts):
    """As browsers do."""
    assert locusts.play("defaults") == {"wait": 3.0}


@pytest.mark.parametrize("status", [401, 403, 429, 503, 204])
def test_another_status_is_the_end(locusts, status):
    """On any status but 200 a client gives up for good."""
    found = locusts.play("given_up", status)
    assert found["due"] == 0
    assert found["state"] == {"wanted": 1, "live": 0, "over": 1, "behind": 0}
    assert happened(found["counted"], attempts=1, refusals={f"status {status}": 1})


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("proxy", "proxy"),
        ("proxy in two pieces", "proxy"),
        ("edge", "worker-full"),
        ("edge with a length", "worker-full"),
        ("edge without a length", "worker-full"),
        ("empty", "proxy"),
    ],
)
def test_a_refusal_with_200_is_counted_by_its_code(locusts, how, code):
    """The proxy's answer while the app is away, and the edge's own: the client comes back in its time."""
    found = locusts.play("refused", how)
    assert found["place"] is None
    assert 0.045 <= found["waited"] < 2.5
    # It was never live: it is no client that comes back, and was not away.
    assert happened(found["counted"], attempts=2, opened=1, streams=1, refusals={code: 1})
    assert not found["counted"]["away"]


def test_who_was_live_is_away_until_it_is_live_again(locusts):
    """Each attempt of a client that was live is a reconnect, and refusals make its absence longer."""
    found = locusts.play("refused_again")
    counted = found["counted"]
    assert happened(
        counted, attempts=4, reconnects=3, opened=2, streams=1, endings={"end": 1}, refusals={"proxy": 2}
    )
    ((away, count),) = counted["away"].items()
    assert (150 <= int(away) <= 1000 * found["away"] + 10, count) == (True, 1)


def test_a_stream_without_chunks_is_read_as_it_comes(locusts):
    """Without a length either: blocks are read when they are there, and the end is the connection's."""
    found = locusts.play("unmeasured")
    assert found["before"] == "0-1"  # half an event is none
    assert (found["place"], found["retry_ms"], found["heard"]) == ("2-1", 50, [2, 2])
    assert happened(
        found["counted"], attempts=2, reconnects=1, opened=2, streams=1, events=2, endings={"cut": 1}
    )


@pytest.mark.parametrize(
    ("block", "error"),
    [
        ("data: \xff", r"no stream: no UTF-8: b'data: \xff'"),
        ("id: \xc3", r"no stream: no UTF-8: b'id: \xc3'"),
        ('id: seven\ndata: {"channel":"news","n":1,"at":1}', "no stream: no event id: 'seven'"),
        ('id: 7\ndata: {"channel":"news","n":1,"at":1}', "no stream: no event id: '7'"),
        ('id: 7-x\ndata: {"channel":"news","n":1,"at":1}', "no stream: no event id: '7-x'"),
    ],
)
def test_what_makes_no_sense_ends_one_stream(locusts, block, error):
    """It is an error of this stream, which comes back; the others do not notice."""
    found = locusts.play("malformed", block, True)
    counted = found["counted"]
    assert counted["errors"] == {error: 1}
    assert (counted["attempts"], counted["reconnects"], counted["opened"]) == (3, 1, 3)
    assert (counted["streams"], counted["endings"], found["resets"]) == (2, {}, [])


@pytest.mark.parametrize(
    ("block", "resets"),
    [
        *[
            (f"event: {name}\ndata: {data}", [])
            for name in ("edge-reset", "edge-close", "edge-refused", "edge-dropped")
            for data in ("[]", "7", "null", '"text"', "no JSON", "")
        ],
        ("event: edge-reset", []),
        ("event: edge-reset\ndata: {}", []),
        ('event: edge-reset\ndata: {"reason": "trimmed"}', []),
        ('event: edge-reset\ndata: {"channel": 7, "reason": "trimmed"}', []),
        ('event: edge-reset\ndata: {"channel": "news"}', ["None after 0 (connection 1)"]),
        ('event: edge-reset\ndata: {"channel": "news", "reason": [1]}', ["[1] after 0 (connection 1)"]),
        ("event: edge-close\ndata: {}", []),
    ],
)
def test_what_the_edge_never_says_is_passed_over(locusts, block, resets):
    """Its own events without an object, or with less in it: the stream goes on, and so do the others."""
    found = locusts.play("malformed", block, False)
    assert found["resets"] == resets
    assert happened(found["counted"], attempts=2, opened=2, streams=2, events=2)


@pytest.mark.parametrize("reason", ["drain", "max-duration", "slow"])
def test_an_ending_has_the_reason_that_was_said(locusts, reason):
    """A goodbye is counted by its reason and moves the client's place; the next ending is another one."""
    found = locusts.play("goodbye", reason)
    assert found["place"] == "7-1"
    assert happened(found["counted"], attempts=2, reconnects=1, opened=2, endings={reason: 1, "cut": 1})


@pytest.mark.parametrize(
    ("how", "error", "opened"),
    [
        ("closed", "closed before it was live", 1),
        ("closed after the head", "closed before it was live", 1),
        ("no HTTP", "no stream: no HTTP/1.1 response: '220 mail.example ESMTP'", 1),
        ("no chunk", "no stream: no length of a chunk: b'<html>'", 1),
        ("no chunk while live", "no stream: no length of a chunk: b'<html>'", 2),
    ],
)
def test_what_is_no_stream_is_an_error(locusts, how, error, opened):
    """It is counted by what it was, and the client tries again."""
    counted = locusts.play("unbegun", how)
    came_back = opened - 1  # who was never live does not come back
    assert happened(counted, attempts=2, reconnects=came_back, opened=opened, streams=1, errors={error: 1})
    assert sum(counted["away"].values()) == came_back


def test_who_is_not_let_in_tries_again(locusts):
    """A connection that is refused is an error by its name, again and again until somebody listens."""
    found = locusts.play("unreachable")
    before, after = found["before"], found["after"]
    assert before["errors"].keys() == {"ECONNREFUSED"}
    assert before["errors"]["ECONNREFUSED"] >= 3
    assert (before["opened"], before["connect"], before["reconnects"]) == (0, {}, 0)
    assert (after["opened"], after["streams"]) == (2, 2)
    assert after["errors"].keys() == {"ECONNREFUSED"}
    assert after["attempts"] == after["errors"]["ECONNREFUSED"] + 2
    assert (after["reconnects"], after["away"]) == (0, {})


# What is written down


def test_resets_are_written_down(locusts):
    """A reset excuses what is missing on its channel; of others, or before the first place, none is kept."""
    found = locusts.play("resets")
    assert found["resets"] == {
        "news": ["trimmed after 1 (connection 2)"],
        "user:u0": ["trimmed after 0 (connection 2)"],
    }
    assert found["faults"] == [
        "client 0, channel news: reset trimmed after 1 (connection 2)",
        "client 0, channel user:u0: reset trimmed after 0 (connection 2)",
    ]


def test_absence_is_no_latency(locusts):
    """An event of while the client was away is got, but says nothing about how quick the servers are."""
    found = locusts.play("absence")
    assert (found["before"]["events"], found["before"]["latency"]) == (2, {})
    assert found["after"]["events"] == 3
    assert sum(found["after"]["latency"].values()) == 1
    assert found["heard"] == [3, 3]
    assert found["faults"] == []


def test_only_what_was_published_here_is_written_down(locusts):
    """Somebody else's events, and another channel's, do no harm; the user's own channel is heard."""
    found = locusts.play("others")
    assert found["ears"] == {"news": 0, "user:u0": 3}
    assert happened(found["counted"], attempts=1, opened=1, streams=1, events=2)


# Many streams


def test_who_leaves_is_owed_nothing_newer(locusts):
    """The newest leave for good; holes before what they have are still lost, and who stays is owed all."""
    found = locusts.play("leave")
    assert found["states"] == ["LIVE", "OVER", "OVER"]
    assert found["left"] == [0]
    assert found["due"] == 0
    assert found["behind"] == {"wanted": 1, "live": 1, "over": 0, "behind": 1}
    assert found["faults"] == [
        "client 0, channel news: lost 3",
        "client 2, channel news: lost 2 (connection 1, id 3-1)",
    ]
    assert happened(found["counted"], attempts=3, opened=3, streams=1, events=5)


def test_no_more_than_some_open_at_once(locusts):
    """The others have their turn when those are live, and who leaves before never connects."""
    found = locusts.play("leave_early")
    assert found["at_once"] == 100
    assert found["users"] == 120
    assert found["sources"] == {"50": 2, "20": 1}  # fifty from each address
    assert found["state"] == {"wanted": 120, "live": 120, "over": 0, "behind": 0}
    assert happened(found["counted"], attempts=120, opened=120, streams=120)


def test_who_left_while_waiting_does_not_come_back(locusts):
    """Its turn comes and nothing happens."""
    found = locusts.play("wait_and_leave")
    assert found["state"] == "OVER"
    assert happened(found["counted"], attempts=1, opened=1, endings={"cut": 1})


def test_dropped_connections_are_resumed(locusts):
    """Who loses its connection comes back by itself, and says where it was."""
    found = locusts.play("drop")
    assert found["away"] == 0
    assert found["places"] == [None] * 3 + ["0-1"] * 3
    assert happened(found["counted"], attempts=6, reconnects=3, opened=6, streams=3, endings={"dropped": 3})


def test_only_live_streams_are_dropped(locusts):
    """Who was not live yet has lost no stream, and tries again like any newcomer."""
    found = locusts.play("drop_early")
    assert found["states"] == ["ASKING", "GREETED", "WAITING"]
    assert happened(found["counted"], attempts=3, opened=1, streams=1)
    assert not found["counted"]["away"]


def test_more_cannot_leave_than_there_are(locusts):
    """All leave then."""
    assert locusts.play("remove_too_many") == {"states": ["OVER"] * 3, "left": []}


def test_only_who_is_owed_an_event_is_behind(locusts):
    """Not who joined after it, has it, was told since, or has left; on each channel that it hears."""
    assert locusts.play("newcomers") == {
        "all": 3,
        "none": 0,
        "joined": 2,
        "told": 1,
        "told before": 3,
        "heard": 0,
        "two": 3,
        "left": 1,
    }


def test_an_order_does_not_wait_for_events(locusts):
    """What is due at once is done soon while nothing happens at all."""
    assert locusts.play("prompt")["waited"] < 0.25


def test_the_stuck_read_on_when_they_wake(locusts):
    """Half stop reading, and the others do not; then they get everything, late, which is no latency."""
    found = locusts.play("stall")
    assert (found["stalled"], found["woken"]) == (1, True)
    place, behind = found["during"]
    assert place == "0-1"
    assert behind == {"wanted": 2, "live": 2, "over": 0, "behind": 1}
    assert (found["heard"], found["late"]) == (3, 0)
    assert found["behind"]["behind"] == 0
    assert found["faults"] == []
    assert happened(found["counted"], attempts=2, opened=2, streams=2, events=8)
    assert sum(found["counted"]["latency"].values()) == 5


def test_what_the_stuck_do_not_take_stays_with_the_server(locusts):
    """Little of much goes out, the client does not see the end, and sees it once it reads again."""
    found = locusts.play("stall_until_full")
    assert found["sent"] < 0.5
    assert found["state"] == "LIVE"
    assert found["repeated"] >= 1  # it was read in the end
    counted = found["counted"]
    assert (counted["opened"], counted["streams"], counted["endings"]) == (2, 1, {"cut": 1})


def test_churn_replaces_clients(locusts):
    """Who goes is replaced by a client with a new number, and nobody comes twice; then it stops."""
    found = locusts.play("churn")
    first, count = found["range"]
    assert first == 0
    assert count == found["served"] == found["users"] >= 12
    assert found["places"] == 0
    assert len(found["here"]) == 3
    assert sorted(found["here"] + found["gone"]) == list(range(count))
    assert found["behind"] == {"wanted": 3, "live": 3, "over": 0, "behind": 3}
    assert found["before"] == 0
    assert happened(found["counted"], attempts=count, opened=count, streams=3)


@pytest.mark.parametrize(
    ("index", "processes", "address", "user"), [(0, 1, 2, 1), (0, 2, 2, 0), (1, 2, 0, 1), (1, 3, 0, 0)]
)
def test_intruders_are_counted_apart(locusts, index, processes, address, user):
    """The first process is the one address, the last the one user; neither is patient, nor owed anything."""
    found = locusts.play("abuse", index, processes)
    assert found["retreat"] == {"address": address, "user": user}
    assert found["address"] == {
        "count": 5 if address else 0,  # each with a session of its own
        "sources": ["127.99.99.99"] if address else [],
    }
    assert found["user"]["near"] is False
    abused = found["abused"]
    assert abused["refusals"].keys() == ({"ip-limit"} if address or user else set())
    # One may just have begun.
    assert sum(abused["refusals"].values()) <= abused["attempts"] - abused["opened"]
    assert (abused["opened"], abused["events"], found["after"]) == (address + user, address + user, 0)
    assert found["clients"] == [str(index * 1_000_000), str(index * 1_000_000 + 1)]
    assert found["behind"] == {"wanted": 2, "live": 2, "over": 0, "behind": 0}
    assert happened(found["counted"], attempts=2, opened=2, streams=2)


def test_processes_have_numbers_of_their_own(locusts):
    """No two processes have the same client, nor the same address."""
    found = locusts.play("numbers")
    assert found["ranges"] == [[0, 60], [3 * found["apart"], 60]]
    one, other = map(set, found["sources"])
    assert (len(one), len(other), one & other) == (2, 2, set())


def test_a_closed_swarm_holds_nothing(locusts):
    """Its connections end, and nothing comes back."""
    assert locusts.play("kept_open") == {"streams": 0, "failure": False}


# TLS


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_streams_over_tls(locusts, certificate, host):
    """Events of more than a record, many at once, a cut and coming back: as without TLS."""
    found = locusts.play("secured", *map(str, certificate), host)
    assert found["place"] == "202-1"
    assert found["faults"] == []
    counted = found["counted"]
    assert happened(counted, attempts=2, reconnects=1, opened=2, streams=1, events=203, endings={"cut": 1})


def test_a_wrong_authority_is_an_error(locusts, certificate, stranger):
    """A certificate that nobody trusted has signed is an error each time, and no stream."""
    found = locusts.play("distrusted", *map(str, certificate), stranger, "localhost")
    assert found["state"] in ("WAITING", "CONNECTING")
    counted = found["counted"]
    assert counted["errors"].keys() == {"TLS: CERTIFICATE_VERIFY_FAILED"}
    assert sum(counted["errors"].values()) >= 2
    assert (counted["opened"], counted["connect"], counted["refusals"]) == (0, {}, {})


def test_a_server_without_tls_is_an_error(locusts):
    """What answers the handshake with anything else, or not at all, is an error."""
    counted = locusts.play("plain")
    assert sum(counted["errors"].values()) >= 2
    assert "TLS: WRONG_VERSION_NUMBER" in counted["errors"]
    assert (counted["opened"], counted["connect"]) == (0, {})


# Targets


@pytest.mark.parametrize(
    ("url", "addresses", "tls", "line", "host"),
    [
        ("http://127.0.0.1", [["127.0.0.1", 80]], False, "GET / HTTP/1.1", "127.0.0.1"),
        ("https://127.0.0.1/a?b=c", [["127.0.0.1", 443]], True, "GET /a?b=c HTTP/1.1", "127.0.0.1"),
        (
            "https://127.0.0.1:81/a,https://127.0.0.1:82/a",
            [["127.0.0.1", 81], ["127.0.0.1", 82]],
            True,
            "GET /a HTTP/1.1",
            "127.0.0.1:81",
        ),
    ],
)
def test_a_target_is_taken_apart(locusts, url, addresses, tls, line, host):
    """Address, port and path, and streams go round the ports."""
    found = locusts.play("target", url)
    assert (found["addresses"], found["tls"], found["line"]) == (addresses, tls, line)
    assert found["here"] is True
    assert found["host"] == [f"Host: {host}"]
    assert found["place"] == ["Last-Event-ID: 5-1"]
    ports = [port for _, port in addresses]
    assert found["turns"] == [ports[number % len(ports)] for number in range(4)]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "'' is no http(s) URL"),
        ("localhost/events", "'localhost/events' is no http(s) URL"),
        ("ftp://localhost/", "'ftp://localhost/' is no http(s) URL"),
        ("http:///events", "'http:///events' is no http(s) URL"),
        ("http://127.0.0.1/,x", "'x' is no http(s) URL"),
        ("http://no-such-host.invalid/", "'no-such-host.invalid' has no address: "),
    ],
)
def test_what_is_no_target_is_said(locusts, url, said):
    """The URL that makes no sense is named."""
    assert locusts.play("target", url)["error"].startswith(said)
