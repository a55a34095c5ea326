"""``sse-edge token``: a signed cookie, for curl, tests and load tests; or a token to publish with."""

from __future__ import annotations

import click

from ..admission.cookies import SignedCookie
from ..admission.publish_token import PublishToken
from .failure import Misuse


@click.command(
    short_help="Make a signed cookie, or a token to publish with.",
    epilog="A secret on the command line shows in the list of processes; the environment does not.",
)
@click.argument("user", required=False)
@click.option(
    "--channel", "channels", metavar="PATTERN", multiple=True,
    envvar="SSE_EDGE_TOKEN_CHANNEL", show_envvar=True,
    help="Channels the user may read: * for any run of characters, \\* for a star. Can be repeated.",
)  # fmt: skip
@click.option(
    "--publish", is_flag=True, show_envvar=True,
    help="Make a token for the application's publish_path and these channels; USER names it in the log.",
)  # fmt: skip
@click.option(
    "--secret", envvar=["SSE_EDGE_TOKEN_SECRET", "SSE_EDGE_SECRET"], show_envvar=True,
    help="The application's secret.",
)  # fmt: skip
@click.option(
    "--weak-secret", is_flag=True, show_envvar=True,
    help="Take one that others could find, as the application does with weak_secret=True.",
)  # fmt: skip
@click.option(
    "--name", default="session", show_default=True,
    envvar=["SSE_EDGE_TOKEN_NAME", "SSE_EDGE_COOKIE_NAME"], show_envvar=True,
    help="The cookie's name, which is part of what is signed.",
)  # fmt: skip
@click.option(
    "--max-age", type=float, show_envvar=True, show_default="86400; with --publish no end",
    help="Seconds that it is valid, or less where the application's max_age is shorter.",
)  # fmt: skip
@click.option("--header", is_flag=True, show_envvar=True, help="Print the whole Set-Cookie value.")
def token(
    user: str | None,
    channels: tuple[str, ...],
    publish: bool,
    secret: str | None,
    weak_secret: bool,
    name: str,
    max_age: float | None,
    header: bool,
) -> None:
    """Print a cookie value that signs USER in where SignedCookie has the same secret and name, or with
    --publish a token that PublishToken with the same secret takes.

    \b
    export SSE_EDGE_SECRET=...
    sse-edge token u42
    sse-edge token u42 --channel 'order:*' --channel news
    curl -N -b "session=$(sse-edge token u42)" http://127.0.0.1:8000/events/me
    sse-edge token billing --publish --channel 'order:*'
    """
    if not secret:
        raise Misuse("no secret: give --secret, or set SSE_EDGE_SECRET")
    if publish:
        if header:
            raise Misuse("--header: is for cookies, and a token to publish is sent as Authorization: Bearer")
        tokens = PublishToken(secret, weak_secret=weak_secret)
        click.echo(tokens.issue(channels, name=user, max_age=max_age))
        return
    if user is None:
        raise Misuse("no USER: say who is to be signed in")
    life = 86400.0 if max_age is None else max_age
    cookie = SignedCookie(secret, name=name, max_age=life, weak_secret=weak_secret)
    click.echo(cookie.set_cookie(user, channels) if header else cookie.issue(user, channels))
