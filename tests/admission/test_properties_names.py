"""One spelling of a cookie, whatever is sent with it; one channel for each name, and one name for each."""

import itertools

from hypothesis import assume, example, given
from hypothesis import strategies as st

from fuzz.oracles import AUTH, NOW, SECRET, VALUE, WHO, request
from parts.hostile import HEADER, LINE, looking_at
from sse_edge.admission.cookies import SignedCookie
from sse_edge.admission.routes import Routes
from sse_edge.asgi import Request
from sse_edge.errors import ConfigError
from sse_edge.identity import Identity


def sent(*headers):
    """Who comes with these Cookie headers."""
    return AUTH.identify(request(*(("cookie", header) for header in headers)), NOW)


# Cookies


def test_a_cookie_has_one_spelling():
    """Of all that differs from a cookie in one character, or has one more, nothing is valid."""
    letters = [chr(number) for number in range(256) if chr(number) not in ";"]
    for at, own in enumerate(VALUE):
        for letter in letters:
            assert letter == own or sent(f"session={VALUE[:at]}{letter}{VALUE[at + 1 :]}") is None, (
                at,
                letter,
            )
    for at in range(len(VALUE) + 1):
        for letter in letters:
            outside = at in (0, len(VALUE)) and letter in " \t"  # what stands around a value is not in it
            assert outside or sent(f"session={VALUE[:at]}{letter}{VALUE[at:]}") is None, (at, letter)


@looking_at(100)
@given(st.text(st.characters(max_codepoint=255, exclude_characters=";"), min_size=1, max_size=8))
@example('"')
@example("=")
@example("\x85")
@example("\xa0")
@example("%3D")
@example(f".{VALUE}")
def test_a_cookie_with_something_around_it_is_none(around):
    """Quotes, padding, blanks of other kinds and appended junk make another cookie, and no valid one."""
    assume(around.strip(" \t"))
    for value in (f"{around}{VALUE}", f"{VALUE}{around}", f"{around}{VALUE}{around}"):
        assert sent(f"session={value}") is None


JUNK = st.lists(
    st.sampled_from(
        ["session=", "session=x", "session=..", "other=y", "=", "", "session", f"Session={VALUE}"]
    )
    | st.sampled_from(
        [f"session={VALUE[:-1]}", f"session={VALUE}x", f'session="{VALUE}"', "session=" + "." * 300]
    )
    | HEADER.map(lambda text: "session=" + text.replace(";", "")),
    max_size=30,
)


@looking_at(200)
@given(JUNK, JUNK, st.booleans())
def test_junk_hides_no_cookie(before, after, joined):
    """However many others there are of the same name, before and after it, the good one is found."""
    pairs = [*before, f"session={VALUE}", *after]
    assert sent(*(["; ".join(pairs)] if joined else pairs)) == WHO


def test_much_junk_hides_no_cookie():
    """Nor do hundreds, more than a browser would send."""
    junk = [f"session={VALUE[:-2]}{number}" for number in range(300)]
    for at in (0, 4, 150, 300):
        assert sent("; ".join([*junk[:at], f"session={VALUE}", *junk[at:]])) == WHO


@looking_at(100)
@given(st.sampled_from(["__Host-session", "Session", "session2", "sessio", "a", "__Secure-session"]))
def test_a_cookie_belongs_to_its_name(name):
    """What was issued under one name is nobody's under another, with the same secret."""
    other = SignedCookie(SECRET, name, max_age=600)
    assert sent(f"session={other.issue('u42', now=NOW)}") is None
    assert other.identify(request(("cookie", f"{name}={VALUE}")), NOW) is None


# Channels

PARTS = st.sampled_from(
    ["{user}", "user", "{user}x", "x{user}", "a", "", "ax", "private", "{id}", "x{id}", "a-{id}"]
)
TEMPLATES = st.lists(PARTS, min_size=1, max_size=3).map(":".join)
PEOPLE = (
    st.sampled_from(["a", "ax", "x", "user", "a:private", "private", "*", "a:", ":", "{user}", "\\*"]) | LINE
)


def channels_of(routes, path, user):
    """What a path stands for, for a user: all channels, and those that are open to this user."""
    match = routes.match(path)
    if match is None:
        return frozenset(), frozenset()
    try:
        routes.resolve(match, Request("GET", path), Identity(user)).send(None)
    except StopIteration as done:
        resolved = done.value
    return frozenset(getattr(resolved, "channels", ())), getattr(resolved, "open", frozenset())


@looking_at(300)
@given(
    templates=st.lists(TEMPLATES, min_size=1, max_size=3, unique=True),
    users=st.tuples(PEOPLE, PEOPLE),
    value=PEOPLE,
)
@example(["user:{user}", "user:{user}:private"], ("alice", "alice:private"), "x")
@example(["{user}", "a"], ("a", "x"), "x")
@example(["x{user}", "{user}x"], ("x", "xx"), "x")
def test_what_is_one_users_is_no_others(templates, users, value):
    """A channel that a user may hear for being that user is open to no other, whatever both are called."""
    one, other = users
    assume(one != other and all(0 < len(user) < 200 for user in users) and "/" not in value)
    try:
        routes = Routes("/events", {f"/events/{n}/{{id}}": template for n, template in enumerate(templates)})
    except ConfigError:
        return
    paths = [f"/events/{number}/{value}" for number in range(len(templates))]
    personal = {
        channel
        for path, template in zip(paths, templates, strict=True)
        if "{user}" in template
        for channel in channels_of(routes, path, one)[1]
    }
    for path in paths:
        assert not personal & channels_of(routes, path, other)[1]


@looking_at(200)
@given(template=TEMPLATES.filter(lambda text: "{id}" in text), values=st.tuples(PEOPLE, PEOPLE), user=PEOPLE)
@example("{id}:private", ("a", "a:private"), "x")
def test_two_values_of_a_path_are_two_channels(template, values, user):
    """Two paths that differ in a value never stand for the same channel."""
    one, other = values
    assume(one != other and not any("/" in value for value in values))
    try:
        routes = Routes("/events", {"/events/{id}": template})
    except ConfigError:
        return
    found = [channels_of(routes, f"/events/{value}", user)[0] for value in values]
    assert not found[0] & found[1]


@looking_at(200)
@given(st.lists(st.sampled_from(["a", ":", "b", "a:b", ":b", "é", "-", "*"]), min_size=2, max_size=4))
@example(["a:b", "c", "a", "b:c"])
def test_two_values_in_one_name_are_told_apart(texts):
    """A name of two values says where the one ends and the other begins."""
    routes = Routes("/events", {"/events/{room}/{part}": "room:{room}:{part}"})
    paths = [f"/events/{one}/{other}" for one, other in itertools.permutations(set(texts), 2)]
    names = [channels_of(routes, path, "u")[0] for path in paths]
    named = [name for name in names if name]
    assert len(set(named)) == len(named)
