"""The lines that make a client behave: written in its driver, which runs them, and shown by the page."""

import re
import textwrap

from .scene import HERE

SUFFIXES = (".js", ".py", ".go", ".java")
_BLOCK = re.compile(r"(<!-- lines (\S+) -->\n```(\w+)\n)(.*?)(```\n)", re.DOTALL)
_LINES = re.compile(r"^[ \t]*(?://|#) lines\n(.*?)^[ \t]*(?://|#) to here\n", re.DOTALL | re.MULTILINE)


def drivers():
    """The drivers that have such lines, by their paths below tests/clients."""
    files = (file for suffix in SUFFIXES for file in HERE.rglob(f"*/*{suffix}"))
    files = (file for file in files if not {"node_modules", "target"}.intersection(file.parts))
    return sorted(str(file.relative_to(HERE)) for file in files if _LINES.search(file.read_text()))


def lines(driver):
    """The lines of a driver: what is between the marks, all such places one after the other."""
    return "".join(map(textwrap.dedent, _LINES.findall((HERE / driver).read_text())))


def shown(page):
    """The drivers whose lines a page shows, each in a block behind ``<!-- lines DRIVER -->``."""
    return [driver for _, driver, *_ in _BLOCK.findall(page)]


def with_lines(page):
    """The page with what the drivers have now."""
    return _BLOCK.sub(lambda block: f"{block[1]}{lines(block[2])}{block[5]}", page)
