"""What is on the site, in the order of its menu.  Every page of the tree is in it, by its own heading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Entry = str | tuple[str, list[str]]
"""A page, or what several have in common, and those."""

NAV: list[Entry] = [
    "README.md",
    "docs/START.md",
    (
        "Your framework",
        [
            "docs/FRAMEWORKS.md",
            "docs/frameworks/FASTAPI.md",
            "docs/frameworks/STARLETTE.md",
            "docs/frameworks/DJANGO.md",
            "docs/frameworks/LITESTAR.md",
            "docs/frameworks/QUART.md",
            "docs/frameworks/FLASK.md",
            "examples/README.md",
            "examples/chat/README.md",
        ],
    ),
    ("Who may listen", ["docs/CHANNELS.md", "docs/IDENTITY.md"]),
    ("Publishing", ["docs/EVENTS.md", "docs/WRITING.md", "docs/PUBLISHING.md"]),
    ("The page", ["docs/CLIENT.md", "docs/HTMX.md", "deploy/CLIENTS.md"]),
    "docs/TESTING.md",
    "docs/SETTINGS.md",
    "docs/COMMANDS.md",
    (
        "Setting it up",
        [
            "deploy/README.md",
            "docs/REDIS.md",
            "deploy/PROXIES.md",
            "deploy/FRONTS.md",
            "deploy/SERVERS.md",
            "deploy/TUNING.md",
            "deploy/DRAIN.md",
        ],
    ),
    (
        "Watching it",
        [
            "deploy/DOCTOR.md",
            "deploy/TOP.md",
            "deploy/METRICS.md",
            "deploy/DASHBOARD.md",
            "deploy/LOGS.md",
            "docs/MONITORING.md",
        ],
    ),
    ("What is promised", ["deploy/GUARANTEES.md", "SECURITY.md"]),
    ("Choosing", ["docs/COMPARISON.md", "docs/FROM-SSE-STARLETTE.md", "docs/FROM-DJANGO-EVENTSTREAM.md"]),
    (
        "API reference",
        [
            "reference/sse_edge.md",
            "reference/asgi.md",
            "reference/protocols.md",
            "reference/cookies.md",
            "reference/tokens.md",
            "reference/htmx.md",
            "reference/django.md",
            "reference/testing.md",
        ],
    ),
    ("Inside", ["docs/HOW.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]),
    "CHANGELOG.md",
]


def pages(entries: list[Entry]) -> Iterator[str]:
    """The pages of a menu, in order."""
    for entry in entries:
        yield from [entry] if isinstance(entry, str) else entry[1]


def heading(text: str) -> str:
    """What a page calls itself, as plain text."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1].replace("`", "") if found else ""


def menu(entries: list[Entry], there: Mapping[str, str]) -> list[dict[str, object]]:
    """The menu as the site's generator takes it, of the pages that are ``there``: page → text."""
    made: list[dict[str, object]] = []
    for entry in entries:
        below = [entry] if isinstance(entry, str) else entry[1]
        listed: list[dict[str, object]] = [{heading(there[page]): page} for page in below if page in there]
        made += listed if isinstance(entry, str) or not listed else [{entry[0]: listed}]
    return made
