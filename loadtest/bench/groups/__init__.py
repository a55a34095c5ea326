"""What can be measured, a file for what belongs together."""

from collections.abc import Callable

from ..run import Run
from ..targets import PARTS
from . import admission, fan_out, kept, memory, publishing, stuck

MEASURES: dict[str, Callable[[Run], None]] = {
    "single": fan_out.warm,
    "burst": fan_out.warm,
    "loop": fan_out.warm,
    "memory": memory.idle,
    "first": fan_out.cold,
    "channels": fan_out.channels,
    "admission": admission.come,
    "resume": admission.come_back,
    "bytes": fan_out.compressed,
    "publishing": publishing.publishing,
    "stuck": stuck.stuck,
    "footprint": memory.footprint,
    "kept": kept.kept,
    "writing": publishing.writing,
}


def measure(run: Run) -> None:
    """All parts that the run asks for; those that are measured together once."""
    for each in dict.fromkeys(MEASURES[part] for part in PARTS if part in run.parts):
        each(run)
