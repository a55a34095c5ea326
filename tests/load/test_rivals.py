"""The comparison with other servers: who takes part, how they are asked, and what is said of the figures."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import parse_qs

import pytest

from loadtest.bench import contenders, rivals
from loadtest.bench.arena import Arena
from loadtest.bench.contenders import KINDS, NEEDS
from loadtest.bench.run import one_at_a_time
from loadtest.bench.targets import Figure, medians


def test_who_is_not_installed_is_named_and_left_out(monkeypatch, capsys):
    """With what it takes; who is left out on purpose is not named."""
    there = dict.fromkeys(NEEDS.keys() - {"pushpin"}, "1.0")
    monkeypatch.setattr(contenders, "versions", lambda: there)
    names = rivals.present(["mercure"])
    assert "pushpin" not in names
    assert "mercure" not in names
    assert {"floor", "sse_edge", "centrifugo", "django-eventstream"} <= set(names)
    assert capsys.readouterr().err == "without pushpin: it takes pushpin (Debian package pushpin)\n"


def test_everybody_is_measured_once():
    """Together with all, or with the edge alone."""
    assert set(NEEDS) <= set(rivals.TOGETHER) ^ set(rivals.APART)
    assert set(rivals.TOGETHER) | set(rivals.APART) <= set(KINDS)


def data(body):
    """What is published, out of each one's way of saying it."""
    if body.startswith(b"{"):
        found = json.loads(body)
        return found["data"] if "data" in found else found["items"][0]["formats"]["http-stream"]["content"]
    return parse_qs(body.decode()).get("data", [body.decode()])[0]


@pytest.mark.parametrize("name", [name for name in NEEDS if hasattr(KINDS[name], "request")])
def test_what_publishes(name):
    """A request with exactly as many bytes as it says, which has the event's data."""
    kind = KINDS[name]
    head, _, body = kind.request(object.__new__(kind), "/publish", "event 7 xx~").partition(b"\r\n\r\n")
    assert head.startswith(b"POST /")
    assert f"Content-Length: {len(body)}".encode() in head
    assert data(body).removeprefix("data: ").strip() == "event 7 xx~"


def test_a_figure_beside_the_edge_s_is_the_median_over_rounds():
    """And who was not measured with so many streams, or never, has none."""
    samples = {
        "cpu": {"sse_edge": {5: [1.0, 2.0, 4.0]}, "nchan": {5: [3.0, 4.0, 8.0]}, "mercure": {9: [1.0]}}
    }
    assert rivals.beside(samples) == {"cpu": {"nchan": {5: [3.0, 2.0, 2.0]}}}
    assert medians(rivals.beside(samples), {"cpu": Figure("CPU")}).splitlines()[1:] == ["      5  nchan    2"]
    assert rivals.beside({"memory": {"nchan": {5: [1.0]}}}) == {}


@pytest.mark.timeout(20)
def test_pushpin_is_asked_again():
    """While its processes find each other an answer may be lost, which is not waited for."""
    pushpin = object.__new__(KINDS["pushpin"])
    pushpin.program = SimpleNamespace(pids=[1, 2, 3, 4])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pushpin.port = listener.getsockname()[1]
        assert not pushpin.started()
        listener.accept()[0].close()
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(pushpin.started)
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                assert asked.result()


@pytest.mark.live
def test_django_eventstream_takes_part():
    """Its streams open, and have each event once."""
    with Arena.prepared() as arena, arena.contender(KINDS["django-eventstream"]) as contender:
        contender.grow(5)
        _, lasts, arrivals = one_at_a_time(contender, 3)
        assert len(lasts) == 3
        assert 100 < arrivals[-1].size / 5 < 200
