"""``sse-edge token``: cookies and tokens, and with which secret."""

import time

import pytest

from parts.commands import SECRET, invoke, said
from sse_edge import Identity, PublishToken, SignedCookie
from sse_edge.asgi import Request


def identify(value, secret, name="session"):
    """Who a cookie signs in."""
    request = Request("GET", "/", ((b"cookie", f"{name}={value}".encode()),))
    return SignedCookie(secret, name=name).identify(request, time.time())


def test_a_token_signs_its_user_in():
    """What `token` prints is what SignedCookie takes, with the channels that were given."""
    result = invoke("token", "u42", "--secret", SECRET, "--channel", "order:*", "--channel", "news")
    identity = identify(result.stdout.strip(), SECRET)
    assert (identity.user, identity.channels) == ("u42", ("order:*", "news"))
    assert identify(result.stdout.strip(), "another secret of the tests") is None


def test_a_token_has_an_end():
    """It is valid for --max-age seconds, and no longer than an application with a shorter max_age says."""
    value = invoke("token", "u42", "--secret", SECRET, "--max-age", "60").stdout.strip()
    assert 50 < identify(value, SECRET).expires - time.time() <= 61
    value = invoke("token", "u42", "--secret", SECRET, "--max-age", "1e6").stdout.strip()
    assert 86_000 < identify(value, SECRET).expires - time.time() <= 86_401


@pytest.mark.parametrize(("arguments", "name"), [([], None), (["billing"], "billing")])
def test_a_token_to_publish_with(arguments, name):
    """With --publish it is one for PublishToken and no cookie; it has no end unless one is given."""
    options = ["--publish", "--channel", "order:*", "--channel", "news"]
    value = invoke("token", *arguments, *options, env={"SSE_EDGE_SECRET": SECRET}).stdout.strip()
    now = time.time()
    assert PublishToken(SECRET).verify(value, now + 1e9) == Identity(name, ("order:*", "news"))
    assert identify(value, SECRET) is None
    value = invoke("token", *options, "--secret", SECRET, "--max-age", "60").stdout.strip()
    assert 50 < PublishToken(SECRET).verify(value, now).expires - now <= 61


@pytest.mark.parametrize("variable", ["SSE_EDGE_SECRET", "SSE_EDGE_TOKEN_SECRET"])
def test_the_secret_comes_from_the_environment(variable):
    """Where the list of processes does not show it."""
    result = invoke("token", "u42", env={variable: "from the environment"})
    assert identify(result.stdout.strip(), "from the environment").user == "u42"


def test_a_weak_secret_is_said_aloud():
    """For an application that lets its weak secret pass, so does the command."""
    value = invoke("token", "u42", "--secret", "hunter2", "--weak-secret").stdout.strip()
    request = Request("GET", "/", ((b"cookie", f"session={value}".encode()),))
    assert SignedCookie("hunter2", weak_secret=True).identify(request, time.time()).user == "u42"


def test_the_name_comes_from_the_environment():
    """One variable says it to all commands, as with the secret."""
    result = invoke("token", "u42", "--secret", SECRET, env={"SSE_EDGE_COOKIE_NAME": "__Host-session"})
    assert identify(result.stdout.strip(), SECRET, "__Host-session").user == "u42"
    assert identify(result.stdout.strip(), SECRET) is None


def test_a_whole_header():
    """--header prints the value of Set-Cookie, attributes included."""
    result = invoke("token", "u42", "--secret", SECRET, "--name", "sid", "--max-age", "60", "--header")
    pair, *attributes = result.stdout.strip().split("; ")
    assert identify(pair.removeprefix("sid="), SECRET, "sid").user == "u42"
    assert attributes == ["Max-Age=60", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["u42"], "no secret: give --secret, or set SSE_EDGE_SECRET"),
        (["", "--secret", SECRET], "user: must be text of 1 to 256"),
        (["u", "--secret", SECRET, "--channel", ""], "channels: must be text of 1 to 256"),
        (["u", "--secret", "hunter2"], "secret: has fewer than 16 bytes; make one with openssl"),
        (["u", "--secret", "change-me-in-production"], "secret: is a placeholder"),
        (["u", "--secret", SECRET, "--name", "a b"], "name: must be a cookie name"),
        (["u", "--secret", SECRET, "--max-age", "0"], "max_age: must be a positive number of seconds"),
        (["--secret", SECRET], "no USER: say who is to be signed in"),
        (["--publish"], "no secret: give --secret, or set SSE_EDGE_SECRET"),
        (["--publish", "--secret", SECRET], "channels: must be one pattern at least, such as order:*"),
        (["--publish", "--secret", SECRET, "--channel", "a\\b"], "channels: a backslash stands before"),
        (["--publish", "--secret", "hunter2", "--channel", "*"], "secret: has fewer than 16 bytes"),
        (
            ["--publish", "--secret", SECRET, "--channel", "*", "--max-age", "0"],
            "max_age: must be a positive",
        ),
        (["--publish", "--secret", SECRET, "--channel", "*", "--header"], "--header: is for cookies"),
    ],
)
def test_a_token_that_cannot_be_made(arguments, error):
    """Whatever is wrong is said in one line, with exit code 2."""
    env = {"SSE_EDGE_SECRET": None, "SSE_EDGE_TOKEN_SECRET": None}
    assert said(invoke("token", *arguments, env=env), 2).startswith(error)
