"""The checker of load tests and fault tests: it finds every kind of fault, and none where there is none."""

import pickle
import random

import pytest

from loadtest.checker import SHOWN, Checker, Numbering, payload, read_payload


def play(script, published, *, after=0, since=0.0, checker=None, name="c"):
    """A checker that saw ``script``; event n is published at n seconds, with id ``n-1``.

    A number is an event, ``|`` a new connection, ``R7`` a reset at 7.5 seconds.
    """
    checker = checker or Checker()
    numbering = checker.numbering("a")
    while numbering.last < published:
        numbering.next(float(numbering.last + 1))
    client = checker.client(name)
    client.listen("a", after=after, since=since)
    for step in script.split():
        if step == "|":
            client.reconnected()
        elif step[0] == "R":
            client.reset("a", "trimmed", int(step[1:]) + 0.5)
        else:
            client.event("a", int(step))
    return checker


def found(checker, **options):
    """(lost, repeated, out of order) as text."""
    findings = checker.report(**options).findings
    if not findings:
        return "", "", ""
    (finding,) = findings
    return tuple(
        " ".join(map(str, places)) for places in (finding.lost, finding.repeated, finding.disordered)
    )


@pytest.mark.parametrize(
    ("script", "published"),
    [
        ("", 0),
        ("1 2 3", 3),
        ("1 | 2 | | 3", 3),
        ("1 R5 6 7", 7),  # 2 to 5 were missed, and the client was told
        ("R3 4", 4),
        ("1 2 R2 3", 3),  # a reset where nothing was missed is no fault of completeness
        ("1 2 R4", 4),  # nothing came after the reset, and nothing was published either
        ("1 R3 | R5 6", 6),
        ("1 R2 R4 5 6 R8 9", 9),
    ],
)
def test_what_is_complete_or_said(script, published):
    """The whole sequence, or a reset before each hole: no fault."""
    report = play(script, published).report()
    assert report.ok, report


@pytest.mark.parametrize(
    ("script", "published", "lost", "repeated", "disordered"),
    [
        ("", 2, "1..2", "", ""),  # it never heard anything
        ("2 3", 3, "1 (connection 1, id )", "", ""),
        ("1 2 4", 4, "3 (connection 1, id )", "", ""),
        ("1 2 | 5 | 6 8", 8, "3..4 (connection 2, id ) 7 (connection 3, id )", "", ""),
        ("1 2", 4, "3..4", "", ""),  # the end is missing
        ("1 3 R3 4", 4, "2 (connection 1, id )", "", ""),  # the reset comes after the hole
        ("1 R2 3 5", 5, "4 (connection 1, id )", "", ""),  # it excuses no hole after the next event
        ("1 R2 5", 5, "3..4 (connection 1, id )", "", ""),  # nor what was published after it
        ("1 R2", 4, "3..4", "", ""),
        ("1 2 2 3", 3, "", "2 (connection 1, id )", ""),
        ("1 2 3 | 2 3 4", 4, "", "2..3 (connection 2, id )", ""),
        ("1 2 R2 2 3", 3, "", "2 (connection 1, id )", ""),  # also after a reset
        ("1 3 2 4", 4, "", "", "2 (connection 1, id )"),
        ("1 5 2 3 4 3", 5, "", "3 (connection 1, id )", "2..4 (connection 1, id )"),
        ("1 4 | 3 3", 4, "2 (connection 1, id )", "3 (connection 2, id )", "3 (connection 2, id )"),
    ],
)
def test_what_is_wrong(script, published, lost, repeated, disordered):
    """Each kind of fault is found, with its place."""
    checker = play(script, published)
    assert found(checker) == (lost, repeated, disordered)
    assert not checker.report().ok


@pytest.mark.parametrize(
    ("script", "published", "lost"),
    [("1 2 1 2 3", 3, ""), ("2 1 | 3", 3, ""), ("2 1 | 4 2", 4, "3 (connection 2, id )")],
)
def test_overlap_allows_repeats_and_never_loss(script, published, lost):
    """Across partitions of a cluster an event may come again or late; it may not be missing."""
    checker = play(script, published)
    assert not checker.report().ok
    assert found(checker, overlap=True) == (lost, "", "")


@pytest.mark.parametrize(
    ("begin", "script", "lost"),
    [
        ({"after": 2}, "3 4", ""),
        ({"after": 2}, "4", "3 (connection 1, id )"),
        ({"after": None, "since": 2.5}, "3 4", ""),
        ({"after": None, "since": 2.5}, "2 3 4", ""),  # published just before, delivered too
        ({"after": None, "since": 2.5}, "4", "3 (connection 1, id )"),
        ({"after": None, "since": 2.5}, "", "3..4"),  # a client that hears nothing has lost it all
    ],
)
def test_what_a_client_is_owed(begin, script, lost):
    """What was published before it began to listen is not lost, and everything after is owed."""
    assert found(play(script, 4, **begin))[0] == lost


def test_ids_rise_over_all_channels():
    """An id that goes back is out of order, though each channel by itself is complete."""
    checker = Checker()
    client = checker.client("c")
    for channel in "ab":
        checker.numbering(channel).next(1.0)
        client.listen(channel, after=0)
    client.event("b", 1, "2-1")
    client.event("a", 1, "1-999")
    (finding,) = checker.report().findings
    assert str(finding) == "client c, channel a: out of order 1 (connection 1, id 1-999)"


def test_an_event_without_an_id_line_keeps_the_last():
    """An event that was delivered late comes without an id; the client's stays, which is no fault."""
    checker = Checker()
    client = checker.client("c")
    for channel in "ab":
        checker.numbering(channel).next(1.0)
        client.listen(channel, after=0)
    client.event("b", 1, "2-1")
    client.event("a", 1, "2-1")
    assert checker.report().ok


def test_an_unknown_channel_is_an_error():
    """An event of a channel that nobody asked for is no event to be ignored."""
    client = Checker().client("c")
    with pytest.raises(KeyError):
        client.event("a", 1)
    with pytest.raises(KeyError):
        client.reset("a", "gap", 0.0)


def test_an_unconfirmed_event_may_be_missing():
    """When the publisher gave up, nobody knows: the event may come or not, but its neighbours must."""
    checker = play("1 3", 4)
    checker.numbering("a").unconfirmed.add(2)
    assert found(checker) == ("4", "", "")
    checker = play("1 2 3", 3)
    checker.numbering("a").unconfirmed.add(2)
    assert checker.report().ok


def test_level_is_the_newest_event_of_every_channel():
    """Whether a client is level is asked of all its channels."""
    checker = play("1 2", 2)
    client = checker.client("c")
    client.listen("b", after=0)
    assert checker.level(client)
    checker.numbering("b").next(1.0)
    assert not checker.level(client)
    client.event("b", 1)
    assert checker.level(client)


@pytest.mark.parametrize(
    ("script", "after", "level"),
    [
        ("1 2 4", 0, True),  # what is missing before the newest will not come any more
        ("1 2 3", 0, False),
        ("1 R4", 0, True),  # told of all that there is
        ("1 R3", 0, False),
        ("1 R4 2", 0, False),  # it goes on after the reset
        ("", 4, True),
        ("", 3, False),
    ],
)
def test_level_is_to_wait_for_nothing(script, after, level):
    """A client that was told, or is owed nothing, is level with four published events."""
    checker = play(script, 4, after=after)
    assert checker.level(checker.client("c")) is level


@pytest.mark.parametrize(
    ("script", "begin", "n", "has"),
    [
        ("1 2 3", {"after": 0}, 3, True),
        ("1 2 3", {"after": 0}, 4, False),
        ("1 4", {"after": 0}, 3, True),  # it will not come any more
        ("4 2", {"after": 0}, 4, True),
        ("", {"after": 0}, 1, False),
        ("", {"after": 3}, 3, True),
        ("", {"after": 3}, 4, False),
        ("", {"after": None, "since": 3.5}, 3, True),  # published before it joined
        ("", {"after": None, "since": 3.0}, 3, True),
        ("", {"after": None, "since": 2.9}, 3, False),
        ("1", {"after": 0, "since": 9.0}, 3, False),  # it is known what it is owed
        ("1 R3", {"after": 0}, 3, True),
        ("1 R2", {"after": 0}, 3, False),  # told before the event was published
        ("1 R3 R1", {"after": 0}, 3, True),
        ("1 R4 2", {"after": 0}, 3, False),  # it goes on after the reset
        ("1 L", {"after": 0}, 4, True),
        ("L", {"after": None, "since": 0.0}, 4, True),
    ],
)
def test_whether_a_client_has_an_event(script, begin, n, has):
    """Event n, of n seconds: it came, is not owed, or the client was told after it or has left."""
    checker = play(script.removesuffix("L"), 4, **begin)
    client = checker.client("c")
    if script.endswith("L"):
        client.leave()
    assert client.ears["a"].has(n, float(n)) is has


def test_the_report_names_clients_channels_and_places():
    """The text says who lost what, where, and which resets there were."""
    checker = play("1 2 R2 | 4", 5)
    text = str(checker.report())
    assert text.splitlines() == [
        "1 clients, 3 events, 1 with faults, resets: 1 trimmed",
        "client c, channel a: lost 3 (connection 2, id ), 5; reset trimmed after 2 (connection 1)",
    ]
    assert checker.report().resets == {"trimmed": 1}


def test_the_report_stays_short():
    """Of many faults the first are named."""
    checker = Checker()
    for n in range(100):
        play("1", 2, checker=checker, name=f"c{n}")
    assert len(str(checker.report()).splitlines()) == SHOWN + 2


def test_a_payload_says_what_it_is():
    """What a publisher writes is what a client reads."""
    assert read_payload(payload("ä", 7, 1.5)) == ("ä", 7, 1.5)
    with pytest.raises((ValueError, LookupError)):
        read_payload('{"n": 1}')


def test_numbers_of_another_process():
    """Publishers in one process and clients in others give the verdict that one process would."""
    together, clients = Checker(), Checker()
    for name, script in (("x", "1 2 | 4 4 R9 11 10"), ("y", "1 R19 20 | 3")):
        play(script, 20, checker=together, name=name)
        play(script, 0, checker=clients, name=name)
    together.numbering("a").unconfirmed.add(3)
    told = together.numbering("a")
    clients.numberings["a"] = Numbering(list(told.times), sorted(told.unconfirmed))
    assert str(clients.report()) == str(together.report())
    assert len(clients.report().findings) == 2


def test_memory_does_not_grow_with_events():
    """A client's record after ten thousand events is as large as after ten."""
    few, many = play(" ".join(map(str, range(1, 11))), 10), Checker()
    client = many.client("c")
    client.listen("a", after=0)
    for n in range(1, 10_001):
        many.numbering("a").next(float(n))
        client.event("a", n, f"{n}-1")
    assert many.report().ok
    assert len(pickle.dumps(client)) < len(pickle.dumps(few.client("c"))) + 20


@pytest.mark.parametrize("seed", range(200))
def test_against_plain_lists(seed):
    """On random sequences the intervals say what whole lists say."""
    rng = random.Random(seed)
    published = rng.randrange(1, 30)
    heard = [n for n in range(1, published + 1) if rng.random() < 0.8]
    for _ in range(rng.randrange(4)):
        heard.insert(rng.randrange(len(heard) + 1), rng.randrange(1, published + 1))
    resets = {at: rng.randrange(published + 1) for at in range(len(heard) + 1) if rng.random() < 0.1}
    script = []
    for at in range(len(heard) + 1):
        script += [f"R{resets[at]}"] if at in resets else []
        script += [str(n) for n in heard[at : at + 1]]
    lost = set(range(1, published + 1)) - set(heard)
    for at, until in resets.items():
        before = max(heard[:at], default=0)
        following = next((n for n in heard[at:] if n > before), published + 1)
        lost -= {n for n in lost if before < n < following and n <= until}
    repeated = [n for at, n in enumerate(heard) if n in heard[:at]]
    disordered = [n for at, n in enumerate(heard) if n not in heard[:at] and n < max(heard[:at], default=0)]
    findings = play(" ".join(script), published).report().findings
    assert bool(lost or repeated or disordered or resets) == bool(findings)
    for finding in findings:
        assert _numbers(finding.lost) == lost
        assert _numbers(finding.repeated) == set(repeated)
        assert _numbers(finding.disordered) == set(disordered)
        assert len(finding.resets) == len(resets)


def _numbers(places):
    return {n for place in places for n in range(place.first, place.last + 1)}


# Leaving


@pytest.mark.parametrize(
    ("script", "after", "lost"),
    [
        ("1 2 3 L", 0, ""),  # 4 and 5 came after it had left
        ("L", 0, ""),  # it has heard nothing, and is owed nothing
        ("L", 5, ""),
        ("1 3 L", 0, "2 (connection 1, id )"),  # what it has shows what it lacks
        ("3 L", 0, "1..2 (connection 1, id )"),
        ("1 | 4 L", 0, "2..3 (connection 2, id )"),
        ("1 R3 4 L", 0, ""),
        ("1 R3 L", 0, ""),
    ],
)
def test_who_leaves_is_owed_nothing_newer(script, after, lost):
    """Nothing newer than what it has is lost, holes before it are, and it is level for good."""
    checker = play(script.removesuffix(" L").removesuffix("L"), 5, after=after)
    checker.client("c").leave()
    assert found(checker)[0] == lost
    assert checker.level(checker.client("c"))


def test_leaving_is_of_all_channels():
    """On every channel a client ends with what it has there; another client is owed all."""
    checker = Checker()
    for name in ("gone", "here"):
        client = checker.client(name)
        for channel in "ab":
            client.listen(channel, after=0)
        client.event("a", 1)
    for channel in "aabb":
        checker.numbering(channel).next(1.0)
    checker.client("gone").leave()
    assert {(one.client, one.channel): str(one.lost[0]) for one in checker.report().findings} == {
        ("here", "a"): "2",
        ("here", "b"): "1..2",
    }


@pytest.mark.parametrize("size", [0, 1, 60, 110, 8000])
def test_a_payload_has_about_its_size(size):
    """Data is as long as it was asked to be, or as it has to be, and says the same."""
    data = payload("news", 12, 1_700_000_000.25, size)
    least = len(payload("news", 12, 1_700_000_000.25))
    assert max(least, size - len(',"pad":""')) <= len(data) <= max(least, size)
    assert read_payload(data) == ("news", 12, 1_700_000_000.25)
