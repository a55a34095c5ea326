"""Pages that show programs: what they show, to be run."""

import re

_BLOCK = re.compile(r"```python\n(# (\w+\.py).*?)```", re.DOTALL)


def programs(page):
    """What a page shows of Python: name of the file, which each begins with → its text."""
    text = page.read_text()
    found = {name: code for code, name in _BLOCK.findall(text)}
    assert text.count("```python") == len(found), "a block has no name, or two have the same"
    return found


_TEMPLATE = re.compile(r"```html\n<!-- htmx ([\d and]+): (\w+\.html) -->\n(.*?)```", re.DOTALL)


def templates(page, version):
    """What a page shows of html for a version of htmx: name of the file → its text."""
    text = page.read_text()
    blocks = _TEMPLATE.findall(text)
    assert text.count("```html") == len(blocks), "a block does not say what it is"
    return {name: html for versions, name, html in blocks if str(version) in versions}
