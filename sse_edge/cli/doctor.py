"""``sse-edge doctor``: what is wrong with a running deployment."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..admission.arrival import DOCTOR
from ..admission.cookies import SignedCookie
from ..backends.redis import RedisBackend
from ..errors import EdgeError
from ..redaction import redacted
from .failure import Failure, Misuse, as_failure
from .options import partitions_option, prefix_option, redis_option

if TYPE_CHECKING:
    from ..doctor.examination import Examination
    from ..doctor.fault import Level
    from ..doctor.finding import Finding

LONG = 100.0
"""Seconds that --long watches an idle stream: more than the time-out of most proxies."""

LONGEST = 256
"""Characters of a channel's name."""

INDENT = 24

JSON = "SSE_EDGE_DOCTOR_JSON"


class Command(click.Command):
    """One that says in JSON, too, that it could not look, to whoever wants JSON."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **more: Any) -> click.Context:
        """See click: ``args`` become parameters, or are misunderstood."""
        wanted = "--json" in args or bool(os.environ.get(JSON))
        with _said_as_json(wanted):
            return super().make_context(info_name, args, *rest, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with _said_as_json(ctx.params["as_json"]):
            return super().invoke(ctx)


@contextlib.contextmanager
def _said_as_json(wanted: bool) -> Iterator[None]:
    """Whatever ends the command by an error: a program that wants JSON can read nothing else."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:  # also what nobody has thought of
        if not wanted:
            raise
        known: click.ClickException
        if isinstance(error, click.ClickException | EdgeError):
            known = as_failure(error)
        else:
            known = Failure(f"{type(error).__name__}: {error}")
        click.echo(json.dumps({"error": redacted(known.format_message())}, indent=2))
        raise SystemExit(known.exit_code) from error


@click.command(
    cls=Command,
    short_help="Examine a running deployment.",
    epilog="Exit code: 0 nothing wrong, 3 warnings, 4 failures; 1 it could not be examined, 2 bad usage.  "
    "All that it may find: deploy/DOCTOR.md.",
)
@click.argument("url")
@click.option(
    "--secret", envvar=["SSE_EDGE_DOCTOR_SECRET", "SSE_EDGE_SECRET"], show_envvar=True,
    help="The application's secret: signs a cookie for a user of the doctor's own.",
)  # fmt: skip
@click.option("--cookie", metavar="NAME=VALUE", show_envvar=True, help="Or a cookie that is there already.")
@click.option(
    "--name", default="session", show_default=True,
    envvar=["SSE_EDGE_DOCTOR_NAME", "SSE_EDGE_COOKIE_NAME"], show_envvar=True,
    help="The session cookie's name.",
)  # fmt: skip
@redis_option(
    "doctor", "Publish events through the application's Redis, and look at its settings.", default=None
)
@click.option(
    "--channel", default="user:{user}", show_default=True, show_envvar=True,
    help="A channel that URL carries, to publish to; {user} is the doctor's own. The cookie may read it.",
)  # fmt: skip
@prefix_option()
@click.option(
    "--history", type=int, show_envvar=True, help="As RedisBackend's, as long as no worker has said it."
)
@click.option("--history-ttl", type=float, show_envvar=True, help="As RedisBackend's, likewise.")
@partitions_option()
@click.option(
    "--durable", is_flag=True, show_envvar=True, help="As RedisBackend's: check that Redis loses nothing."
)
@click.option("--host", metavar="NAME[:PORT]", show_envvar=True, help="Ask for this host, at URL's address.")
@click.option(
    "--origin",
    metavar="ORIGIN",
    show_envvar=True,
    help="A page's origin, other than URL's, that must be served.",
)
@click.option(
    "--page",
    default="/",
    show_default=True,
    show_envvar=True,
    help="Path of a page that sets the session cookie.",
)
@click.option("--cacert", metavar="FILE", show_envvar=True, help="Certificate of a private authority.")
@click.option("--long", is_flag=True, show_envvar=True, help=f"Watch an idle stream for {LONG:.0f} seconds.")
@click.option(
    "--flood", is_flag=True, show_envvar=True,
    help="Connect until the limit on connects is met, with false X-Forwarded-For.",
)  # fmt: skip
@click.option("--down", is_flag=True, show_envvar=True, help="The app is stopped now: see what clients get.")
@click.option(
    "--here/--elsewhere", default=None, show_envvar=True,
    help="Whether the proxy is on this machine.  [default: found out]",
)  # fmt: skip
@click.option(
    "--streams", type=click.IntRange(1), default=10_000, show_default=True, show_envvar=True,
    help="Streams that this machine should hold.",
)  # fmt: skip
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar=JSON,
    show_envvar=True,
    help='For programs; also what went wrong, as {"error": …}.',
)
def doctor(
    url: str,
    secret: str | None,
    cookie: str | None,
    name: str,
    redis: str | None,
    channel: str,
    prefix: str,
    history: int | None,
    history_ttl: float | None,
    partitions: int,
    durable: bool,
    host: str | None,
    origin: str | None,
    page: str,
    cacert: str | None,
    long: bool,
    flood: bool,
    down: bool,
    here: bool | None,
    streams: int,
    as_json: bool,
) -> None:
    """Examine the stream at URL as browsers get it, through every proxy, and say what to change.

    With --secret and --redis it opens streams as a user of its own, publishes three events to that
    user's channel, comes back for them and is disconnected.  Where URL carries other channels name one
    with --channel: the events are then heard by everybody who listens there, under a name that no page
    listens for, and stay in its history.

    \b
    sse-edge doctor https://example.com/events/me --secret "$SECRET" --redis redis://127.0.0.1
    sse-edge doctor https://example.com/events/orders/1 --channel order:1 --secret "$SECRET"
    sse-edge doctor https://localhost:8443/events/me --cacert root.crt --cookie "session=..." --long
    sse-edge doctor https://example.com/events/me --down
    """
    try:
        from ..doctor.examination import Examination  # noqa: PLC0415 - h11 is optional
        from ..doctor.target import Target  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise Failure(f'{error.name} is missing: pip install "sse_edge[doctor]"') from error

    if secret and cookie:
        raise Misuse("--secret and --cookie: give only one of them")
    if cookie is not None and (
        not cookie.partition("=")[2] or not cookie.isascii() or not cookie.isprintable()
    ):
        raise Misuse("--cookie: must be NAME=VALUE, of printable ASCII")
    if not page.startswith("/") or not page.isascii() or not page.isprintable() or " " in page:
        raise Misuse(f"--page: must be a path that begins with / (got {page!r})")
    if origin is not None and not (
        origin.isascii() and origin.isprintable() and origin.startswith(("http://", "https://"))
    ):
        raise Misuse(f"--origin: must be http(s)://host[:port] (got {origin!r})")
    if not 1 <= len(channel) <= LONGEST or not channel.isprintable():
        raise Misuse(f"--channel: must be 1 to {LONGEST} printable characters (got {channel!r})")
    target = Target.of(url, host=host, cacert=cacert)
    user = f"sse-edge-doctor-{secrets.token_hex(4)}" if secret else None
    unknown = user is None and "{user}" in channel
    carried = None if unknown else channel.replace("{user}", user or "")
    if secret and user:
        patterns = [*([carried] if carried else []), DOCTOR]
        # Whether the secret is a good one was the application's to say.
        cookie = f"{name}={SignedCookie(secret, name=name, weak_secret=True).issue(user, patterns)}"
    backend = None
    if redis is not None:
        backend = RedisBackend(
            redis, prefix=prefix, history=history, history_ttl=history_ttl, partitions=partitions
        )
    examination = Examination(
        target=target, cookie=cookie, cookie_name=name, user=user, backend=backend, channel=carried,
        page=page, origin=origin, watch=LONG if long else None, flood=flood, here=here,
        streams=streams, durable=durable,
    )  # fmt: skip
    findings = asyncio.run(_run(examination, down=down, as_json=as_json, url=url))
    raise SystemExit(_exit_code(findings))


async def _run(examination: Examination, *, down: bool, as_json: bool, url: str) -> list[Finding]:
    from ..doctor.examination import collect  # noqa: PLC0415

    def tell(finding: Finding) -> None:
        if not as_json:
            click.echo(_lines(finding, "".join(examination.proxy)))

    source = examination.findings_when_down() if down else examination.findings()
    try:
        findings = await collect(source, tell)
    finally:
        if examination.backend is not None:
            await examination.backend.close()
    if as_json:
        click.echo(
            json.dumps({"url": redacted(url), "findings": [_record(each) for each in findings]}, indent=2)
        )
    else:
        click.echo(_summary(findings))
    return findings


def _exit_code(findings: list[Finding]) -> int:
    from ..doctor.fault import Level  # noqa: PLC0415
    from ..doctor.finding import worst  # noqa: PLC0415

    return {Level.OK: 0, Level.WARNING: 3, Level.FAILURE: 4}[worst(findings)]


def _record(finding: Finding) -> dict[str, object]:
    record: dict[str, object] = {
        "check": finding.check,
        "level": finding.level.name.lower(),
        "seen": redacted(finding.seen),
    }
    if fault := finding.fault:
        record["code"] = fault.code
        remedies = {"any": fault.remedy, "nginx": fault.nginx, "caddy": fault.caddy}
        record["remedy"] = {where: text for where, text in remedies.items() if text}
    return record


def _lines(finding: Finding, server: str) -> str:
    level = finding.level
    # Part of it comes from the other end, which is not to move the cursor of this terminal.
    seen = "".join(each if each.isprintable() else "?" for each in redacted(finding.seen))
    text = _wrapped(seen + (f"  [{finding.code}]" if finding.code else ""))
    lines = [f"{_mark(level)}{finding.check:<{INDENT - 8}} {text}"]
    if fault := finding.fault:
        # Only what fits the proxy that was seen, where it said its name.
        known = [kind for kind in ("nginx", "caddy") if kind in server.lower()] or ["nginx", "caddy"]
        advice = [
            fault.remedy,
            *(f"{_NAMES[kind]}: {getattr(fault, kind)}" for kind in known if getattr(fault, kind)),
        ]
        lines += [" " * INDENT + _wrapped(line) for line in advice]
    return "\n".join(lines)


_NAMES = {"nginx": "nginx", "caddy": "Caddy"}
_MARKS = {
    "OK": ("ok", "green"),
    "UNKNOWN": ("-", "white"),
    "WARNING": ("warn", "yellow"),
    "FAILURE": ("FAIL", "red"),
}


def _mark(level: Level) -> str:
    word, colour = _MARKS[level.name]
    return " " + click.style(f"{word:<6}", fg=colour, bold=level.name == "FAILURE" or None)


def _wrapped(text: str) -> str:
    width = max(40, min(110, shutil.get_terminal_size().columns) - INDENT)
    return f"\n{' ' * INDENT}".join(textwrap.wrap(text, width, break_on_hyphens=False))


def _summary(findings: list[Finding]) -> str:
    counts = {
        name: sum(each.level.name == level for each in findings)
        for name, level in (("failures", "FAILURE"), ("warnings", "WARNING"), ("not checked", "UNKNOWN"))
    }
    counts["ok"] = len(findings) - sum(counts.values())
    said = (
        f"{count} {name[:-1] if count == 1 and name[-1] == 's' else name}" for name, count in counts.items()
    )
    return f"\n {', '.join(said)}"
