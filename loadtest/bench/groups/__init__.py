"""What can be measured: a file for each group, with what it does, its rows and its tables."""

from ..run import Group
from . import (
    admission,
    channels,
    compressed,
    fan_out,
    first,
    footprint,
    kept,
    memory,
    publishing,
    resume,
    stuck,
    writing,
)

GROUPS: tuple[Group, ...] = tuple(
    module.GROUP
    for module in (
        fan_out,
        memory,
        first,
        channels,
        admission,
        resume,
        compressed,
        publishing,
        stuck,
        footprint,
        kept,
        writing,
    )
)

PARTS = {name: part for group in GROUPS for name, part in group.parts.items()}
"""What can be asked for, and what it is."""

BY_DEFAULT = tuple(name for group in GROUPS if group.by_default for name in group.parts)
"""What is measured unless something is asked for."""
