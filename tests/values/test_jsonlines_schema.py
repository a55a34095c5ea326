"""The log as JSON: deploy/logs.schema.json is what is logged, and what the page says."""

import ast
import functools
import gc
import json
import re
from pathlib import Path

import pytest

import sse_edge
from parts.logged import DEPLOY, SCHEMA

KINDS = {kind["properties"]["event"]["const"]: kind for kind in SCHEMA["oneOf"]}

FORMATTERS = {"request", "websocket", "server", "log"}
"""Events that the formatter names itself."""

CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
LOGGERS = {"logger", "log", "access_log", "_server_log"}


@functools.cache
def calls():
    """Every call in the modules of sse_edge that log, each with where it is."""
    found = []
    gc.disable()  # on Python 3.11 a collection during ast.parse can break it (python/cpython#106905)
    try:
        for path in Path(sse_edge.__path__[0]).rglob("*.py"):
            source = path.read_text()
            if "getLogger" in source or "about(" in source:
                calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
                found += [(f"{path.name}:{call.lineno}", call) for call in calls]
    finally:
        gc.enable()
    return found


def test_every_line_of_ours_has_a_name():
    """No call of a logger is without ``extra``."""
    logged = [
        (where, {each.arg for each in call.keywords})
        for where, call in calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in CALLS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in LOGGERS
    ]
    assert len(logged) > 50
    bare = [where for where, given in logged if "extra" not in given]
    assert bare == [], "a line of the log has a name: give these `extra=about(…)`, as CONTRIBUTING.md says"


def test_the_schema_has_every_event():
    """With the fields that it is logged with, and none besides."""
    found, wrong = set(), []
    for where, call in calls():
        name = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
        if name not in ("about", "_about") or not call.args or not isinstance(call.args[0], ast.Constant):
            continue
        event, given = call.args[0].value, {each.arg for each in call.keywords if each.arg}
        found.add(event)
        known = set(KINDS[event]["properties"]) if event in KINDS else set()
        if not given <= known:
            wrong.append(f"{where}: {event} {given - known}")
    assert wrong == [], "these fields are to be in deploy/logs.schema.json, or not to be logged"
    assert found | {"source-failed"} == set(KINDS) - FORMATTERS, (
        "deploy/logs.schema.json is to have each name of a line, and none that is gone"
    )


def table(page, head):
    rows = page.partition(head)[2].partition("\n\n")[0].split("\n")[2:]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]


def test_the_page():
    """deploy/LOGS.md has every event with its fields, and every field with its type."""
    page = (DEPLOY / "LOGS.md").read_text()
    events = {row[0].strip("`"): re.findall(r"`(\w+)`", row[2]) for row in table(page, "| `event` | when |")}
    kinds = {name: [key for key in kind["properties"] if key != "event"] for name, kind in KINDS.items()}
    assert events == kinds
    types = {}
    for kind in KINDS.values():
        for key, value in kind["properties"].items():
            if key != "event":
                types[key] = value["type"] if isinstance(value["type"], str) else value["type"][0]
    assert {row[0].strip("`"): row[1] for row in table(page, "| field |")} == types
    for name in SCHEMA["properties"]:
        assert f"| `{name}` |" in page, name


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn", "hypercorn"])
def test_a_configuration_of_the_page(server, tmp_path):
    """What it says for other servers is a configuration for logging."""
    page = (DEPLOY / "LOGS.md").read_text()
    (block,) = re.findall(r"```json\n(\{\n.*?)```", page, re.DOTALL)
    config = json.loads(block)
    assert config["formatters"] == {"json": {"()": "sse_edge.JSONLines"}}
    assert server in config["loggers"] or f"{server}.access" in config["loggers"]
