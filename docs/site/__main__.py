"""Build the site: lay out the pages, have them made into HTML strictly, and look at what came out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import links, nav, pages, reference

HERE = Path(__file__).parent


def misplaced() -> list[str]:
    """What is in the tree and not in the menu, or the other way round."""
    there = {page.as_posix() for page in pages.find()} | set(reference.texts())
    listed = set(nav.pages(nav.NAV))
    return [
        *(f"{page} is not in the menu: docs/site/nav.py" for page in sorted(there - listed)),
        *(f"docs/site/nav.py: {page} is not there" for page in sorted(listed - there)),
    ]


def build(folder: Path) -> list[str]:
    """Make the site as ``folder/site``; what is wrong with it."""
    for name in ("pages", "site"):
        shutil.rmtree(folder / name, ignore_errors=True)
    layout = pages.Layout(folder / "pages")
    for page in pages.find():
        layout.add(page)
    layout.add_lists()
    for path, text in reference.texts().items():
        layout.write(Path(path), text)
    shutil.copy(HERE / "site.css", folder / "pages")
    laid = folder / "pages"
    there = {page.relative_to(laid).as_posix(): page.read_text() for page in laid.rglob("*.md")}
    menu = json.dumps(nav.menu(nav.NAV, there))
    (folder / "mkdocs.yml").write_text(f"{(HERE / 'mkdocs.yml').read_text()}nav: {menu}\n")
    made = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", folder / "mkdocs.yml"],
        env={**os.environ, "PYTHONPATH": str(pages.ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        said = made.stdout + made.stderr.partition("Traceback")[0]
        return [re.sub(r"\x1b\[[\d;]*m", "", said)]
    return [*misplaced(), *links.wrong(folder / "site")]


def main() -> int:
    """Into the folder that is named, or build/docs."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else pages.ROOT / "build" / "docs").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    complaints = build(folder)
    for each in complaints:
        print(each, file=sys.stderr)
    if not complaints:
        print(f"{folder / 'site'}: python3 -m http.server --directory {folder / 'site'}")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
