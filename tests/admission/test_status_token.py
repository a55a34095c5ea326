"""Who may ask for the status from anywhere: whoever has a token."""

import json
import logging

import pytest

from parts.ears import until
from servers.privacy import MARK
from servers.sse import get
from sse_edge import ConfigError, Limits, MemoryBackend, SignedCookie, SSEMiddleware

AUTH = SignedCookie("a secret of the tests")
TOKEN = f"7c1d9e4b-{MARK}-of-prometheus"
NEW = f"e2f8a6c0-{MARK}-and-its-successor"


@pytest.fixture
async def edge():
    """``edge(**settings)`` makes one with a token, which is stopped at the end."""
    made = []

    def make(**settings):
        made.append(
            SSEMiddleware(
                backend=MemoryBackend(),
                auth=AUTH,
                channels={"/events/me": "user:{user}"},
                **{"status_path": "/status", "status_token": TOKEN, **settings},
            )
        )
        return made[-1]

    yield make
    for each in made:
        await each.stop()


@pytest.fixture
def ask(asgi):
    """``await ask(edge, authorization, …)``: the answer's status, through a proxy from elsewhere."""

    async def answer(edge, *authorization, path="/status/metrics", client=("192.0.2.7", 5), **options):
        headers = [("authorization", each) for each in authorization]
        headers += options.pop("headers", [("x-forwarded-for", "198.51.100.1")])
        asked = asgi(edge, path, headers=headers, client=client, **options)
        await asked.whole()
        return (await asked.start())[0]

    return answer


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ([f"Bearer {TOKEN}"], 200),
        ([f"bearer   {TOKEN} "], 200),
        ([f"Bearer {NEW}"], 200),
        ([], 404),
        ([""], 404),
        (["Bearer"], 404),
        (["Bearer "], 404),
        ([TOKEN], 404),
        ([f"Basic {TOKEN}"], 404),
        ([f"Bearer {TOKEN}x"], 404),
        ([f"Bearer {TOKEN[:-1]}"], 404),
        ([f"Bearer {TOKEN.upper()}"], 404),
        ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], 404),
        ([f"Bearer {TOKEN} {TOKEN}"], 404),
        (["Bearer \xff\xfe"], 404),
        ([f"Bearer {'x' * 100_000}"], 404),
    ],
)
@pytest.mark.parametrize("path", ["metrics", "ready", "live"])
async def test_a_token_opens_it(edge, ask, authorization, status, path):
    """One of several is as good as another; whatever is none is as if there were nothing."""
    middleware = edge(status_token=[TOKEN, NEW])
    assert await ask(middleware, *authorization, path=f"/status/{path}") == status


async def test_a_wrong_one_is_told_nothing(edge, asgi):
    """The answer is byte for byte that of a path where nothing is."""
    answers = []
    for path, token in [("metrics", "wrong"), ("metrics", None), ("nothing", TOKEN), ("nothing", None)]:
        headers = {"x-forwarded-for": "198.51.100.1"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        client = asgi(edge(), f"/status/{path}", headers=headers)
        body = await client.whole()
        answers.append((*await client.start(), body))
    assert all(answer == answers[0] for answer in answers)


async def test_networks_need_none(edge, ask):
    """Who was answered without a token still is, also with a wrong one."""
    middleware = edge()
    assert await ask(middleware, client=("127.0.0.1", 5), headers=[]) == 200
    assert await ask(middleware, "Bearer wrong", client=("127.0.0.1", 5), headers=[]) == 200
    assert await ask(middleware, client=("127.0.0.1", 5)) == 404  # through a proxy
    assert await ask(middleware, client=("192.0.2.7", 5), headers=[]) == 404


async def test_guesses_keep_no_right_one_out(edge, ask):
    """After any number of wrong tokens a right one from there is good, in a worker that never saw it, too."""
    limits = Limits(connects_per_ip="5/minute")
    middleware = edge(limits=limits, status_token=[TOKEN, NEW])
    for n in range(20):
        assert await ask(middleware, f"Bearer guess {n}") == 404
    assert await ask(middleware, f"Bearer {TOKEN}") == 200
    assert await ask(middleware, f"Bearer {NEW}") == 200


async def test_guesses_count_as_connects(edge, ask):
    """They and streams share an address's allowance."""
    middleware = edge(limits=Limits(connects_per_ip="5/minute"))
    for n in range(6):
        await ask(middleware, f"Bearer guess {n}")
    assert await ask(middleware, path="/events/me") == 429


async def test_it_is_nowhere_in_the_log(edge, ask, caplog):
    """Neither the token nor a wrong one is written, at any level."""
    with caplog.at_level(logging.DEBUG):
        middleware = edge()
        await ask(middleware, f"Bearer {TOKEN}")
        await ask(middleware, f"Bearer {TOKEN}-wrong")
    assert MARK not in caplog.text


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"status_token": f"short {MARK}"[:15]}, "has fewer than 16 bytes"),
        ({"status_token": ""}, "must be non-empty"),
        ({"status_token": []}, "must be text or bytes"),
        ({"status_token": 5}, "must be text or bytes"),
        ({"status_token": [TOKEN, "change-me-change-me"]}, "number 2 of 2"),
        ({"status_token": "0123456789abcdef0123"}, "is a sequence"),
        ({"status_token": TOKEN, "status_path": None}, "is of no use without status_path"),
    ],
)
def test_refused_settings(edge, settings, why):
    """A token that others could find is refused, and never repeated."""
    with pytest.raises(ConfigError, match=f"status_token: .*{why}") as caught:
        edge(**settings)
    assert MARK not in str(caught.value)
    assert "weak_secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
async def test_through_the_shipped_files(behind, tmp_path, kind):
    """Both proxies pass a scrape on, which is answered for all workers, and only with the token."""
    env = {"STATUS": "/status", "STATUS_TOKEN": TOKEN, "SSE_EDGE_FIGURES": str(tmp_path / "figures")}
    site = behind(kind, env=env)
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}-wrong"}, {"X-Forwarded-For": "127.0.0.1"}):
        answer = await get(f"{site.url}/status/metrics", ssl=site.ssl, headers=headers)
        assert (answer.status, answer.body) == (404, b"not found\n")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = await get(f"{site.url}/status/metrics", ssl=site.ssl, headers=headers)
    assert answer.status == 200
    assert b"\nsse_edge_workers 2.0\n" in answer.body
    answer = await get(f"{site.url}/status/metrics?by=worker", ssl=site.ssl, headers=headers)
    assert {b'sse_edge_ready{worker="0"} 1.0', b'sse_edge_ready{worker="1"} 1.0'} <= {
        *answer.body.split(b"\n")
    }
    await until(lambda: "/status/metrics" in json.dumps(site.proxy.requests()))
    assert MARK not in site.proxy.access_log.read_text()
    assert MARK not in site.proxy.log + "".join(app.log for app in site.apps)
