"""What a site of HTML refers to, and whether that is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
_PLAIN = re.compile(r"^\s*(?:[-*] |\d+\. |\| |```)", re.MULTILINE)


@dataclass
class Page:
    """A page as a browser reads it."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    """Paragraphs that look like Markdown which was not taken for what it is."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._paragraph: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.page.anchors.add(value)
            elif (tag, name) in _LOADED and value:
                self.page.loaded.append(value)
            elif (tag, name) == ("a", "href") and value:
                self.page.links.append(value)
        if tag == "p":
            self._paragraph = ""

    def handle_data(self, data: str) -> None:
        if self._paragraph is not None:
            self._paragraph += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "p" and self._paragraph is not None:
            if _PLAIN.search(self._paragraph):
                self.page.plain.append(self._paragraph)
            self._paragraph = None


def read(file: Path) -> Page:
    """What a page of HTML has in it."""
    reader = _Reader()
    reader.feed(file.read_text())
    reader.close()
    return reader.page


def wrong(site: Path) -> Iterator[str]:
    """What is wrong with a site: links that lead nowhere, what comes from elsewhere, plain Markdown."""
    pages = {file.resolve(): read(file) for file in site.rglob("*.html")}
    for file, page in pages.items():
        where = file.relative_to(site.resolve()).as_posix()
        yield from (f"{where}: is no paragraph: {each[:70]!r}" for each in page.plain)
        for link in [*page.links, *page.loaded]:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                if link in page.loaded and url.scheme != "data":
                    yield f"{where}: loads {link}"
                continue
            if where == "404.html":  # which is shown at any path, with links from the top
                continue
            target = (file.parent / unquote(url.path)).resolve() if url.path else file
            if not target.is_file():
                yield f"{where}: {link} is not there"
            elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].anchors:
                yield f"{where}: {link} has no such place"
    for file in site.rglob("*.css"):
        for url in re.findall(r"(?:url\(|@import )['\"]?((?:https?:)?//[^'\")]+)", file.read_text()):
            yield f"{file.name}: loads {url}"
