"""What can be measured, a file for what belongs together."""

from collections.abc import Callable

from ..arena import Arena
from ..run import Run
from . import admission, fan_out, memory, publishing, stuck

PARTS: dict[str, tuple[Callable[[Run], None], str]] = {
    "single": (fan_out.warm, "one event at a time to many streams of one channel"),
    "burst": (fan_out.warm, "100 events at 2 ms spacing to them"),
    "loop": (fan_out.warm, "how long the event loop is away meanwhile"),
    "memory": (memory.idle, "what idle streams take"),
    "first": (fan_out.cold, "the first event after connecting"),
    "channels": (fan_out.channels, "as many channels as streams"),
    "admission": (admission.come, "to let a stream in"),
    "resume": (admission.come_back, "clients that come back all at once"),
    "bytes": (fan_out.compressed, "what is sent to clients that take gzip"),
    "publishing": (publishing.publishing, "what publishing costs Redis"),
    "stuck": (stuck.stuck, "what clients that never read cost the others"),
    "footprint": (memory.footprint, "what an idle stream's memory is for"),
    "kept": (memory.kept, "what kept events take in Redis, beside what tune reckons"),
    "writing": (publishing.writing, "what a token costs, through a writer and published one by one"),
}
"""What can be asked for: how it is measured, and what it is."""

BY_DEFAULT = tuple(PARTS)[:10]
"""What is measured unless something is asked for."""


def measure(run: Run) -> None:
    """All parts that the run asks for; those that are measured together once."""
    with Arena.prepared() as run.arena:
        for each in dict.fromkeys(how for part, (how, _) in PARTS.items() if part in run.parts):
            each(run)
