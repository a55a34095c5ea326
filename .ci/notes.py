"""The notes of a release: what CHANGELOG.md says of the version in pyproject.toml.

    .ci/notes.py    run in the directory that has both

Fails where it says nothing of that version, gives no date of its release, or still calls it unreleased.
"""

import re
import sys
import tomllib
from datetime import date
from pathlib import Path


def notes(changelog: str, version: str) -> str:
    """The text of the section of ``version``.  Raises ValueError where that is not ready to be released."""
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
    return text.strip() + "\n"


if __name__ == "__main__":
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    try:
        sys.stdout.write(notes(Path("CHANGELOG.md").read_text(), version))
    except ValueError as error:
        sys.exit(str(error))
