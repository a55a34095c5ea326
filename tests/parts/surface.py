"""All that is public, a line for each thing that can change: CONTRIBUTING.md says how long it is kept."""

import importlib
import inspect
import json
import re
from functools import partial
from pathlib import Path

import click

import sse_edge
from sse_edge import cookies, testing, tokens
from sse_edge.cli import main
from sse_edge.doctor.catalogue import FAULTS
from sse_edge.figures import FIGURES
from sse_edge.outcome import ENDINGS, REFUSALS
from sse_edge.testing import plugin

ROOT = Path(sse_edge.__file__).parent
MODULES = {
    "sse_edge": sse_edge.__all__,
    "sse_edge.asgi": ["Receive", "Request", "Scope", "Send"],
    "sse_edge.cookies": cookies.__all__,
    "sse_edge.django": ["on_commit"],
    "sse_edge.htmx": ["close", "json", "oob", "partial", "swap", "trigger"],
    "sse_edge.testing": testing.__all__,
    "sse_edge.tokens": tokens.__all__,
}
"""What may be imported."""


MADE_ALONE = {"sse_edge.MemoryBackend", "sse_edge.RedisBackend"}
"""Classes that applications only make: what the edge asks of a backend is between these two."""


INNER = {
    "sse_edge.EventError.tell",
    "sse_edge.Identity.mark",
    "sse_edge.Limits.of",
    "sse_edge.Retention.has_expired",
    "sse_edge.Retention.ms",
}
"""Members without an underscore that only the edge itself asks for."""


def public():
    """The names of the public modules: dotted name → what it is."""
    return {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module, names in MODULES.items()
        for name in names
    }


def lines():
    """Every line, by sections."""
    return {
        "python": [line for name, value in sorted(public().items()) for line in _described(name, value)],
        "fixtures": [f"pytest fixture {name}" for name in sorted(vars(plugin)) if name.startswith("sse_")],
        "commands": [
            line for name, command in sorted(main.commands.items()) for line in _command(name, command)
        ],
        "environment": sorted(_environment()),
        "requests": [f"{each.status} {each.code}" for each in sorted(REFUSALS, key=lambda each: each.code)],
        "endings": [f"{each.reason}{' (told)' if each.told else ''}" for each in sorted(ENDINGS, key=str)],
        "events": [f"event: {name}" for name in sorted(_own_events())],
        "metrics": [_metric(figure) for figure in sorted(FIGURES, key=lambda each: each.metric)],
        "log": sorted(_log()),
        "doctor": [f"{fault.code} {fault.level.name.lower()}" for _, fault in sorted(FAULTS.items())],
    }


def _described(name, value):
    if inspect.isfunction(value):
        return _call(name, value)
    if not inspect.isclass(value):
        return [f"{name} = {value!r}"]
    members = [] if name in MADE_ALONE else sorted(each for each in dir(value) if each[0] != "_")
    made = any(_is_ours(value, each) for each in ("__init__", "__new__"))  # that of a tuple is __new__
    found = _call(name, value) if made else [name]
    for member in filter(partial(_is_ours, value), members):
        if f"{name}.{member}" in INNER:
            continue
        it = inspect.getattr_static(value, member)
        if isinstance(it, property):
            found.append(f"{name}.{member}{_returned(it.fget)}")
        elif isinstance(it, classmethod | staticmethod) or inspect.isfunction(it):
            found += _call(f"{name}.{member}", getattr(value, member))
        else:
            found.append(f"{name}.{member}")
    return found


def _is_ours(value, member):
    owner = next(each for each in value.__mro__ if member in vars(each))
    return owner.__module__.startswith("sse_edge")


def _call(name, value):
    """A line for what is called, and one for each of its parameters."""
    found = [name if inspect.isclass(value) else f"{name}(){_returned(value)}"]
    for each in inspect.signature(value).parameters.values():
        if each.name == "self":
            continue
        star = "*, " if each.kind is each.KEYWORD_ONLY else ""
        written = str(each.replace(default=each.empty, annotation=each.empty))
        kind = getattr(each.annotation, "__forward_arg__", each.annotation)
        kind = "" if kind is each.empty else f": {kind}"
        # What stands for an argument that is not given has no name.
        default = "…" if type(each.default) is object else repr(each.default)
        found.append(f"{name}({star}{written}{kind}{'' if each.default is each.empty else f' = {default}'})")
    return found


def _returned(value):
    return f" -> {inspect.signature(value).return_annotation}"


def _command(name, command):
    found = [f"sse-edge {name}"]
    for each in command.params:
        if isinstance(each, click.Argument):
            found.append(f"sse-edge {name} {each.make_metavar(click.Context(command))}")
            continue
        spelled = " ".join([*each.opts, *each.secondary_opts])
        found.append(f"sse-edge {name} {spelled}{'' if each.is_flag else f' {each.type.name}'}")
    return found


def _environment():
    """Variables besides those of the options, which are called ``SSE_EDGE_COMMAND_OPTION``."""
    names = re.findall(r"SSE_EDGE_[A-Z_]*[A-Z]", "".join(path.read_text() for path in ROOT.rglob("*.py")))
    return {name for name in names if name.split("_")[2].lower() not in main.commands}


def _own_events():
    sources = "".join(path.read_text() for path in ROOT.rglob("*.py"))
    return set(re.findall(r'event(?:="|: )(edge-[a-z]+)', sources))


def _metric(figure):
    counted = "_total" if figure.kind == "counter" else ""
    values = f"{{{figure.label}}}" if figure.label else ""
    return f"sse_edge_{figure.metric}{counted}{values} {figure.kind}"


def _log():
    schema = json.loads((ROOT.parent / "deploy/logs.schema.json").read_text())
    for each in schema["oneOf"]:
        event = each["properties"]["event"]
        for name in event.get("enum", [event.get("const")]):
            fields = [field for field in each["properties"] if field != "event"]
            yield f"{name}: {' '.join(fields)}".removesuffix(": ")
