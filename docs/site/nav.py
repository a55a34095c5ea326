"""What is on the site, in the order of its menu.  Every page of the tree is in it."""

from __future__ import annotations

from collections.abc import Iterator

Entry = tuple[str, "str | list[Entry]"]
"""A title, and a page or what is below."""

NAV: list[Entry] = [
    ("Home", "README.md"),
    ("Start in five minutes", "docs/START.md"),
    (
        "Frameworks",
        [
            ("What works where", "docs/FRAMEWORKS.md"),
            ("FastAPI", "docs/frameworks/FASTAPI.md"),
            ("Starlette", "docs/frameworks/STARLETTE.md"),
            ("Django", "docs/frameworks/DJANGO.md"),
            ("Litestar", "docs/frameworks/LITESTAR.md"),
            ("Quart", "docs/frameworks/QUART.md"),
            ("Flask", "docs/frameworks/FLASK.md"),
            ("Examples", "examples/README.md"),
            ("A chat", "examples/chat/README.md"),
        ],
    ),
    (
        "Clients",
        [
            ("The page's client", "docs/CLIENT.md"),
            ("Clients of others", "deploy/CLIENTS.md"),
        ],
    ),
    ("Guarantees", "deploy/GUARANTEES.md"),
    (
        "Publishing",
        [
            ("Who may hear what", "docs/CHANNELS.md"),
            ("From other languages", "docs/PUBLISHING.md"),
            ("A writer for producers", "docs/WRITING.md"),
        ],
    ),
    ("First events and finishing", "docs/EVENTS.md"),
    ("htmx", "docs/HTMX.md"),
    ("Testing", "docs/TESTING.md"),
    (
        "Operating",
        [
            ("The files", "deploy/README.md"),
            ("Settings, refusals, endings", "docs/SETTINGS.md"),
            ("Commands", "docs/COMMANDS.md"),
            ("Tuning", "deploy/TUNING.md"),
            ("Drain", "deploy/DRAIN.md"),
            ("Doctor", "deploy/DOCTOR.md"),
            ("Top", "deploy/TOP.md"),
            ("Metrics", "deploy/METRICS.md"),
            ("Dashboard", "deploy/DASHBOARD.md"),
            ("Logs", "deploy/LOGS.md"),
            ("Monitoring of others", "docs/MONITORING.md"),
            ("nginx and Caddy", "deploy/PROXIES.md"),
            ("Other proxies", "deploy/FRONTS.md"),
            ("Servers", "deploy/SERVERS.md"),
            ("Redis", "docs/REDIS.md"),
        ],
    ),
    (
        "Security",
        [
            ("Threats and controls", "SECURITY.md"),
            ("Who is it?", "docs/IDENTITY.md"),
        ],
    ),
    (
        "How it works",
        [
            ("A request's way, an event's way", "docs/HOW.md"),
            ("How it is built", "ARCHITECTURE.md"),
            ("Contributing", "CONTRIBUTING.md"),
        ],
    ),
    ("Comparison", "docs/COMPARISON.md"),
    (
        "Coming from",
        [
            ("sse-starlette", "docs/FROM-SSE-STARLETTE.md"),
            ("django-eventstream", "docs/FROM-DJANGO-EVENTSTREAM.md"),
        ],
    ),
    (
        "API reference",
        [
            ("sse_edge", "reference/sse_edge.md"),
            ("sse_edge.asgi", "reference/asgi.md"),
            ("Protocols", "reference/protocols.md"),
            ("sse_edge.cookies", "reference/cookies.md"),
            ("sse_edge.tokens", "reference/tokens.md"),
            ("sse_edge.htmx", "reference/htmx.md"),
            ("sse_edge.django", "reference/django.md"),
            ("sse_edge.testing", "reference/testing.md"),
        ],
    ),
    ("Changelog", "CHANGELOG.md"),
]


def pages(entries: list[Entry]) -> Iterator[str]:
    """The pages of a menu, in order."""
    for _, below in entries:
        if isinstance(below, str):
            yield below
        else:
            yield from pages(below)


def only(entries: list[Entry], there: set[str]) -> list[dict[str, object]]:
    """The menu as the site's generator takes it, of the pages that are there."""
    menu: list[dict[str, object]] = []
    for title, below in entries:
        if isinstance(below, str):
            menu += [{title: below}] if below in there else []
        elif inner := only(below, there):
            menu.append({title: inner})
    return menu
