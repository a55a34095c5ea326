import logging
import time

import pytest

from sse_edge.admission.channel import ALL, Channel
from sse_edge.admission.routes import Resolved, Routes
from sse_edge.asgi import Request
from sse_edge.errors import ConfigError
from sse_edge.identity import Identity

USER = Identity("u42")


async def resolve(routes, path, identity=USER):
    """What a request for ``path`` is resolved to."""
    match = routes.match(path)
    assert match is not None
    return await routes.resolve(match, Request("GET", path), identity)


@pytest.mark.parametrize(
    ("base", "path", "yes"),
    [
        ("/events", "/events", True),
        ("/events", "/events/", True),
        ("/events", "/events/a/b", True),
        ("/events", "/eventsx", False),
        ("/events", "/event", False),
        ("/events", "/", False),
        ("/a/b", "/a/b/c", True),
        ("/a/b", "/a/bc", False),
        ("/", "/anything", True),
        ("/", "/", True),
    ],
)
def test_under(base, path, yes):
    """A path is answered here if it is the path itself or below it, by whole segments."""
    assert Routes(base, {base: "news"}).under(path) is yes


TABLE = {
    "/events": "root",
    "/events/me": "user:{user}",
    "/events/{thing}": "first:{thing}",
    "/events/{other}/": "second:{other}",
    "/events/files/{name}.json": "file:{name}",
    "/events/files/{name}": "rest:{name}",
    "/events/pairs/{a}--{b}": "pair:{a}:+{b}",
    "/events/both/v{a}.{b}.log/{c}": "both/{c}:{b}:{a}",
    "/events/re/(.*)[x]{a}": "regex:{a}",
}


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/events", "root"),
        ("/events/me", "user:u42"),
        ("/events/you", "first:you"),
        ("/events/you/", "second:you"),
        ("/events/{thing}", "first:{thing}"),
        ("/events/{user}", "first:{user}"),
        ("/events/a*b\\é", "first:a*b\\é"),
        ("/events/a:b", "bad-request"),
        ("/events/:", "bad-request"),
        ("/events/files/a.json", "file:a"),
        ("/events/files/a.json.json", "file:a.json"),
        ("/events/files/a.jsonx", "rest:a.jsonx"),
        ("/events/files/.json", "rest:.json"),
        ("/events/pairs/a--b", "pair:a:+b"),
        ("/events/pairs/a-b--c--d", "pair:a-b:+c--d"),
        ("/events/pairs/a---b", "pair:a:+-b"),
        ("/events/pairs/--b", None),
        ("/events/pairs/a--", None),
        ("/events/pairs/a-b", None),
        ("/events/both/v1.2.log/x", "both/x:2:1"),
        ("/events/both/v1.2.3.log/x", "both/x:2.3:1"),
        ("/events/re/(.*)[x]1", "regex:1"),
        ("/events/re/zzzx1", None),
        ("/events/", None),
        ("/events//", None),
        ("/events/a/b", None),
        ("/events/me\n", "bad-request"),
        ("/eventsx", None),
        ("/other", None),
        ("/events/" + "x" * 300, "bad-request"),
    ],
)
async def test_paths(path, channel):
    """A path finds its route, static before earlier before later, and fills the channel's name."""
    routes = Routes("/events", TABLE)
    if channel is None:
        assert routes.match(path) is None
        return
    found = await resolve(routes, path)
    assert (found.channels[0] if isinstance(found, Resolved) else found.code) == channel


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/events/..", False),
        ("/events/.", False),
        ("/events/./x", False),
        ("/events/../x", False),
        ("/events/x/../y", False),
        ("/events//..", False),
        ("/events/...", True),
        ("/events/..x", True),
        ("/events/x..", True),
        ("/events/.x/y.", True),
    ],
)
def test_no_segment_goes_up(path, found):
    """A path with a segment ``.`` or ``..`` has no streams, whatever else would have matched it."""
    everywhere = Routes("/events", lambda request: ["news"])
    assert everywhere.under(path)
    assert bool(everywhere.match(path)) is found
    if not found:
        templates = {path: "a", "/events/{x}": "b", "/events/{x}/{y}": "c"}
        assert Routes("/events", templates).match(path) is None


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("news", {"news": None}),
        ("user:{user}", {"user:u42": None}),
        ("{user}", {"u42": None}),
        ("order:{id}", {"order:7": {"id": "7"}}),
        ("{user}:{id}", {"u42:7": {"user": "u42", "id": "7"}}),
        (
            ["user:{user}", "news", "order:{id}"],
            {"user:u42": None, "news": None, "order:7": {"id": "7"}},
        ),
        (("{id}", "x:{id}:{id}"), {"7": {"id": "7"}, "x:7:7": {"id": "7"}}),
    ],
)
async def test_open_channels(channels, expected):
    """A channel is open if its template is filled from the identity alone; others have their values told."""
    found = await resolve(Routes("/events", {"/events/{id}": channels}), "/events/7")
    assert found.channels == tuple(expected)
    assert found.open == {name for name, values in expected.items() if values is None}
    assert {name: found.values(name) for name in expected if expected[name] is not None} == {
        name: values for name, values in expected.items() if values is not None
    }


async def test_values_are_read_only():
    """Nobody can change what a channel was filled with."""
    found = await resolve(Routes("/events", {"/events/{id}": "{id}"}), "/events/7")
    with pytest.raises(TypeError):
        found.values("7")["id"] = "8"


async def test_same_channel_by_two_templates():
    """Two templates that meet in one channel give it once, and open it if one of them does."""
    routes = Routes("/events", {"/events/{id}": ["user:{id}", "user:{user}"]})
    found = await resolve(routes, "/events/u42")
    alone = found._replace(made={}, filled={})
    assert alone == Resolved(("user:u42",), frozenset({"user:u42"}))


async def test_path_cannot_fill_in_the_user():
    """Text from the path is never filled in again, nor taken for the user."""
    routes = Routes("/events", {"/events/{id}": "x:{id}"})
    assert (await resolve(routes, "/events/{user}")).channels == ("x:{user}",)


async def test_user_template_without_a_user():
    """A path that needs a user is refused to an identity without one, and others are not."""
    routes = Routes("/events", {"/events/me": "user:{user}", "/events/all": "news"})
    assert (await resolve(routes, "/events/me", Identity(None))).code == "unauthenticated"
    assert (await resolve(routes, "/events/all", Identity(None))).channels == ("news",)


@pytest.mark.parametrize("value", ["a:b", ":", "a\nb", "a\0", "\x7f", "x" * 257, "\ud800"])
async def test_value_that_makes_no_channel(value):
    """A path whose value cannot be in a channel's name is a bad request."""
    found = await resolve(Routes("/events", {"/events/{id}": "{id}"}), f"/events/{value}")
    assert found.code == "bad-request"


async def test_what_is_wrong_with_a_value():
    """The refusal names the placeholder."""
    found = await resolve(Routes("/events", {"/events/{id}": "order:{id}"}), "/events/1:private")
    assert found.detail == "{id} must not be empty or have ':' in it"


@pytest.mark.parametrize("user", ["alice:private", ":", "urn:uuid:6ba7b810", ""])
async def test_user_that_makes_no_channel(user, caplog):
    """A user with a separator fills no template, which is said once; paths without {user} do not mind."""
    routes = Routes("/events", {"/events/me": ["user:{user}", "news"], "/events/all": "news"})
    for _ in range(3):
        found = await resolve(routes, "/events/me", Identity(user))
        assert (found.code, found.detail) == ("bad-request", "{user} must not be empty or have ':' in it")
    assert (await resolve(routes, "/events/all", Identity(user))).channels == ("news",)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def asked(request):
    """A function of the request."""
    return [f"{request.identity.user}:{request.params.get('id', '-')}", request.path]


async def asked_async(request):
    """The same, async."""
    return asked(request)


@pytest.mark.parametrize("function", [asked, asked_async])
async def test_functions(function):
    """A function, sync or async, sees path values and identity, and its channels are never open."""
    routes = Routes("/events", {"/events/x/{id}": function, "/events/x": function})
    assert await resolve(routes, "/events/x/7") == Resolved(("u42:7", "/events/x/7"), frozenset())
    assert await resolve(routes, "/events/x") == Resolved(("u42:-", "/events/x"), frozenset())


@pytest.mark.parametrize(
    ("target", "compress"),
    [
        ("a", False),
        (Channel("a"), False),
        (Channel("a", compress=True), True),
        ([Channel("a", compress=True), Channel("b:{user}", compress=True)], True),
        ([Channel("a", compress=True), "b"], False),
        (lambda request: [Channel("a", compress=True)], True),
        (lambda request: [Channel("a", compress=True), "b"], False),
        (lambda request: ["a"], False),
    ],
)
async def test_a_stream_is_compressed_if_all_its_channels_are(target, compress):
    """What one channel has not opted into is not compressed together with another."""
    found = await resolve(Routes("/events", {"/events/x": target}), "/events/x")
    assert found.channels[0] == "a"
    assert found.compress is compress


@pytest.mark.parametrize(
    ("target", "first"),
    [
        ("a", {}),
        (Channel("a"), {}),
        (Channel("a", first=3), {"a": 3}),
        ([Channel("a", first=3), Channel("user:{user}", first="all"), "b"], {"a": 3, "user:u42": ALL}),
        ([Channel("a", first=3), Channel("{x}", first=5)], {"a": 5}),
        ([Channel("a", first=3), Channel("{x}", first=2)], {"a": 3}),
        (["a", Channel("{x}", first=2)], {"a": 2}),
        ([Channel("{x}"), Channel("a", first=1)], {"a": 1}),
        (lambda request: [Channel("a", first=1), "a", Channel("a", first=4), Channel("b")], {"a": 4}),
        (lambda request: ["a", Channel("b", first="all")], {"b": ALL}),
        (lambda request: ["a"], {}),
    ],
)
async def test_what_comes_first(target, first):
    """Each channel that has any; where two make the same channel the larger number counts."""
    found = await resolve(Routes("/events", {"/events/{x}": target}), "/events/a")
    assert found.channels[0] == "a"
    assert found.first == first


def test_what_comes_first_is_kept():
    """Every template's is asked about as a pattern; functions say theirs too late to be asked."""
    asked = {}

    def depth(pattern):
        asked[pattern] = None
        return {"few:*": 2, "none:*": 0}.get(pattern)

    def check(*channels):
        Routes("/events", {"/events": Channel("plain", first=9), "/events/{x}": channels}).check_first(depth)

    check("a", Channel(r"b\*:{x}", first=5), Channel("few:{x}", first=2), Channel("none:{x}"))
    check(Channel("few:{x}", first="all"))
    Routes("/events", lambda request: [Channel("few:1", first=9)]).check_first(depth)
    assert list(asked) == ["plain", r"b\\\*:*", "few:*"]
    for refused, said in (
        (Channel("few:{x}", first=3), "first: of 'few:{x}' no more than 2 events are kept (got 3)"),
        (Channel("none:{x}", first=1), "first: of 'none:{x}' needs a backend that keeps history (got 1)"),
    ):
        with pytest.raises(ConfigError) as caught:
            check("a", refused)
        assert str(caught.value) == said


@pytest.mark.parametrize(
    ("arguments", "field"), [((1,), "channels"), ((None,), "channels"), (("a", 1), "compress")]
)
def test_a_channel_that_is_none(arguments, field):
    """A Channel that cannot work is refused where it is made."""
    with pytest.raises(ConfigError) as caught:
        Channel(*arguments)
    assert caught.value.field == field


async def test_one_function_for_everything():
    """One function answers every path under the prefix and no other."""
    routes = Routes("/events", asked)
    assert (await resolve(routes, "/events/any/thing")).channels == ("u42:-", "/events/any/thing")
    assert routes.match("/events") is not None
    assert routes.match("/eventsx") is None


def raises(error):
    """A function that fails."""

    def fail(request):
        raise error

    return fail


@pytest.mark.parametrize(
    ("function", "expected", "logged"),
    [
        (lambda request: ("b", "a", "b"), ("b", "a"), False),
        (lambda request: [str(n) for n in range(3)] * 9, ("0", "1", "2"), False),
        (lambda request: None, "not-found", False),
        (lambda request: [], "not-found", False),
        (lambda request: ["1", "2", "3", "4"], "bad-request", False),
        (lambda request: [""], "bad-request", False),
        (lambda request: ["a\n"], "bad-request", False),
        (lambda request: ["a", 1], "bad-request", False),
        (lambda request: [["a"]], "bad-request", False),
        (raises(KeyError("id")), "bad-request", False),
        (raises(ValueError("no number")), "bad-request", False),
        (lambda request: "news", "backend-down", True),
        (lambda request: {"news"}, "backend-down", True),
        (lambda request: 0, "backend-down", True),
        (raises(OSError("database")), "backend-down", True),
        (raises(TypeError("bug")), "backend-down", True),
    ],
)
async def test_what_functions_answer(function, expected, logged, caplog):
    """Every answer and every error of a function has one outcome, and only its bugs leave a traceback."""
    caplog.set_level(logging.WARNING, "sse_edge")
    found = await resolve(Routes("/events", function, max_channels=3), "/events/a")
    assert (found.channels if isinstance(found, Resolved) else found.code) == expected
    assert [record.exc_info is not None for record in caplog.records] == [True] * logged


async def test_internal_errors_are_not_told():
    """What an exception of the application says stays in the log."""
    found = await resolve(Routes("/events", raises(OSError("postgres://user:pw@db"))), "/events/a")
    assert "postgres" not in found.detail


@pytest.mark.parametrize(
    "path", ["/events/" + "-" * 60_000, "/events/" + "a-" * 30_000, "/events/" + "/" * 60_000]
)
def test_matching_is_linear(path):
    """A path made to be ambiguous costs no more than a long one."""
    routes = Routes("/events", {"/events/{a}-{b}-{c}-{d}x": "{a}", "/events/{e}/{f}.json": "{e}"})
    began = time.perf_counter()
    routes.match(path)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("field", "path", "channels", "settings"),
    [
        *(("path", path, {"/events": "a"}, {}) for path in ["", "events", "/events/", "//", "/a{b}", None]),
        ("channels", "/events", {}, {}),
        ("channels", "/events", None, {}),
        ("channels", "/events", "news", {}),
        ("channels", "/events", ["news"], {}),
        ("channels", "/events", {1: "a"}, {}),
        *(
            ("channels", "/events", {template: "a"}, {})
            for template in [
                "/other",
                "/eventsx",
                "events",
                "/events/{user}",
                "/events/{a}/{a}",
                "/events/{a}{b}",
                "/events/{}",
                "/events/{1a}",
                "/events/{a-b}",
                "/events/{a.b}",
                "/events/{a!r}",
                "/events/{a:x}",
                "/events/{é}",
                "/events/{a",
                "/events/a}",
                "/events/{{a}}",
                "/events/{a{b}}",
            ]
        ),
        *(
            ("channels", "/events", {"/events/{id}": target}, {})
            for target in [
                "",
                [],
                [""],
                None,
                1,
                [1],
                b"news",
                ["a", "a"],
                "{unknown}",
                "{id",
                "id}",
                "{}",
                "{0}",
                "{id:>3}",
                "{id!r}",
                "{id.x}",
                "{{id}}",
                "a\n",
                "x" * 257,
                "{id}{id}",
                "x:{id}-{user}",
                ["user:{user}", "user:{id}-x"],
                Channel("{unknown}"),
                [Channel("a"), "a"],
                [Channel("a"), Channel("a", compress=True)],
                {"a": Channel("a")},
            ]
        ),
        ("channels", "/events", {"/events/me": "user:{user}"}, {"anonymous": True}),
        ("channels", "/events", {"/events/me": ["a", "b", "c"]}, {"max_channels": 2}),
        ("max_channels", "/events", {"/events": "a"}, {"max_channels": 0}),
    ],
)
def test_bad_settings(field, path, channels, settings):
    """A table that cannot work is refused at construction by name."""
    with pytest.raises(ConfigError) as caught:
        Routes(path, channels, **settings)
    assert caught.value.field == field
