"""Pages laid out for the site under their own paths, so that links between them hold as they are.

A link to a file that is no page (a configuration, an example, results) leads to a page that shows the file,
and one to a folder to its README, or to a list of what is shown of it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

_LEFT_OUT = {"node_modules", "build", "dist", "loadtest-runs"}
_PICTURES = {".png", ".svg"}
_LANGUAGES = {".py": "python", ".js": "js", ".json": "json", ".yaml": "yaml", ".conf": "nginx"}
_FENCED = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?![a-z]+:)([^)\s#]+)(#[^)\s]+)?\)")


def find() -> list[Path]:
    """The paths of all pages of the tree, from its top."""
    found = []
    for directory, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith(".")]
        found += [Path(directory, name).relative_to(ROOT) for name in files if name.endswith(".md")]
    return sorted(found)


class Layout:
    """A folder with pages, and with what they link to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shown: set[Path] = set()  # files and folders that have a page of their own

    def add(self, page: Path) -> None:
        """Lay out a page, and the files that it links to."""
        text = (ROOT / page).read_text()
        self.write(page, "".join(self._relinked(page, text)))

    def add_lists(self) -> None:
        """Lay out a page for each folder that is linked to: a list of its files that are shown."""
        for folder in sorted(each for each in self._shown if (ROOT / each).is_dir()):
            files = sorted(each.name for each in self._shown if each.parent == folder)
            lines = [f"# {folder.as_posix()}/", "", *(f"- [`{name}`]({name}.md)" for name in files), ""]
            self.write(folder / "index.md", "\n".join(lines))

    def write(self, path: Path, text: str) -> None:
        """Lay out a page of this text."""
        (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / path).write_text(text)

    def _relinked(self, page: Path, text: str) -> Iterator[str]:
        """The text, with links to where the site has it; what is between fences stays as it is."""
        done = 0
        for fenced in _FENCED.finditer(text):
            yield _LINK.sub(lambda link: self._link(page, link), text[done : fenced.start()])
            yield fenced[0]
            done = fenced.end()
        yield _LINK.sub(lambda link: self._link(page, link), text[done:])

    def _link(self, page: Path, link: re.Match[str]) -> str:
        to, anchor = link[1].rstrip("/"), link[2] or ""
        target = Path(os.path.normpath(page.parent / to))
        path = ROOT / target
        if path.is_dir() and (path / "README.md").exists():
            return f"]({to}/README.md{anchor})"
        if path.is_dir():
            self._shown.add(target)
            return f"]({to}/index.md{anchor})"
        if path.suffix in _PICTURES and path.exists():
            (self._folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, self._folder / target)
        elif path.suffix != ".md" and path.exists():
            self._show(target)
            return f"]({to}.md{anchor})"
        return link[0]  # a page, or what is not there: the generator says so

    def _show(self, file: Path) -> None:
        """Lay out a page that shows a file."""
        if file in self._shown:
            return
        self._shown.add(file)
        text = (ROOT / file).read_text()
        fence = max(["``", *re.findall("`+", text)], key=len) + "`"
        language = _LANGUAGES.get(file.suffix, "text")
        head = f"---\ntitle: {file.name}\nsearch: {{exclude: true}}\nhide: [toc]\n---\n"
        body = f"{fence}{language}\n{text.rstrip()}\n{fence}"
        self.write(Path(f"{file}.md"), f"{head}\n# {file.as_posix()}\n\n{body}\n")
