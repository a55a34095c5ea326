"""Imports run downward only, values ← wings ← door ← cli, and never in a circle."""

import ast
import gc
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sse_edge

ROOT = Path(sse_edge.__path__[0])

LAYERS = [
    {
        "event",
        "outcome",
        "errors",
        "asgi",
        "identity",
        "pattern",
        "redaction",
        "logline",
        "tracing",
        "stored",
        "jsontext",
        "jsonlines",
        "figures",
        "leash",
        "counted",
    },
    {"admission", "delivery", "backends"},
    {
        "middleware",
        "streams",
        "terms",
        "paths",
        "publishing",
        "posting",
        "worker",
        "control",
        "lifespan",
        "refusals",
        "measurers",
        "signals",
        "asgi_server",
        "status",
        "client",
        "cookies",
        "tokens",
        "htmx",
        "django",
        "__init__",
        "__main__",
    },
    {"cli", "demo", "doctor", "testing", "top", "tune"},
]
"""The first part of a module's name below sse_edge, from the bottom up."""

WINGS = LAYERS[1]

ONLY_IN = {
    "redis": ("backends.redis",),
    "limits": ("admission.limits", "backends.redis.windows"),
    "itsdangerous": (
        "admission.signing",
        "admission.cookies",
        "admission.publish_token",
        "admission.sessions",
    ),
    "jwt": ("admission.bearer",),
    "h11": ("doctor.wire",),
    "opentelemetry": ("tracing",),
}
"""Third-party packages, and the modules or packages that may import each."""


def modules(root):
    """Every module below ``root``: dotted name without the package's own → source."""
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        if len(parts) > 1 and parts[-1] == "__init__":
            parts = parts[:-1]
        found[".".join(parts)] = path.read_text()
    return found


def violations(sources):
    """What is wrong with the imports of ``{module name: source}``, one sentence each."""
    wrong = []
    for name, source in sorted(sources.items()):
        if _layer(name) is None:
            wrong.append(f"{name} has no layer: give it one in tests/house/test_layers.py")
            continue
        for line, target in _imports(name, source, set(sources)):
            why = _outside(name, target) if target[0] != "." else _inside(name, target[1:])
            if why:
                wrong.append(f"{name}:{line} imports {target}: {why}")
    return wrong


def _outside(name, target):
    homes = ONLY_IN.get(target.partition(".")[0])
    if homes is not None and not any(_within(name, home) for home in homes):
        return f"only {' and '.join(homes)} may"
    return None


def _inside(name, target):
    own, other = _layer(name), _layer(target)
    if other is None:
        return "that module has no layer"
    if other > own:
        return "imports run downward only"
    wing, other_wing = name.partition(".")[0], target.partition(".")[0]
    if own == other and wing in WINGS and wing != other_wing and target != "backends.base":
        return "the wings know each other only through backends.base"
    return None


def circle(sources):
    """A circle in which modules of ``{module name: source}`` import each other, or folders do by whichever of
    their modules: those on the way round.  None if there is none; what is imported for types alone counts."""
    graph = {}
    for name, source in sources.items():
        for _, target in _imports(name, source, set(sources)):
            if target[0] == "." and target[1:] in sources:
                one, other = _apart(_path(name, sources), _path(target[1:], sources))
                graph.setdefault(one, set()).add(other)
    try:
        TopologicalSorter({one: others - {one} for one, others in graph.items()}).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return None


def _path(name, sources):
    """A module's name in parts; that of a folder's own module ends with __init__."""
    is_folder = any(other.startswith(name + ".") for other in sources)
    return [*name.split("."), *(["__init__"] if is_folder else [])]


def _apart(one, other):
    """Two paths up to where they part."""
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one) - 1)
    return ".".join(one[: same + 1]), ".".join(other[: same + 1])


def listed(page, package="sse_edge"):
    """The modules that a package's tree on a page has, by their dotted names."""
    found, folders = set(), {}
    for line in page.partition(f"\n{package}/\n")[2].partition("\n```")[0].split("\n"):
        indent = len(line) - len(line.lstrip())
        if not 2 <= indent <= 6:
            continue
        around = folders.get(indent - 2, "")
        for name in re.split(r"\s{2,}", line.strip())[0].split():
            module = around + name.removesuffix("/").removesuffix(".py")
            found.add(module)
            if name.endswith("/"):
                folders[indent] = module + "."
    return found


def misplaced(found, there, package="sse_edge"):
    """What a package has, ``found``, and its tree in ARCHITECTURE.md, ``there``, has not; a sentence each."""
    tree = f"the tree of {package}/ in ARCHITECTURE.md"
    return [
        *(
            f"{name} is not in {tree}: give it a line that says what it is for"
            for name in sorted(found - there)
        ),
        *(
            f"{name} is in {tree}, and not in {package}/: take its line away"
            for name in sorted(there - found)
        ),
    ]


def told(way):
    """What is wrong with a circle of modules."""
    return (
        f"these import each other in a circle, {' → '.join(way)}: move what both need to one below"
        if way
        else ""
    )


def _layer(name):
    top = name.partition(".")[0]
    return next((number for number, names in enumerate(LAYERS) if top in names), None)


def _within(name, home):
    return name == home or name.startswith(home + ".")


def _imports(name, source, known):
    """(line, what is imported) for each import: ``.a.b`` inside sse_edge, ``a.b`` outside."""
    package = set(known) | {module.rpartition(".")[0] for module in known}
    for node in ast.walk(_parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, _spell(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = _base(name, node, known)
            for alias in node.names:
                below = f"{base}.{alias.name}".replace("..", ".")
                # ``from . import x`` is the module x if there is one, and else a name in __init__.
                yield node.lineno, below if base[0] == "." and below[1:] in package else _spell_root(base)
        elif _called(node) in ("import_module", "__import__"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, _spell(argument.value)


def _parse(source):
    # On Python 3.11 a garbage collection during ast.parse can break it (python/cpython#106905).
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        gc.enable()


def _base(name, node, known):
    """The module after ``from``."""
    if not node.level:
        full = node.module
        return "." + full.removeprefix("sse_edge").lstrip(".") if _within(full, "sse_edge") else full
    is_package = any(module.startswith(name + ".") for module in known)
    parts = [] if name == "__init__" else name.split(".")
    drop = node.level - (1 if is_package or name == "__init__" else 0)
    parts = parts[: len(parts) - drop] if drop else parts
    return "." + ".".join([*parts, *filter(None, [node.module])])


def _spell(full):
    return _spell_root("." + full.removeprefix("sse_edge").lstrip(".")) if _within(full, "sse_edge") else full


def _spell_root(base):
    return ".__init__" if base == "." else base


def _called(node):
    if not isinstance(node, ast.Call):
        return None
    return getattr(node.func, "id", None) or getattr(node.func, "attr", None)


def test_the_package_keeps_to_its_layers():
    """No module of sse_edge imports upward, sideways, or a library that is another's business."""
    sources = modules(ROOT)
    assert "event" in sources
    wrong = violations(sources)
    assert wrong == [], "\n".join(wrong)


def test_nothing_goes_in_a_circle():
    """No two modules of sse_edge need each other, over however many others; nor do two folders."""
    way = circle(modules(ROOT))
    assert way is None, told(way)


def test_the_tree():
    """ARCHITECTURE.md lists every module where it is, and none that is gone."""
    page = (ROOT.parent / "ARCHITECTURE.md").read_text()
    found = {name for name in modules(ROOT) if not name.startswith("__")}
    there = {name for name in listed(page) if "*" not in name}
    wrong = misplaced(found, there)
    assert wrong == [], "\n".join(wrong)


def test_what_is_misplaced_is_told():
    """A new module, one that is gone and a circle are named, with what to do."""
    assert misplaced({"a", "new"}, {"a", "old"}) == [
        "new is not in the tree of sse_edge/ in ARCHITECTURE.md: give it a line that says what it is for",
        "old is in the tree of sse_edge/ in ARCHITECTURE.md, and not in sse_edge/: take its line away",
    ]
    assert "circle, a → b → a:" in told(["a", "b", "a"])


NEIGHBOURS = {
    "__init__": "",
    "event": "",
    "errors": "",
    "admission": "",
    "admission.gate": "",
    "admission.limits": "",
    "delivery": "",
    "delivery.hub": "",
    "backends": "",
    "backends.base": "",
    "backends.memory": "",
    "backends.redis": "",
    "backends.redis.client": "",
    "backends.redis.windows": "",
    "middleware": "",
    "publishing.publisher": "",
    "cli": "",
    "demo": "",
    "testing": "",
    "testing.client": "",
}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("event", "from .errors import EventError"),
        ("event", "import json, redislike"),
        ("admission", "from .gate import Gate"),
        ("admission.gate", "from .limits import Limits"),
        ("admission.gate", "from . import limits"),
        ("admission.gate", "from ..backends.base import Leases"),
        ("admission.gate", "from ..backends import base"),
        ("admission.gate", "import sse_edge.backends.base"),
        ("admission.limits", "import limits"),
        ("admission.limits", "from limits.aio.strategies import FixedWindow"),
        ("backends.redis.windows", "from limits.aio.storage import Storage"),
        ("backends.redis.client", "import redis.asyncio"),
        ("backends.redis", "from redis import Redis"),
        ("backends.redis.client", "from ...event import EventId"),
        ("backends.memory", "from .base import Backend"),
        ("backends", "from .redis import RedisBackend"),
        ("middleware", "from .admission.gate import Gate\nfrom .publishing.publisher import Publisher"),
        ("__init__", "from .middleware import SSEMiddleware"),
        ("__init__", "from . import event"),
        ("cli", "from . import SSEMiddleware\nfrom .demo import app"),
        ("demo", "from sse_edge import SSEMiddleware"),
        ("testing.client", "from ..middleware import SSEMiddleware\nfrom . import client"),
    ],
)
def test_an_import_that_is_allowed(name, source):
    """The checker lets pass what the layers allow."""
    assert violations({**NEIGHBOURS, name: source}) == []


@pytest.mark.parametrize(
    ("name", "source", "why"),
    [
        ("event", "from .backends.base import Numbered", "imports run downward only"),
        ("event", "from sse_edge import Event", "imports run downward only"),
        ("event", "from . import Event", "imports run downward only"),
        ("event", "import sse_edge", "imports run downward only"),
        ("errors", "import sse_edge.admission.gate", "imports run downward only"),
        ("admission.gate", "from ..middleware import SSEMiddleware", "imports run downward only"),
        ("admission.gate", "from .. import middleware", "imports run downward only"),
        ("admission.gate", "def late():\n    from sse_edge.cli import main", "imports run downward only"),
        ("admission.gate", "from ..delivery.hub import Hub", "through backends.base"),
        ("admission.gate", "from .. import delivery", "through backends.base"),
        ("admission.gate", "from ..backends import MemoryBackend", "through backends.base"),
        ("admission.gate", "from ..backends.memory import MemoryBackend", "through backends.base"),
        ("backends.memory", "from ..delivery.hub import Hub", "through backends.base"),
        (
            "delivery.hub",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..admission.gate import Gate",
            "through backends.base",
        ),
        ("publishing.publisher", "from ..cli import main", "imports run downward only"),
        ("publishing.publisher", "from ..testing import recorder", "imports run downward only"),
        ("publishing.publisher", "import redis", "only backends.redis may"),
        ("backends.memory", "from redis.asyncio import Redis", "only backends.redis may"),
        (
            "publishing.publisher",
            "import importlib\nimportlib.import_module('redis')",
            "only backends.redis may",
        ),
        ("admission.gate", "import limits", "only admission.limits and backends.redis.windows may"),
        ("backends.redis.client", "import limits", "only admission.limits and backends.redis.windows may"),
        ("middleware", "from limits import parse", "only admission.limits and backends.redis.windows may"),
        ("middleware", "import itsdangerous", "only admission.signing and admission.cookies and"),
        ("middleware", "from .helpers import thing", "no layer"),
        ("helpers", "", "no layer"),
    ],
)
def test_an_import_that_is_not_allowed(name, source, why):
    """The checker finds an import upward, between wings, or of another module's library."""
    found = violations({**NEIGHBOURS, name: source})
    assert len(found) == 1
    assert why in found[0]


@pytest.mark.parametrize(
    "planted",
    [
        {"event": "from .errors import EventError", "errors": "import json"},
        {"admission.gate": "from . import limits", "admission.limits": "from ..errors import ConfigError"},
        {"backends": "from .memory import MemoryBackend", "backends.memory": "from .base import Backend"},
        {
            "backends.memory": "from .redis.windows import PACE",
            "backends.redis.client": "from ..base import At",
        },
        {"event": "from sse_edge.event import Event"},
    ],
)
def test_what_is_no_circle(planted):
    """The checker lets pass what comes to an end."""
    assert circle({**NEIGHBOURS, **planted}) is None


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ({"event": "from .errors import EdgeError", "errors": "from .event import Event"}, "errors event"),
        ({"event": "import sse_edge.errors", "errors": "from . import event"}, "errors event"),
        (
            {
                "delivery.hub": "from .stream import Stream",
                "delivery.stream": "import typing\nif typing.TYPE_CHECKING:\n    from .hub import Hub",
            },
            "delivery.hub delivery.stream",
        ),
        ({"cli": "from ..demo import app", "demo": "def late():\n    from ..cli import main"}, "cli demo"),
        (
            {
                "admission.gate": "from .limits import Limits",
                "admission.limits": "from .origin import Origin",
                "admission.origin": "from .gate import Gate",
            },
            "admission.gate admission.limits admission.origin",
        ),
        (
            {
                "backends": "from .memory import MemoryBackend",
                "backends.memory": "from . import open_backend",
            },
            "backends.__init__ backends.memory",
        ),
        (
            {
                "backends.redis.client": "from ..memory import MemoryBackend",
                "backends.memory": "from .redis.windows import PACE",
            },
            "backends.memory backends.redis",
        ),
        (
            {"__init__": "from .event import Event", "event": "from sse_edge import errors, Event"},
            "__init__ event",
        ),
    ],
)
def test_what_is_a_circle(planted, found):
    """The checker finds a circle of two modules or more, for types alone too, and one of folders."""
    assert sorted(set(circle({**NEIGHBOURS, **planted}))) == found.split()


# The load tests

LOADTEST = ROOT.parent / "loadtest"

LOAD_LAYERS = [
    {"checker", "__init__"},
    {"client", "measure", "site"},
    {"report"},
    {"scenarios"},
    {"run", "bench", "dashboard"},
    {"__main__", "locustfile"},
]
"""The first part of a module's name below loadtest, from the bottom up."""


def upward(sources):
    """What is wrong with the imports of the load tests' modules, one sentence each."""
    layer = {name: number for number, names in enumerate(LOAD_LAYERS) for name in names}
    wrong = [
        f"{name} has no layer: give it one in tests/house/test_layers.py"
        for name in sorted(sources)
        if name.partition(".")[0] not in layer
    ]
    for name, source in sorted(sources.items()):
        for line, target in _imports(name, source, set(sources)):
            inside = target[1:] if target[0] == "." else target.removeprefix("loadtest.")
            own, other = (layer.get(each.partition(".")[0]) for each in (name, inside))
            if inside in sources and None not in (own, other) and other > own:
                wrong.append(f"{name}:{line} imports {inside}: imports run downward only")
    return wrong


def test_the_load_tests_keep_to_their_layers():
    """No module of loadtest imports upward or goes in a circle with others, for types alone neither."""
    sources = modules(LOADTEST)
    assert {"checker", "scenarios.script", "locustfile"} <= set(sources)
    wrong, way = upward(sources), circle(sources)
    assert wrong == [], "\n".join(wrong)
    assert way is None, told(way)


def test_the_tree_of_the_load_tests():
    """ARCHITECTURE.md lists every module of loadtest where it is, and none that is gone."""
    page = (ROOT.parent / "ARCHITECTURE.md").read_text()
    sources = modules(LOADTEST)
    found = {name for name in sources if not name.rpartition(".")[2].startswith("__")}
    folders = {name for name in found if any(other.startswith(f"{name}.") for other in sources)}
    there = listed(page, "loadtest")
    wrong = misplaced(found - folders, there - folders, "loadtest")
    assert wrong == [], "\n".join(wrong)


STREETS = {
    "checker": "",
    "client.stream": "from .. import checker",
    "client.swarm": "from .stream import Stream",
    "report.text": "",
    "scenarios.script": "",
    "scenarios.calm": "from .script import Script",
    "run.conductor": "from ..scenarios.script import Script",
    "locustfile": "from loadtest.run.conductor import Conductor",
}


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ({}, None),
        ({"run.round": "from . import conductor"}, None),
        (
            {"scenarios.calm": "from ..run.conductor import Conductor"},
            "scenarios.calm:1 imports run.conductor",
        ),
        (
            {"scenarios.calm": "import typing\nif typing.TYPE_CHECKING:\n    from ..run.conductor import C"},
            "scenarios.calm:3 imports run.conductor",
        ),
        ({"report.text": "from ..scenarios.calm import Storm"}, "report.text:1 imports scenarios.calm"),
        ({"run.conductor": "from .. import locustfile"}, "run.conductor:1 imports locustfile"),
        ({"checker": "from loadtest.client.stream import Stream"}, "checker:1 imports client.stream"),
        ({"helpers": ""}, "helpers has no layer"),
    ],
)
def test_an_import_upward_is_found(planted, found):
    """Each planted violation is named with its line, for types alone too, and nothing else is."""
    said = upward({**STREETS, **planted})
    assert [each.startswith(found) for each in said] == ([True] if found else [])
    assert circle({**STREETS, "client.stream": "from .swarm import Swarm"}) is not None
