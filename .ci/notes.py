"""The notes of a release: what CHANGELOG.md says of the version in pyproject.toml, and how to install it.

    .ci/notes.py    run in the directory that has both

They are read on the page of a release, where every end of a line shows and links between pages lead nowhere.
Fails where it says nothing of that version, gives no date of its release, or still calls it unreleased.
"""

import re
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

from readme import CODE, outside

INSTALL = """\
## Install and check

Put the files of this release into one directory:

```
sha256sum --check SHA256SUMS
pip install "./sse_edge-{version}-py3-none-any.whl[server]"
```

`SHA256SUMS` has every other file. The tag v{version} makes this wheel and this sdist again, byte for byte: \
`make release`. `sse_edge-{version}.cdx.json` (CycloneDX) names what pip installs beside the wheel, with \
licences and hashes. Files that are named without a link are in the sdist.
"""

ATTESTED = """
Which workflow has built a file: `gh attestation verify FILE --repo {repository}`.
"""


def section(changelog: str, version: str) -> tuple[str, str]:
    """Day and text of the section of ``version``.  Raises ValueError where that is not ready."""
    sections = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    named = [section.partition("\n") for section in sections if section.split(maxsplit=1)[0] == version]
    if len(named) != 1:
        raise ValueError(f"CHANGELOG.md has {len(named) or 'no'} sections of {version}, and not one")
    ((heading, _, text),) = named
    dated = re.fullmatch(re.escape(version) + r" \((\d{4}-\d\d-\d\d)\)", heading.strip())
    if dated is None:
        raise ValueError(f"CHANGELOG.md says “{heading.strip()}”, and not “{version} (YYYY-MM-DD)”")
    try:
        date.fromisoformat(dated[1])
    except ValueError as error:
        raise ValueError(
            f"CHANGELOG.md dates {version} {dated[1]}, and there is no such day: {error}"
        ) from None
    if "unreleased" in text.lower() or not text.strip():
        raise ValueError(f"what CHANGELOG.md says of {version} is empty, or says “unreleased”")
    return dated[1], text.strip() + "\n"


def unwrapped(text: str) -> str:
    """Each paragraph and each item on one line."""
    parts = CODE.split(text)
    parts[::2] = [re.sub(r"(?<=\S)\n *(?![\s#|]|- |\d+\. |$)", " ", part) for part in parts[::2]]
    return "".join(parts)


def notes(changelog: str, project: dict[str, Any]) -> str:
    """The notes of the version of a project, whose table in pyproject.toml is given."""
    version = project["version"]
    day, text = section(changelog, version)
    summary, _, changes = re.sub("^##(#+ )", r"#\1", text, flags=re.MULTILINE).partition("\n## ")
    install = INSTALL.format(version=version)
    _, forge, repository = project.get("urls", {}).get("Source", "").rstrip("/").partition("//github.com/")
    if forge:
        install += ATTESTED.format(repository=repository)
    parts = [f"# sse_edge {version}", f"Released {day}.", summary.strip(), install.strip()]
    parts += [f"## {changes.strip()}"] if changes else []
    return outside(unwrapped("\n\n".join(parts)), project) + "\n"


if __name__ == "__main__":
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    try:
        sys.stdout.write(notes(Path("CHANGELOG.md").read_text(), project))
    except ValueError as error:
        sys.exit(str(error))
