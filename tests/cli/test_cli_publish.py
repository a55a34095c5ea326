"""``sse-edge publish``: what is heard of it, and what it refuses."""

import asyncio

import pytest

from parts.commands import NOBODY, SECRET, invoke, said


async def test_what_is_published_can_be_heard(redis_url, serve_example, connect, tmp_path):
    """`token` opens the stream, `publish` is heard on it, and prints the id that the event has there."""
    (tmp_path / "shop.py").write_text(
        "from sse_edge import SSEMiddleware, SignedCookie\n"
        f"app = SSEMiddleware(backend={redis_url!r}, auth=SignedCookie({SECRET!r}),\n"
        "                    channels={'/events/me': ['user:{user}', 'news']})\n"
    )
    server = serve_example("shop:app", app_dir=tmp_path)
    cookie = invoke("token", "u42", "--secret", SECRET).stdout.strip()
    stream = await connect(server.url + "/events/me", cookies={"session": cookie})

    async def publish(*arguments, **options):
        result = await asyncio.to_thread(invoke, "publish", "--redis", redis_url, *arguments, **options)
        assert result.exit_code == 0, result.output
        event = await stream.next()
        assert result.stdout == f"{event.id}\n"
        return event.event, event.data

    assert await publish("news", "hello") == ("message", "hello")
    assert await publish("user:u42", '{"a": [1, 2]}', "--json", "--event", "json") == ("json", '{"a":[1,2]}')
    assert await publish("news", "-", input="two\nlines\n") == ("message", "two\nlines")
    assert await publish("--event", "dash", "news", "--", "--data") == ("dash", "--data")
    unheard = await asyncio.to_thread(
        invoke, "publish", "--redis", redis_url, "news", "x", "--except-user", "u42"
    )
    assert unheard.exit_code == 0, unheard.output
    assert await publish("news", "next", "--except-user", "u43") == ("message", "next")


def test_the_address_and_prefix_of_redis(redis_server, redis_url):
    """The URL may come from the environment; prefix, history and dedupe key reach Redis."""
    arguments = ["publish", "news", "x", "--prefix", "app:", "--history", "7", "--dedupe-key", "once"]
    first = invoke(*arguments, env={"SSE_EDGE_REDIS": redis_url})
    again = invoke(*arguments, env={"SSE_EDGE_REDIS": NOBODY, "SSE_EDGE_PUBLISH_REDIS": redis_url})
    assert first.exit_code == 0
    assert first.stdout == again.stdout
    assert redis_server.client().xlen("app:history:news") == 1


def test_a_channel_s_last_event(redis_url):
    """With --finish nothing follows, and whoever tries is told why in one line."""
    finished = invoke("publish", "job", "100 %", "--finish", "--redis", redis_url)
    assert finished.exit_code == 0
    line = said(invoke("publish", "job", "more", "--redis", redis_url), 1)
    assert line.endswith("channel 'job' has had its last event; nothing was published")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["news", "x", "--redis", "memory://"], "memory:// lives inside one process"),
        (["news", "x", "--redis", "http://h"], "backend: "),
        (["news", "x", "--redis", "redis://h:port"], "backend: "),
        (["news", "{", "--json"], "DATA is not JSON: "),
        (["news", "NaN", "--json"], "json: cannot be written as JSON"),
        (["", "x"], "channel: must be a non-empty string"),
        (["news", "x", "--event", "open"], "event: error and open are EventSource's own events"),
        (["news", "x", "--prefix", ""], "prefix: must be text"),
        (["news", "x", "--history", "-1"], "history: must be a whole number"),
        (["news", "x", "--dedupe-key", "k" * 300], "dedupe_key: "),
        (["news", "x", "--except-user", ""], "except_user: must be text"),
        (["news", "x", "--except-user", "u1", "--finish"], "--finish is for everybody"),
    ],
)
def test_what_cannot_be_published(arguments, error):
    """Whatever is wrong is said in one line, with exit code 2, before Redis is asked."""
    assert said(invoke("publish", *arguments, env={"SSE_EDGE_REDIS": None}), 2).startswith(error)


def test_bytes_that_are_no_text():
    """Standard input has to be UTF-8."""
    assert said(invoke("publish", "news", "-", input=b"\xff"), 2).startswith("standard input is not UTF-8")


def test_redis_is_not_there():
    """The error names the address, never the password, and says what became of the event."""
    line = said(invoke("publish", "news", "x", "--redis", NOBODY), 1)
    assert line.startswith("redis://:***@127.0.0.1:1/0: ")
    assert line.endswith("nothing was published")
    assert "s3cret" not in line
