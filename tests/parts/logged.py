"""The schema of the log's lines, and reading a line that is as it says."""

import json
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator

import sse_edge
from sse_edge.jsonlines import LONGEST_LINE

DEPLOY = Path(sse_edge.__path__[0]).parent / "deploy"
SCHEMA = json.loads((DEPLOY / "logs.schema.json").read_text())

VALIDATOR = Draft202012Validator(SCHEMA)


def read(line):
    """A line that is as the schema says, as an object."""
    assert line.isascii()
    assert len(line) <= LONGEST_LINE
    assert "\n" not in line.removesuffix("\n")
    said = json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    VALIDATOR.validate(said)
    return said
