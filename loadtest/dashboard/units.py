"""A value as Grafana says it, by its unit."""

from __future__ import annotations


def said(value: float, unit: str) -> str:
    """With three digits at most."""
    if unit == "percentunit":
        return f"{_digits(100 * value)} %"
    if unit == "s":
        return _of(value, (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0)))
    if unit == "bytes":
        return _of(value, (("B", 1.0), ("KiB", 1024.0), ("MiB", 1024.0**2), ("GiB", 1024.0**3)))
    if unit == "ops":
        return f"{said(value, 'short')}/s"
    if unit == "none":
        return _digits(value)
    return _of(value, (("", 1.0), ("K", 1e3), ("Mil", 1e6)))


def _of(value: float, scale: tuple[tuple[str, float], ...]) -> str:
    """In the largest of these that it has one of."""
    name, one = next((each for each in reversed(scale) if abs(value) >= each[1]), scale[0])
    if value == 0:
        name, one = next(each for each in scale if each[1] == 1)
    return f"{_digits(value / one)} {name}".strip()


def _digits(value: float) -> str:
    places = max(0, 2 - len(str(int(abs(value)))) + 1) if value != int(value) else 0
    text = f"{value:.{places}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) if value else "0"
