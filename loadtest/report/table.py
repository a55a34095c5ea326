"""Figures, and columns of them, as text."""

from __future__ import annotations

from collections.abc import Sequence

Rows = list[list[str]]
"""A table's rows, the first of which are its heads; without rows where nothing was measured."""


def number(figure: float) -> str:
    """Three digits of it."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns that end where their heads do."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
