"""Parts for tests of the command line: running it in this process, and what it says."""

from click.testing import CliRunner

from sse_edge.cli import main

SECRET = "a secret of the tests"
NOBODY = "redis://:s3cret@127.0.0.1:1/0"  # the port of tcpmux, where nothing listens


def invoke(*arguments, **options):
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


def said(result, exit_code):
    """The one line of an error, when that is all a command wrote."""
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0].removeprefix("Error: ")
