"""What goes wrong is said in one line: exit code 2 for a setting or an argument, 1 for the rest."""

from __future__ import annotations

import click

from ..errors import EdgeError, FieldError
from ..logline import escaped
from ..redaction import redacted


class Failure(click.ClickException):
    """Ends the command with one line on stderr and exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(escaped(redacted(" ".join(message.split()))))


class Misuse(Failure):
    """The same with exit code 2: what the user gave cannot work."""

    exit_code = 2


ENDS = (SystemExit, KeyboardInterrupt, EOFError, click.ClickException, click.Abort, click.exceptions.Exit)
"""What an application may raise that would end the command in its own words."""


def ended(who: str, error: BaseException) -> Failure:
    """What ``who`` ended the command with, with its exit code, if it is one."""
    code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", 1)
    said = error.format_message() if isinstance(error, click.ClickException) else str(error)
    failure = Failure(f"{who}: ended with {type(error).__name__}{f': {said}' if said else ''}")
    code = 0 if code is None else code if isinstance(code, int) else 1
    failure.exit_code = code  # type: ignore[misc]  # click declares it as its class's
    return failure


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
