"""The catalogue: everything the doctor may find, and what to do about it."""

from __future__ import annotations

from ..fault import Fault
from .behind import BEHIND
from .front import FRONT

SECTIONS: dict[str, tuple[Fault, ...]] = {**FRONT, **BEHIND}
"""Title → faults, in the order of deploy/DOCTOR.md."""

FAULTS = {fault.code: fault for faults in SECTIONS.values() for fault in faults}
"""Code → fault."""
