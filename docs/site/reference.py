"""The pages of the API reference: which public names each has.  What is said of them are their docstrings."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from importlib import import_module

MODULES = {
    "reference/sse_edge.md": "sse_edge",
    "reference/asgi.md": "sse_edge.asgi",
    "reference/cookies.md": "sse_edge.cookies",
    "reference/tokens.md": "sse_edge.tokens",
    "reference/htmx.md": "sse_edge.htmx",
    "reference/django.md": "sse_edge.django",
    "reference/testing.md": "sse_edge.testing",
}
"""Page → module."""

PROTOCOLS = "reference/protocols.md"
PROTOCOLS_SHOWN = (
    "sse_edge.admission.authenticator.Authenticator",
    "sse_edge.admission.gate.Authorize",
    "sse_edge.admission.routes.ChannelMap",
    "sse_edge.admission.routes.ChannelsFor",
    "sse_edge.admission.publish_token.Verifier",
)
"""What an application's own objects and functions have to be like.  Nothing of it is imported."""


def names(module: str) -> list[str]:
    """The public names of a module: those of ``__all__``, or what it defines itself."""
    there = vars(import_module(module))
    own = [
        name
        for name, value in there.items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module
    ]
    return sorted(there.get("__all__", own), key=str.lower)


def members(public: object) -> list[str]:
    """What is shown of a class: its own names and our bases', of which it says something or that are fields.

    Of a backend that is none of what only the edge calls.
    """
    ours = (
        [base for base in inspect.getmro(public) if base.__module__.startswith("sse_edge.")]
        if inspect.isclass(public)
        else []
    )
    found = {name: value for base in reversed(ours) for name, value in vars(base).items()}
    fields = {name for base in ours for name in inspect.get_annotations(base)}
    said = {name: inspect.getdoc(value) or "" for name, value in found.items() if not name.startswith("_")}
    return [
        name
        for name, text in said.items()
        if name in fields or (text and not text.startswith("See ``Backend."))
    ]


def texts() -> dict[str, str]:
    """Page → text, of all pages."""
    texts = {path: "\n".join(_module(module)) for path, module in MODULES.items()}
    return {**texts, PROTOCOLS: "\n".join(_protocols())}


def _protocols() -> Iterator[str]:
    said = "What functions and objects of your own are given, and what they answer.  Whatever has the methods"
    yield from ("# Protocols", "", said, "fits: nothing is imported, and nothing inherited.", "")
    for name in PROTOCOLS_SHOWN:
        yield from ("", f"::: {name}")
    yield ""


def _module(module: str) -> Iterator[str]:
    yield from (f"# {module}", "", inspect.getdoc(import_module(module)) or "", "")
    yield from ("| name | |", "|---|---|")
    for name in names(module):
        public = getattr(import_module(module), name)
        own = inspect.isclass(public) or inspect.isfunction(public)  # what stands for a type has its doc
        first = ((own and inspect.getdoc(public)) or "").partition("\n")[0].replace("|", "\\|")
        yield f"| [`{name}`](#{module}.{name}) | {first} |"
    for name in names(module):
        shown = json.dumps(members(getattr(import_module(module), name)))
        yield from ("", f"::: {module}.{name}", "    options:", f"      members: {shown}")
    yield ""
