"""Pages that show programs: what they show, to be run."""

import re

_BLOCK = re.compile(r"```python\n(# (\w+\.py).*?)```", re.DOTALL)


def programs(page):
    """What a page shows of Python: name of the file, which each begins with → its text."""
    text = page.read_text()
    found = {name: code for code, name in _BLOCK.findall(text)}
    assert text.count("```python") == len(found), "a block has no name, or two have the same"
    return found
