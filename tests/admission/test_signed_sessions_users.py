"""Sessions in signed cookies: who is named, with which channels, and in which session."""

import re
import time
from operator import itemgetter

import pytest

from parts.issued import KINDS, SECRET, asking, identified, made, once
from sse_edge import ConfigError
from sse_edge.cookies import StarletteSession


@once
@pytest.mark.parametrize(
    ("user", "identity"),
    [
        ("u42", "u42"),
        ("é 😀", "é 😀"),
        ("a:b", "a:b"),
        (0, "0"),
        (42, "42"),
        (-1, "-1"),
        (None, None),
        ("", None),
        (False, None),
        ("a\nb", None),
        ("x" * 257, None),
        ("\ud800", None),
    ],
)
def test_the_user(kind, user, identity):
    """Text and numbers name a user; nothing, empty text, False, and what no name could be, is nobody."""
    found = identified(kind, made(kind, {"user_id": user}))
    assert (found and found.user) == identity


@once
@pytest.mark.parametrize("user", [True, 1.5, [], ["u"], {"id": 1}])
def test_what_cannot_name_a_user(kind, user, caplog):
    """A session that names its user by what cannot is nobody's, and one line says so for all."""
    auth, _, name, _ = KINDS[kind]
    auth = auth(SECRET)
    for visits in range(3):
        value = made(kind, {"user_id": user, "visits": visits})
        assert auth.identify(asking(value, name=name), time.time()) is None
    (line,) = (record for record in caplog.records if record.name == "sse_edge")
    assert f"user must be text or a whole number, not {type(user).__name__}" in line.getMessage()
    assert (line.levelname, line.exc_info) == ("ERROR", None)


@once
@pytest.mark.parametrize(
    "read",
    [
        {"user": lambda said: said["user"]["id"]},
        {"user": lambda said: said["user"].id},
        {"session": lambda said: said["user"]["id"]},
        {"channels": lambda said: said["user"]["channels"]},
    ],
)
def test_functions_that_a_session_is_not_made_for(kind, read, caplog):
    """Whose session a function cannot read is nobody, and one line says where, and not what is in it."""
    value = made(kind, {"user": None, "user_id": "u"})
    assert identified(kind, value, **read) is None
    (line,) = (record for record in caplog.records if record.name == "sse_edge")
    assert re.search(r"(Type|Attribute)Error at \S+test_signed_sessions_users\.py:\d+", line.getMessage())
    assert line.exc_info is None


@pytest.mark.parametrize("function", [lambda: "u", lambda session, request: "u"])
def test_functions_that_take_something_else(function):
    """They would let nobody in: that is said at construction."""
    for what in ("user", "session", "channels"):
        with pytest.raises(ConfigError, match=rf"^{what}: must take \(session\)"):
            StarletteSession(SECRET, **{what: function})
    assert StarletteSession(SECRET, itemgetter("u")).headers_for is not None


@once
def test_visitors(kind):
    """A session in which nobody signed in is nobody's, however its user would be read."""
    value = made(kind, {"basket": [1]})
    assert identified(kind, value) is None
    assert identified(kind, value, user=lambda said: said["user"]["id"]) is None
    assert identified(kind, value, user=lambda said: said["basket"][7]) is None
    assert identified(kind, value, user=lambda said: said.get("user")) is None


@once
def test_functions_of_the_session(kind):
    """User, session and patterns may be read by functions."""
    value = made(kind, {"account": {"id": 7, "team": "a"}, "login": {"id": "l1"}})
    identity = identified(
        kind,
        value,
        user=lambda said: said["account"]["id"],
        session=lambda said: said["login"]["id"],
        channels=lambda said: [f"team:{said['account']['team']}"],
    )
    assert (identity.user, identity.session, identity.channels) == ("7", "l1", ("team:a",))


@once
@pytest.mark.parametrize(
    ("channels", "found"), [(["news", "order:*"], ("news", "order:*")), ([], ()), (None, ())]
)
def test_patterns_of_the_session(kind, channels, found):
    """What the session may read is read from it, where the authenticator is told which entry has it."""
    value = made(kind, {"user_id": "u", "may": channels})
    assert identified(kind, value).channels == ()
    assert identified(kind, value, channels="may").channels == found


@once
@pytest.mark.parametrize("channels", ["news", "*", 1, {"news": 1}, [1]])
def test_what_are_no_patterns(kind, channels, caplog):
    """A text is no list of patterns, a star in it would open everything: who has one is nobody."""
    assert identified(kind, made(kind, {"user_id": "u", "may": channels}), channels="may") is None
    assert "channels must be a list of patterns" in caplog.text
    assert "Traceback" not in caplog.text


@once
def test_the_name_of_a_session(kind):
    """A sid is the sign-in's name, through every change of the rest; two sign-ins of a user have two."""
    signed = [
        identified(kind, made(kind, {"user_id": "u", "sid": sid, "visits": visits}, now=at), now=at + 9)
        for sid, visits, at in (("a", 1, 1000), ("a", 2, 1001), ("b", 1, 1000))
    ]
    assert [identity.session for identity in signed] == ["a", "a", "b"]
    assert identified(kind, made(kind, {"user_id": "u", "login": 5}), session="login").session == "5"


@once
@pytest.mark.parametrize("sid", [None, "", "\n", False])
def test_sessions_without_a_name(kind, sid):
    """They have none: one that all of a user's have would be revoked with the next sign-in, too."""
    said = {"user_id": "u", "_auth_user_hash": "a", "_id": "b", "sid": sid}
    assert identified(kind, made(kind, said)).session is None
    assert identified(kind, made(kind, said), session="user_id").session == "u"  # where that is meant


@once
def test_the_name_of_a_session_in_views(kind):
    """Views know what the streams know a session by, of the framework's own object."""
    for said, settings, name in (
        ({"sid": "s1"}, {}, "s1"),
        ({"user_id": "u"}, {}, None),
        ({"login": {"id": 7}}, {"session": lambda said: said["login"]["id"]}, "7"),
        ({}, {"session": lambda said: said["login"]["id"]}, None),
    ):
        assert KINDS[kind][0](SECRET, **settings).session_name(said) == name
