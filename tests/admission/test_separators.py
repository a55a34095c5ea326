"""``:`` separates the parts of a channel's name: nobody gets into another's channel with one of his own."""

import itertools

import pytest

from apps.separated import AUTH
from servers.sse import get
from sse_edge import ConfigError, Publisher, literal
from sse_edge.admission.routes import Routes
from sse_edge.admission.template import meet

# ---- Templates


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user:{user}", "user:admin"),
        ("{user}", "news"),
        ("user:{user}", "user:{id}-private"),
        ("user:{user}", "user:x{id}"),
        ("user:{user}", "{kind}:{id}"),
        ("user:{user}:private", "user:{id}:{kind}"),
        ("order:{id}", "order:{user}-drafts"),
        ("{user}:{id}", "news:{id}"),
        ("a{id}", "{id}z"),
        ("a{id}", "ab{id}"),
        ("{id}z", "{id}yz"),
        ("order:{id}", "order:x-{id}"),
    ],
)
@pytest.mark.parametrize("ways", ["one path", "two paths"])
def test_templates_that_collide(one, other, ways):
    """Two templates that could make the same name are refused, by name and with a way out."""
    for pair in ([one, other], [other, one]):
        paths = {"/events/{id}/{kind}": pair}
        if ways == "two paths":
            paths = {f"/events/{n}/{{id}}/{{kind}}": text for n, text in enumerate(pair)}
        with pytest.raises(ConfigError) as caught:
            Routes("/events", paths)
        assert caught.value.field == "channels"
        assert all(repr(text) in str(caught.value) for text in pair)
        assert "give each a word of its own" in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user:{user}", "user:{user}:private"),
        ("user:{user}", "user:{id}"),
        ("order:{id}", "order:{kind}"),
        ("order:{id}", "order:all"),
        ("{id}", "news"),
        ("news", "news:sports"),
        ("user:{user}", "private:{user}"),
        ("order:{id}", "orders:{id}"),
        ("a{id}", "b{id}"),
        ("{id}y", "{id}z"),
        ("a{id}", "a"),
        ("a:{id}", "a:"),
        ("ab{id}ba", "aba"),
    ],
)
def test_templates_that_do_not(one, other):
    """Names of other parts, of the same shape, and plain names that only the path could make are fine."""
    Routes("/events", {"/events/{id}/{kind}": [one, other]})
    Routes("/events", {"/events/x/{id}/{kind}": one, "/events/y/{id}/{kind}": other})


def test_one_template_of_many():
    """Whichever of the paths with the same shape has {user} in it, it counts."""
    for mine in ("user:{user}", "user:{id}"):
        paths = {"/events/a/{id}": mine, "/events/b/{id}": "user:{id}", "/events/c": "user:admin"}
        if mine == "user:{id}":
            Routes("/events", paths)
            continue
        for order in itertools.permutations(paths):
            with pytest.raises(ConfigError, match="channels"):
                Routes("/events", {path: paths[path] for path in order})


def test_meeting_is_what_trying_says():
    """Templates meet exactly if values can be found that make the same name."""
    values = ["".join(each) for n in range(1, 6) for each in itertools.product("ab", repeat=n)]
    made = {}
    for head, middle, tail in itertools.product(["", "a", "b", "ab"], ["{x}", ""], ["", "a", "b", "ba"]):
        if template := head + middle + tail:
            made[template] = {template.replace("{x}", value) for value in values}
    seen = set()
    for (one, names), (other, others) in itertools.product(made.items(), repeat=2):
        found = not names.isdisjoint(others)
        assert meet(one, other) is found, (one, other)
        assert meet(f"{one}:{one}", f"{one}:{other}") is found
        assert not meet(one, f"{other}:x")
        seen.add(found)
    assert seen == {True, False}


# ---- A real process


@pytest.fixture
def shop(serve_app, redis_url):
    """uvicorn with ``user:{user}``, ``user:{user}:private`` and more, on Redis: its url."""
    return serve_app("apps.separated:edge", env={"BACKEND": redis_url}).url


def cookie(user, channels=()):
    """Who asks."""
    return {"Cookie": f"session={AUTH.issue(user, channels)}"}


REFUSED = [
    ("alice:private", "/events/me", 400),
    ("alice:private", "/events/private", 400),
    ("alice:", "/events/me", 400),
    (":", "/events/me", 400),
    ("urn:uuid:6ba7b810-9dad-11d1", "/events/me", 400),
    ("alice", "/events/orders/ok1:private", 400),
    ("alice", "/events/orders/ok1%3Aprivate", 400),
    ("alice", "/events/orders/ok1%3aprivate", 400),
    ("alice", "/events/orders/:", 400),
    ("alice", "/events/orders/ok1%253Aprivate", 403),
    ("alice", "/events/orders/ok1%EF%BC%9Aprivate", 403),
    ("alice", "/events/orders/ok1%C0%BAprivate", 403),
    ("alice", "/events/orders/ok1%3Fprivate", 403),
    ("alice", "/events/orders/*", 403),
    ("alice", "/events/orders/%2A", 403),
    ("alice", "/events/orders/ok2", 403),
    ("alice", "/events/rooms/secret", 403),
    ("alice", "/events/rooms/x%5C", 403),
]


async def test_no_separator_reaches_another_channel(shop, connect, redis_url):
    """Users, path values and signed patterns with separators and stars open nothing but what they name; the
    right ones hear their own, and ``authorize`` sees what a name was made of.
    """
    patterns = [f"room:{literal('*')}", f"room:{literal(chr(92))}"]
    for user, path, status in REFUSED:
        answer = await get(shop + path, headers=cookie(user, patterns))
        assert (answer.status, path) == (status, path), answer.body
    heard = {
        "user:alice": await connect(f"{shop}/events/me", headers=cookie("alice")),
        "user:alice:private": await connect(f"{shop}/events/private", headers=cookie("alice")),
        "user:alice\uff1aprivate": await connect(f"{shop}/events/me", headers=cookie("alice\uff1aprivate")),
        "order:ok1": await connect(f"{shop}/events/orders/ok1", headers=cookie("alice")),
        "room:*": await connect(f"{shop}/events/rooms/*", headers=cookie("bob", patterns)),
        "room:\\": await connect(f"{shop}/events/rooms/%5C", headers=cookie("bob", patterns)),
    }
    assert {stream.status for stream in heard.values()} == {200}
    async with Publisher(redis_url) as events:
        for channel in [*heard, "order:ok1:private", "room:secret", "user:alice:"]:
            await events.publish(channel, channel)
        await events.publish("news", "last")
    for channel, stream in heard.items():
        got = [event.data for event in await stream.take(2)]
        assert got == [channel, "last"]


async def test_the_hint_is_given_once(serve_app, redis_url):
    """That users with a separator are refused is in the log, once, and without saying who it was."""
    server = serve_app("apps.separated:edge", env={"BACKEND": redis_url})
    for _ in range(5):
        await get(server.url + "/events/me", headers=cookie("urn:isbn:9780"))
    server.wait_for_log("fills no {user}")
    (hint,) = [line for line in server.log.splitlines() if "fills no {user}" in line]
    assert "9780" not in hint
