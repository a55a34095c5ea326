"""Every block of Python on any page is run by a test, or is right by mypy.

The blocks of a page are modules of their own, in order.  What one uses and does not bind comes from the
nearest block before it, or else from the page's preamble, ``shown/<page>.py``, where a page speaks of what is
the reader's: an app, a function that says who may read.  What ``sse_edge`` exports need not be imported.
"""

import ast
import builtins
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sse_edge
from clients.lines import lines
from clients.lines import shown as drivers
from servers.pages import FOLLOWED, PAGES, ROOT, Block, blocks, name, programs

PREAMBLES = Path(__file__).parents[1].joinpath("shown")
RUN_BY = {
    "docs/FROM-DJANGO-EVENTSTREAM.md": "test_from_django_eventstream",
    "docs/FROM-SSE-STARLETTE.md": "test_from_sse_starlette",
    "docs/HTMX.md": "test_htmx_page",
    "docs/IDENTITY.md": "test_identity_page",
    "docs/TESTING.md": "test_testing_page",
    "deploy/CLIENTS.md": "test_clients",
}
"""Pages whose blocks are run, as they stand there, by a module of the tests."""

SHOWN_AS = """
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: allow-any-generics, implicit-reexport, check-untyped-defs
"""
"""Pages leave out types; what is there of them has to be right all the same."""
AT_THE_TOP = re.compile(r'"(await|async with|async for)" outside')
"""Pages show what stands within a coroutine without the coroutine."""


def bound(tree):
    """The names that a block gives a meaning."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=id, ctx=ast.Store()) | ast.arg(arg=id):
                yield id
            case ast.FunctionDef(name=id) | ast.AsyncFunctionDef(name=id) | ast.ClassDef(name=id):
                yield id
            case ast.ExceptHandler(name=str(id)) | ast.MatchAs(name=str(id)) | ast.MatchStar(name=str(id)):
                yield id
            case ast.alias(name=module, asname=id):
                yield id or module.partition(".")[0]


def exported(tree):
    """The names that blocks after it may use: those of its outermost level."""
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for statement in tree.body:
        if isinstance(statement, inner[:3]):
            yield statement.name
        else:
            yield from bound(statement)


def used(tree):
    """The names that a block looks at."""
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Load)}


def wanted(tree):
    """The names that a block uses and does not bind."""
    return used(tree) - set(bound(tree)) - set(dir(builtins))


def preamble(page):
    """The file with what a page does not show, whether it is there or not."""
    return PREAMBLES / Path(name(page)).with_suffix(".py")


class Shown:
    """The blocks of one page as modules in a directory, and what is wrong before mypy has seen them."""

    def __init__(self, page, code, directory):
        self.wrong = []
        stem = re.sub(r"\W", "_", name(page))
        self.modules = {}  # module → block
        sources = dict.fromkeys(sse_edge.__all__, "sse_edge")  # name → module
        given = preamble(page)
        lent = set()
        if given.exists():
            tree = ast.parse(given.read_text())
            lent = set(exported(tree))
            sources.update(dict.fromkeys(lent, f"{stem}_preamble"))
            directory.joinpath(f"{stem}_preamble.py").write_text(given.read_text() + SHOWN_AS)
            lent -= used(tree)
        for block in code:
            try:
                tree = ast.parse(block.text)
            except SyntaxError as error:
                self.wrong.append(f"{block}: {error.msg}, in line {error.lineno} of the block")
                continue
            needed = wanted(tree)
            lent -= {each for each in needed if sources.get(each, "").endswith("_preamble")}
            module = f"{stem}_{block.line}"
            imports = "; ".join(
                f"from {sources[each]} import {each}" for each in sorted(needed & set(sources))
            )
            text = imports + "\n" * (block.line - 1) + block.text + SHOWN_AS  # lines are those of the page
            directory.joinpath(f"{module}.py").write_text(text)
            self.modules[module] = block
            sources.update(dict.fromkeys(exported(tree), module))
        self.wrong += [f"{given}: no block uses {each}" for each in sorted(lent)]

    def of(self, complaints):
        """What of mypy's complaints is about this page, by the page's lines."""
        for module, line, text in complaints:
            if module in self.modules and not AT_THE_TOP.search(text):
                yield f"{name(self.modules[module].page)}:{line}: {text}"


def run_elsewhere(page):
    """The texts of the blocks that a module of the tests runs."""
    if page in FOLLOWED:
        return [block.text for block in blocks(page, "python")]
    module = RUN_BY.get(name(page))
    if module is None:
        return []
    assert page == import_module(module).PAGE
    if module == "test_clients":  # which holds the page to what the drivers run
        return [lines(driver) for driver in drivers(page.read_text())]
    return list(programs(page).values())


def examine(code, directory):
    """What is wrong with each page's blocks: page → complaints."""
    shown = {page: Shown(page, found, directory) for page, found in code.items()}
    mypy = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "--no-pretty"]
    files = sorted(str(path) for path in directory.glob("*.py"))
    done = subprocess.run([*mypy, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    complaints = re.findall(r"^(?:.*/)?(\w+)\.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    preambles = [each for each in complaints if each[0].endswith("_preamble")]
    assert preambles == []
    return {page: [*found.wrong, *found.of(complaints)] for page, found in shown.items()}


WRONG = {
    "events = Publisher()\nevents.publsh()": 'has no attribute "publsh"',
    "Channel('order:{id}', frist=1)": 'Unexpected keyword argument "frist"',
    "from sse_edge import Chanel": 'has no attribute "Chanel"',
    "events.publish('order:7', 'x')": 'Name "events" is not defined',
    "async with Publisher() as events:\n    await events.publish(7, 'x')": 'expected "str"',
    "SSEMiddleware(app, …)": "invalid character",
}
"""Blocks that pages must not have → what is to be said of each."""

NOWHERE = [ROOT / f"{number}.md" for number in range(len(WRONG))]
"""A page for each of those."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What is wrong, of all pages at once: mypy reads what they import only once."""
    code = {page: [Block(page, 3, "python", text + "\n")] for page, text in zip(NOWHERE, WRONG, strict=True)}
    for page in PAGES:
        run = run_elsewhere(page)
        code[page] = [block for block in blocks(page, "python") if block.text not in run]
    return examine(code, tmp_path_factory.mktemp("shown"))


@pytest.mark.timeout(300)  # without a cache, mypy reads Django's and FastAPI's types for half a minute
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_shows_of_python(page, found):
    """Each block that no test runs is right by mypy, with what the blocks before it have introduced."""
    assert not found[page], "\n".join(found[page])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_stands_by_itself(page):
    """None begins with an indentation: it is copied as it is, and one that goes on with another's is none."""
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        assert not block.startswith(" "), block


def test_every_preamble_has_its_page():
    """And none is left over from a page that is gone."""
    assert {path.relative_to(PREAMBLES) for path in PREAMBLES.rglob("*.py")} <= {
        Path(name(page)).with_suffix(".py") for page in PAGES
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("page", "expected"), list(zip(NOWHERE, WRONG.values(), strict=True)), ids=list(WRONG)
)
def test_what_is_not_there_is_found(page, expected, found):
    """A call, an argument, a name that do not exist."""
    assert any(expected in each for each in found[page]), found[page]
