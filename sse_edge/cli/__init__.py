"""The command line: ``sse-edge``."""

from __future__ import annotations

import click

from .demo import demo
from .doctor import doctor
from .failure import Commands
from .publish import publish
from .serve import serve
from .token import token
from .top import top
from .tune import tune


@click.group(
    cls=Commands, context_settings={"auto_envvar_prefix": "SSE_EDGE", "help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="sse_edge", prog_name="sse-edge")
def main() -> None:
    """Server-Sent Events for any ASGI app.

    \b
    See it work:        sse-edge demo
    Run your app:       sse-edge serve myapp:app
    Publish an event:   sse-edge publish news "Hello"
    Make a cookie:      sse-edge token u42
    Size a machine:     sse-edge tune --connections 10000
    Find what is wrong: sse-edge doctor https://example.com/events/me
    Watch the workers:  sse-edge top

    Every option is also read from the environment; each command's --help names the variables.
    """


main.add_command(demo)
main.add_command(serve)
main.add_command(publish)
main.add_command(token)
main.add_command(tune)
main.add_command(doctor)
main.add_command(top)
