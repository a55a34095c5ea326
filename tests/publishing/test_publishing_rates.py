"""Publishing over HTTP: rates, guesses, failures, metrics, and settings that are refused."""

import logging

import pytest

from parts.posting import AUTH, COOKIE, EVERYTHING, HI, KIND, ORDERS, TOKENS, make, posting
from sse_edge import (
    ConfigError,
    Identity,
    Limits,
    MemoryBackend,
    PublishError,
)
from sse_edge.admission import publish_gate


@pytest.fixture
async def edge():
    async with make() as edge:
        yield edge


@pytest.fixture
def post(asgi):
    """See ``posting``."""
    return posting(asgi)


# ---- Rates


async def test_a_rate_for_each_token(post):
    """A token that is used too often waits, and no other does; the answer says how long."""
    async with make(limits=Limits(publishes="3/minute")) as edge:
        assert [(await post(edge)).status for _ in range(4)] == [200, 200, 200, 429]
        answer = await post(edge)
        assert answer.json["error"] == "connect-rate"
        assert 1 <= int(answer.header("retry-after")) <= 61
        assert (await post(edge, token=ORDERS)).status == 200
    async with make(limits=Limits(publishes=None)) as edge:
        assert {(await post(edge)).status for _ in range(20)} == {200}


async def test_guessing_costs(post):
    """After some wrong tokens none from that address is looked at, but one that was good before."""
    looked_at = []

    class Counts:
        def verify(self, token, now):
            looked_at.append(token)
            return TOKENS.verify(token, now)

    settings = {"limits": Limits(connects_per_ip="5/minute"), "trusted_proxies": ["127.0.0.1/32"]}
    async with make(publish_auth=Counts(), **settings) as edge:
        here, there = [KIND, ("x-forwarded-for", "192.0.2.1")], [KIND, ("x-forwarded-for", "192.0.2.2")]
        assert (await post(edge, headers=here)).status == 200
        guesses = [(await post(edge, token=f"guess-{n}", headers=here)).status for n in range(8)]
        assert guesses == [401] * 5 + [429] * 3
        assert looked_at[1:] == [f"guess-{n}" for n in range(6)]
        assert (await post(edge, token=ORDERS, headers=here)).status == 429
        assert (await post(edge, headers=here)).status == 200
        assert (await post(edge, token=ORDERS, headers=there)).status == 200


async def test_how_much_is_known_of_who_guesses(post, monkeypatch):
    """A bounded number of addresses, so that nobody fills a worker's memory with more of them."""
    monkeypatch.setattr(publish_gate, "_REMEMBERED", 3)
    settings = {"limits": Limits(connects_per_ip="1/minute"), "trusted_proxies": ["127.0.0.1/32"]}
    async with make(**settings) as edge:
        for n in range(10):
            headers = [KIND, ("x-forwarded-for", f"192.0.2.{n}")]
            assert [(await post(edge, token="x", headers=headers)).status for _ in range(2)] == [401, 429]
        gate = edge._publishing._gate
        assert list(gate._shut) == [f"192.0.2.{n}" for n in (7, 8, 9)]
        for n in range(5):
            await post(edge, token=TOKENS.issue([f"{n}:*"]))
        assert len(gate._good) == 3


async def test_who_guesses_is_a_client_like_any(post, asgi):
    """A wrong token counts as an attempt to connect, so that trying both gains nothing."""
    async with make(limits=Limits(connects_per_ip="2/minute")) as edge:
        assert [(await post(edge, token="x")).status for _ in range(2)] == [401, 401]
        stream = asgi(edge, "/events/news", headers=COOKIE)
        await stream.whole()
        assert stream.status == 429


# ---- Failures


class Fails:
    """A verifier that cannot say."""

    def verify(self, token, now):
        raise OSError("no database")


class SaysAnything:
    """A verifier whose author thought that a text would do."""

    def verify(self, token, now):
        return "order:*"


@pytest.mark.parametrize("auth", [Fails(), SaysAnything()])
async def test_a_verifier_that_fails(post, caplog, auth):
    """Nobody is let in, and the log says why."""
    async with make(publish_auth=auth) as edge:
        answer = await post(edge)
    assert (answer.status, answer.json["error"]) == (503, "backend-down")
    assert "publish_auth failed to verify a token" in caplog.text
    assert EVERYTHING not in caplog.text


class OwnTokens:
    """A token per tenant, kept by the application."""

    async def verify(self, token, now):
        known = {
            "t1": ["order:*"],
            "t2": Identity("shop", ["news"]),
            "t3": Identity("old", ["*"], expires=now - 1),
        }
        return known.get(token)


@pytest.mark.parametrize(
    ("token", "channel", "status"),
    [
        ("t1", "order:7", 200),
        ("t1", "news", 403),
        ("t2", "news", 200),
        ("t3", "news", 401),
        ("t4", "news", 401),
    ],
)
async def test_tokens_of_ones_own(post, token, channel, status):
    """Any object that says which channels a token is good for."""
    async with make(publish_auth=OwnTokens()) as edge:
        assert (await post(edge, {"channel": channel, "data": "x"}, token=token)).status == status


async def test_without_history(post):
    """What history is needed for is refused by its field; all else goes out, without an id."""
    async with make(backend=MemoryBackend(history=0)) as edge:
        assert (await post(edge)).json == {"id": ""}
        answer = await post(edge, {**HI, "dedupe_key": "k"})
        assert (answer.status, answer.json["field"]) == (400, "dedupe_key")
        answer = await post(edge, [HI, {**HI, "finish": True}])
        assert (answer.status, answer.json["field"]) == (400, "channel")


async def test_a_publish_that_is_not_confirmed(post, edge, monkeypatch, caplog):
    """The answer says what is out, and whether more may be; why is for the log."""
    error = PublishError("Redis: no answer", may_have_happened=True, published=["5-1.a"])

    async def publish(events):
        raise error

    monkeypatch.setattr(edge.backend, "publish", publish)
    with caplog.at_level(logging.INFO, "sse_edge.access"):
        answer = await post(edge, [HI, HI], token=ORDERS)
    assert (answer.status, answer.header("retry-after")) == (503, "5")
    assert answer.json == {
        "error": "backend-down",
        "detail": "the event source did not confirm it",
        "may_have_happened": True,
        "published": ["5-1.a"],
    }
    assert "backend-down (the event source did not confirm it: Redis: no answer), user=billing" in caplog.text


async def test_what_is_said_of_refusals(post, edge, caplog):
    """Each is counted, and logged with whose token it was, without token or events."""
    with caplog.at_level(logging.DEBUG, "sse_edge.access"):
        await post(edge, token=f"{EVERYTHING}x")
        await post(edge, {**HI, "dedupe_key": "mine\n"}, token=ORDERS)
        await post(edge, {"channel": "user:7", "data": "mine"}, token=ORDERS)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == (
        '"POST /publish" refused: unauthenticated (this token is not valid, or no longer), '
        "user=- address=127.0.0.1"
    )
    assert lines[1].startswith('"POST /publish" refused: bad-request (dedupe_key: must be text of 1 to 256')
    assert lines[2].endswith("user=billing address=127.0.0.1")
    assert "mine" not in caplog.text
    assert edge.figures()["publishes"] == {"unauthenticated": 1, "bad-request": 1, "forbidden": 1}
    assert edge.figures()["refusals"] == {}


async def test_metrics(post, asgi):
    """Requests to publish are a metric of their own, by what came of them."""
    async with make(status_path="/status") as edge:
        assert [(await post(edge, body)).status for body in (HI, HI, {})] == [200, 200, 400]
        metrics = asgi(edge, "/status/metrics")
        lines = (await metrics.whole()).decode().splitlines()
    assert 'sse_edge_publishes_total{outcome="published"} 2.0' in lines
    assert 'sse_edge_publishes_total{outcome="bad-request"} 1.0' in lines
    refusals = [line for line in lines if line.startswith("sse_edge_refusals_total")]
    assert refusals
    assert all(line.endswith(" 0.0") for line in refusals)


# ---- Settings


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("publish_auth", {"publish_auth": None}),
        ("publish_auth", {"publish_auth": AUTH}),
        ("publish_auth", {"publish_path": None, "publish_auth": AUTH}),
        ("publish_path", {"publish_path": "publish"}),
        ("publish_path", {"publish_path": "/publish/"}),
        ("publish_path", {"publish_path": "/"}),
        ("publish_path", {"publish_path": 5}),
        ("publish_path", {"publish_path": "/events"}),
        ("publish_path", {"publish_path": "/events/publish"}),
        ("path", {"path": "/publish/events", "channels": {"/publish/events/me": "user:{user}"}}),
        ("publish_path", {"status_path": "/status", "publish_path": "/status/publish"}),
        ("status_path", {"status_path": "/publish/status"}),
        ("status_path", {"status_path": "/events/status"}),
        ("publish_path", {"status_path": "/publish"}),
    ],
)
def test_refused_settings(field, settings):
    """What cannot work is refused at construction: no auth, and paths of which only one would be answered."""
    with pytest.raises(ConfigError) as caught:
        make(**settings)
    assert caught.value.field == field


def test_paths_that_only_look_alike():
    """Side by side they may be."""
    make(publish_path="/eventspublish", status_path="/events-status")
