import gc
import subprocess
import sys

from sse_edge.cli.serving import collector


def test_only_the_young_are_looked_at():
    """What is there at the start is never looked at again, and a full collection hardly ever comes."""
    code = (
        "import gc; from sse_edge.cli.serving import collector; made = [[n] for n in range(1000)];"
        "collector.tame();"
        "assert gc.get_threshold() == collector.THRESHOLDS, gc.get_threshold();"
        "assert gc.get_freeze_count() > 1000;"
        "assert not any(made is each for each in gc.get_objects())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_cycles_are_still_found():
    """Garbage that dies young is collected: the thresholds put the collector off, they do not end it."""
    before, count = gc.get_threshold(), gc.get_stats()[0]["collected"]
    gc.set_threshold(*collector.THRESHOLDS)
    try:
        for _ in range(collector.THRESHOLDS[0] + 1000):
            cycle = []
            cycle.append(cycle)
    finally:
        gc.set_threshold(*before)
    assert gc.get_stats()[0]["collected"] > count
