"""Pages, and what they show: programs, commands, configurations."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from docs.site.pages import ROOT, find

PAGES = [ROOT / page for page in find()]
"""Every page of the tree."""

FOLLOWED = [ROOT / "docs" / "START.md", *sorted((ROOT / "docs" / "frameworks").glob("*.md"))]
"""Pages that tests follow to the letter (``reader.py``): every file that they show, and every command."""


def name(page):
    """What a page is called: its path from the top."""
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    """What a page shows between fences, without what it is indented by; ``line`` is that of its first."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{name(self.page)}:{self.line}"


_FENCED = re.compile(r"^( *)```([^\n`]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def blocks(page, *languages):
    """The blocks of a page in order: all, or those in these languages."""
    text = page.read_text()
    found = [
        Block(page, text.count("\n", 0, each.start()) + 2, each[2], textwrap.dedent(each[3]))
        for each in _FENCED.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]


_PROGRAM = re.compile(r"```python\n(# (\w+\.py).*?)```", re.DOTALL)


def programs(page):
    """What a page shows of Python: name of the file, which each begins with → its text."""
    text = page.read_text()
    found = {name: code for code, name in _PROGRAM.findall(text)}
    assert text.count("```python") == len(found), "a block has no name, or two have the same"
    return found


_TEMPLATE = re.compile(r"```html\n<!-- htmx ([\d and]+): (\w+\.html) -->\n(.*?)```", re.DOTALL)


def templates(page, version):
    """What a page shows of html for a version of htmx: name of the file → its text."""
    text = page.read_text()
    blocks = _TEMPLATE.findall(text)
    assert text.count("```html") == len(blocks), "a block does not say what it is"
    return {name: html for versions, name, html in blocks if str(version) in versions}
