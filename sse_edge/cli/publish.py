"""``sse-edge publish``: one event, from the shell."""

from __future__ import annotations

import json
import sys
from functools import partial

import click

from ..backends.redis import RedisBackend
from ..errors import PublishError
from ..publishing.sync_publisher import SyncPublisher
from ..redaction import redacted
from .failure import Failure, Misuse
from .options import partitions_option, prefix_option, redis_option


@click.command(short_help="Publish an event.", epilog="If DATA begins with a dash, put -- before CHANNEL.")
@click.argument("channel")
@click.argument("data")
@click.option("--event", metavar="NAME", show_envvar=True, help="Name that clients listen for.")
@click.option(
    "--json",
    "is_json",
    is_flag=True,
    envvar="SSE_EDGE_PUBLISH_JSON",
    show_envvar=True,
    help="DATA has to be JSON.",
)
@redis_option("publish", "Where the application listens.")
@prefix_option("Prefix of the application's keys.")
@click.option(
    "--history", type=int, show_envvar=True,
    help="Events kept per channel, as long as no worker of the application says how many.",
)  # fmt: skip
@click.option(
    "--history-ttl", type=float, show_envvar=True, help="Seconds they are kept, likewise.",
)  # fmt: skip
@partitions_option("Partitions of the channels. As in the application, or nobody hears it.")
@click.option(
    "--dedupe-key", metavar="KEY", show_envvar=True, help="Publish only once, however often it is repeated."
)
@click.option("--except-user", metavar="USER", show_envvar=True, help="This user is not to hear it.")
@click.option("--finish", is_flag=True, show_envvar=True, help="It is the channel's last event.")
def publish(
    channel: str,
    data: str,
    event: str | None,
    is_json: bool,
    redis: str,
    prefix: str,
    history: int | None,
    history_ttl: float | None,
    partitions: int,
    dedupe_key: str | None,
    except_user: str | None,
    finish: bool,
) -> None:
    """Publish DATA to CHANNEL through Redis and print the event's id.

    With - as DATA it is read from standard input, without its last newline.

    \b
    sse-edge publish news "Hello"
    sse-edge publish order:123 '{"status": "shipped"}' --json --event status
    date | sse-edge publish clock -
    """
    if finish and except_user is not None:
        raise Misuse("--finish is for everybody: leave out --except-user")
    text = _read_stdin() if data == "-" else data
    backend = RedisBackend(
        redis, prefix=prefix, history=history, history_ttl=history_ttl, partitions=partitions
    )
    events = SyncPublisher(backend)
    send = events.finish if finish else partial(events.publish, except_user=except_user)
    try:
        if is_json:
            click.echo(send(channel, json=_parse(text), event=event, dedupe_key=dedupe_key))
        else:
            click.echo(send(channel, text, event=event, dedupe_key=dedupe_key))
    except PublishError as error:
        doubt = "; it may have been published" if error.may_have_happened else "; nothing was published"
        raise Failure(f"{redacted(redis)}: {str(error).rstrip('.')}{doubt}") from error
    finally:
        backend.close_sync()


def _read_stdin() -> str:
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Misuse(f"standard input is not UTF-8: {error}") from error
    return text.removesuffix("\n").removesuffix("\r")


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Misuse(f"DATA is not JSON: {error}") from error
