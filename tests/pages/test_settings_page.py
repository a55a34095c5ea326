"""docs/SETTINGS.md: each setting is there, under a heading by which it is found, and says what None means."""

import inspect
import re
from pathlib import Path
from typing import get_args, get_type_hints

from sse_edge import SSEMiddleware

PAGE = Path(__file__).parents[2] / "docs" / "SETTINGS.md"
SECTIONS = dict(re.findall(r"^### (\w+)\n\n(.+?)\n(?=\n#)", PAGE.read_text(), re.DOTALL | re.MULTILINE))
PARAMETERS = dict(inspect.signature(SSEMiddleware).parameters)
del PARAMETERS["app"]


def test_each_setting_has_its_heading():
    """No more, and none twice."""
    assert sorted(re.findall(r"^### (\w+)$", PAGE.read_text(), re.MULTILINE)) == sorted(PARAMETERS)


def test_none_is_explained():
    """Where None may be given in place of a default, its text says what it does; and nowhere else."""
    hints = get_type_hints(SSEMiddleware.__init__)
    for name, parameter in PARAMETERS.items():
        if parameter.default is not None:
            assert ("None: " in SECTIONS[name]) == (type(None) in get_args(hints[name])), name


def test_the_defaults_are_the_middlewares():
    """Numbers and words, as far as the text begins with them."""
    for name, parameter in PARAMETERS.items():
        default, text = parameter.default, SECTIONS[name]
        if isinstance(default, str):
            assert text.startswith((f"`{default}`", f'`"{default}"`')), name
        elif isinstance(default, bool):
            assert text.startswith(f"{default}."), name
        elif isinstance(default, int | float):
            said = re.match(r"([\d,]+)( MiB)?", text)
            assert int(said[1].replace(",", "")) * (1_048_576 if said[2] else 1) == default, name
