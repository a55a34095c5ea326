"""What fuzzing found is played again, and the oracles of it can fail."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.__main__ import CORPUS, again, main, summary
from fuzz.targets import SEEDS, SHAPES, TARGETS, play
from parts.hostile import looking_at
from sse_edge import event
from sse_edge.admission.address import TrustedProxies
from sse_edge.admission.cookies import SignedCookie
from sse_edge.admission.sessions.signed import SignedSessions
from sse_edge.backends.redis import announcement
from sse_edge.event import EventId, Place
from sse_edge.identity import Identity
from sse_edge.tokens import BearerJWT

INPUTS = [(name, path) for name in TARGETS for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus(target):
    """Nothing that reached something new, or broke something once, breaks anything."""
    kept = [path.read_bytes() for name, path in INPUTS if name == target]
    assert kept
    for data in [b"", *SEEDS[target], *kept]:
        play(target, data)


@looking_at(100)
@given(st.binary(max_size=200), st.data())
def test_anything(data, more):
    """Any bytes do, and what is a change of a known input does."""
    for target in TARGETS:
        seed = more.draw(st.sampled_from(SEEDS[target]))
        at = more.draw(st.integers(0, len(seed)))
        play(target, data)
        play(target, seed[:at] + data + seed[at + 1 :])


@pytest.mark.parametrize("target", TARGETS)
def test_time_grows_with_length_and_no_faster(target):
    """Long runs of what parsers stumble over take a time that their length allows."""
    for shape in SHAPES:
        play(target, (shape * 30_000)[:30_000])


def _five_one(text):
    """A place, whatever the text is."""
    return Place(EventId(5, 1), "abcde")


ANYTHING = re.compile(rb"(\S+) (\S+) (\S+)\n(\0)?(\0)?(.*)", re.DOTALL)


@pytest.mark.parametrize(
    ("target", "data", "where", "name", "fault"),
    [
        ("encoder", b"\x01a\rid: 9", event, "_LINE_END", re.compile("\n")),
        ("cookie", b"x", SignedCookie, "identify", lambda *_: Identity("eve")),
        ("session", b"x", BearerJWT, "identify", lambda *_: Identity("eve")),
        ("session", b"x", SignedSessions, "identify", lambda *_: Identity("eve")),
        ("forwarded", b"1.2.3.4", TrustedProxies, "client", lambda *_: "1.2.3.4"),
        ("envelope", b"s - -\nid: 9\ndata: a\n\n", announcement, "_OURS", ANYTHING),
        ("body", b'{"channel": "news", "data": "a\\rid: 9"}', event, "_LINE_END", re.compile("\n")),
        ("id", b"5-1.abcde ", Place, "parse", _five_one),
        ("query", b"last_event_id=x", Place, "parse", _five_one),
    ],
)
def test_an_oracle_can_fail(monkeypatch, target, data, where, name, fault):
    """Each notices a fault of what it watches."""
    play(target, data)
    monkeypatch.setattr(where, name, fault)
    with pytest.raises((AssertionError, ValueError)):
        play(target, data)


def test_a_slow_input_is_a_fault(monkeypatch):
    """An input that takes more than its length allows has broken something."""
    monkeypatch.setattr("fuzz.targets.FIRST", -1.0)
    with pytest.raises(AssertionError, match="5 bytes took"):
        play("id", b"5-1.a")


def test_an_input_is_played_again(tmp_path, monkeypatch, capsys):
    """The command that a fault prints plays its input, and says whether it still breaks something."""
    path = tmp_path / "crash-1"
    path.write_bytes(b"\x01a\rid: 9")
    assert again("encoder", path).startswith("PYTHONPATH=.:tests .venv/bin/python -m fuzz encoder ")
    assert main(["encoder", str(path)]) == 0
    assert "nothing broke" in capsys.readouterr().out
    monkeypatch.setattr(event, "_LINE_END", re.compile("\n"))
    assert main(["encoder", str(path)]) == 1
    assert "crash-1: AssertionError" in capsys.readouterr().out


def test_what_is_said():
    """A line of libFuzzer's says how much was tried and reached."""
    log = (
        "#2\tINITED cov: 12 ft: 12\n#131072\tpulse  cov: 67 ft: 70\nstat::number_of_executed_units: 204800\n"
    )
    assert summary(log, 60) == "204,800 inputs in 60 s, 67 places reached"
