"""What goes wrong is said in one line: exit code 2 for a setting or an argument, 1 for the rest."""

from __future__ import annotations

import click

from ..errors import EdgeError, FieldError
from ..redaction import redacted


class Failure(click.ClickException):
    """Ends the command with one line on stderr and exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(redacted(" ".join(message.split())))


class Misuse(Failure):
    """The same with exit code 2: what the user gave cannot work."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands may raise sse_edge's own errors."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what it raises becomes a Failure."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:  # it repeats what it does not understand
            raise click.UsageError(redacted(error.format_message()), ctx=error.ctx) from None
        except EdgeError as error:
            raise as_failure(error) from error


def as_failure(error: click.ClickException | EdgeError) -> click.ClickException:
    """An error of ours as one that ends a command; click's are such."""
    if isinstance(error, click.ClickException):
        return error
    return (Misuse if isinstance(error, FieldError) else Failure)(str(error))
