"""Figures, and columns of them, as text."""

from collections.abc import Mapping, Sequence
from typing import Any

Summary = Mapping[str, Any]
"""All that is known of a run."""

Rows = list[list[str]]
"""A table's rows, the first of which are its heads; without rows where nothing was measured."""


def number(figure: float | None, unit: float = 1) -> str:
    """Three digits of it, in this unit; nothing of what was not measured."""
    if figure is None:
        return ""
    figure /= unit
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def part_name(summary: Summary, part: str) -> str:
    """The proxy by its own name."""
    return str(summary["setup"]["proxy"]) if part == "proxy" else part


def aligned(rows: Sequence[Sequence[str]], *left: int) -> list[str]:
    """Columns that end where their heads do; the named ones to the left."""
    columns = []
    for place, column in enumerate(zip(*rows, strict=True)):
        width = max(map(len, column))
        columns.append([cell.ljust(width) if place in left else cell.rjust(width) for cell in column])
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
