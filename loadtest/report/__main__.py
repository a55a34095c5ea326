"""Draw the picture of a run anew: ``python -m loadtest.report FILE…``.

Each FILE is the summary of a run (``summary.json``, or one of ``loadtest/results/``); the picture goes beside
it, by the same name.  Exits with 2 when one cannot be read, or when there is nothing in it to draw.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .files import drawings


def main(given: Sequence[str] | None = None) -> int:
    """Draw each."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    failed = 0
    for path in parser.parse_args(given).files:
        try:
            summary = json.loads(path.read_bytes())
            if not (found := list(drawings(summary).values())):
                raise ValueError("no timeline and samples, and no steps")
            found[-1](summary, path.with_suffix(".svg"))
        except OSError as error:
            print(f"{path}: {error.strerror}", file=sys.stderr)
            failed = 2
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            print(f"{path} is no summary of a run: {error}", file=sys.stderr)
            failed = 2
    return failed


if __name__ == "__main__":
    sys.exit(main())
