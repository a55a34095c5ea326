"""The project's pages where they are read outside the repository: on PyPI, and on the page of a release.

A link from page to page leads nowhere there.  Once pyproject.toml has ``[project.urls]`` with ``Source``, it
leads to the file at the version's tag; until then it is its text, and the file's name for whoever has
the source.  hatchling asks ``Readme`` whenever it builds; .ci/notes.py does so with what CHANGELOG.md says.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")


def outside(page: str, project: dict[str, Any]) -> str:
    """The page of a project, whose table in pyproject.toml is given, with no link that leads nowhere."""
    address = project.get("urls", {}).get("Source", "").rstrip("/")

    def away(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        if address and not target.startswith("#"):
            kind = "raw" if picture else "blob"
            return f"{picture}[{text}]({address}/{kind}/v{project['version']}/{target})"
        file = target.partition("#")[0]
        if picture:
            return f"*{text}* (`{file}`)"
        named = text.strip("`")
        if not file or (file.startswith(named) and file != named):  # a folder, by its page
            return text
        return f"`{file}`" if f"/{file}".endswith(f"/{named}") else f"{text} (`{file}`)"

    parts = CODE.split(page)  # what is shown is every other one
    parts[::2] = [LINK.sub(away, part) for part in parts[::2]]
    return "".join(parts)


class Readme(MetadataHookInterface):
    """The description of the wheel: README.md."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put it into the metadata of a build."""
        text = outside((Path(self.root) / "README.md").read_text(), metadata)
        if "urls" not in metadata:
            text += "\nThe files that are named here are in the sdist.\n"
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
