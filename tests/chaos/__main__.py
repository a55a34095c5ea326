"""``python -m chaos``: play the campaigns of some seeds, and say what came of each."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from servers.processes import guard

from .campaign import play
from .plan import LAYOUTS, make_plan
from .report import details, line


def main(arguments=None):
    """Exit code 0 when every promise was kept in every campaign, 1 when one was not, 130 on Ctrl-C."""
    given = _parser().parse_args(arguments)
    layouts = LAYOUTS if given.layout == "all" else (given.layout,)
    seeds = given.seeds or [int(time.time()) if given.seed is None else given.seed]
    failed = []
    try:
        for layout in layouts:
            for seed in seeds:
                plan = make_plan(seed, layout, given.minutes * 60)
                outcome = asyncio.run(play(plan, _say if given.verbose else lambda text: None))
                _say(line(outcome))
                if not outcome.verdict.ok:
                    failed.append(plan.again)
                    _say(details(outcome))
                    _say(f"The logs, and what was seen: {_keep(outcome)}")
    except KeyboardInterrupt:
        return 130
    finally:
        guard.close()  # kills what is left
    if len(failed) > 1:
        _say("\n".join(["Failed:", *failed]))
    return 1 if failed else 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description="Faults by chance, and whether all is kept."
    )
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, help="what chance begins with; by default the time")
    seeds.add_argument("--seeds", type=_range, help="several, one after the other: 1-20 or 1,5,9")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults go on")
    parser.add_argument("--layout", choices=[*LAYOUTS, "all"], default="single", help="how Redis is set up")
    parser.add_argument("--verbose", action="store_true")
    return parser


def _range(text):
    seeds = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def _keep(outcome):
    """Write the workers' logs, the faults, and what the clients saw that are told of, to a new directory."""
    directory = Path(tempfile.mkdtemp(prefix=f"sse-edge-chaos-{outcome.plan.layout}-{outcome.plan.seed}-"))
    for name, log in outcome.logs.items():
        (directory / f"{name}.log").write_text(log)
    (directory / "faults.txt").write_text("\n".join(map(str, outcome.record.incidents)) + "\n")
    journals = outcome.record.journals | outcome.record.watchers
    for name in {violation.who for violation in outcome.verdict.violations} & set(journals):
        notes = [f"{note.at:.3f} {note}" for note in journals[name]]
        (directory / f"{name}.txt").write_text("\n".join(notes) + "\n")
    published = sorted(outcome.record.publications, key=lambda each: each.began)
    (directory / "published.txt").write_text("\n".join(map(str, published)) + "\n")
    return directory


def _say(text):
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
