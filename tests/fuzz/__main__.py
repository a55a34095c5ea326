"""``python -m fuzz``: look for inputs that break a promise, for a stated time; or play some again."""

import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .targets import SEEDS, SHAPES, TARGETS, play

CORPUS = Path(__file__).parent / "corpus"
"""What was found to reach something new, and what broke something once; ``make test`` plays all of it."""

LONGEST = 4096
"""Bytes of an input at most: what is slow only when it is long is looked for in ``test_fuzz.py``."""

SHARE = 0.2
"""Of the time is for the properties of ``tests/test_properties_*.py``, which are looked at once at least."""

TIMES = 2
"""How many times the examples of ``make test`` are looked at in one go; others in every go."""

STUCK = 10
"""Seconds after which an input that does not come to an end has broken something."""


def main(arguments=None):
    """Exit code 0 when nothing broke, 1 when something did, 2 for a mistake, 130 on Ctrl-C."""
    given = _parser().parse_args(arguments)
    if given.inputs:
        return _play_again(given.target, given.inputs)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: make fuzz does it, with a Python from 3.11 to 3.13", file=sys.stderr)
        return 2
    targets = [given.target] if given.target else list(TARGETS)
    ends = time.monotonic() + given.minutes * 60
    try:
        broken = [] if given.target else _look_at_properties(given.minutes * 60 * SHARE)
        for left, target in zip(range(len(targets), 0, -1), targets, strict=True):
            seconds = max(1, round((ends - time.monotonic()) / left))
            broken += _look(target, seconds, keep=given.keep)
    except KeyboardInterrupt:
        return 130
    print("\n".join(["Broken. Again, one by one:", *broken]) if broken else "Nothing broke.")
    return 1 if broken else 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description="Inputs by chance, and what they break."
    )
    parser.add_argument("target", nargs="?", choices=TARGETS, help="only this one")
    parser.add_argument("inputs", nargs="*", type=Path, help="files to play again instead")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to look, in all; 10 by default")
    parser.add_argument("--keep", action="store_true", help="add to the corpus what reached something new")
    return parser


def _play_again(target, inputs):
    broken = 0
    for path in inputs:
        try:
            play(target, path.read_bytes())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            broken = 1
            print(f"{path}: {type(error).__name__}: {error}")
        else:
            print(f"{path}: nothing broke")
    return broken


def _look_at_properties(seconds):
    files = sorted(os.path.relpath(path) for path in CORPUS.parents[1].rglob("test_properties_*.py"))
    options = ["-q", "-p", "no:cacheprovider", "-m", "not live"]
    options += ["--timeout", "600", "--show-capture", "no", *files]
    began, times = time.monotonic(), 0
    while (spent := time.monotonic() - began) < seconds:
        environment = {**os.environ, "PROPERTIES": str(TIMES)}
        command = [sys.executable, "-m", "pytest", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout[-20_000:])
            return [f"PROPERTIES={TIMES} .venv/bin/pytest {shlex.join(options)}"]
        times += TIMES
    _say("properties", f"{times} times the examples of make test in {spent:.0f} s", well=True)
    return []


def _look(target, seconds, *, keep):
    kept = CORPUS / target
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{target}-") as directory:
        new, words = Path(directory) / "new", Path(directory) / "words"
        new.mkdir()
        for number, seed in enumerate(SEEDS[target]):
            (new / f"seed-{number}").write_bytes(seed)
        words.write_text("".join(f'"{word}"\n' for word in map(_escaped, SHAPES)))
        before = set(kept.iterdir())
        options = [
            f"-max_total_time={seconds}",
            f"-timeout={STUCK}",
            f"-artifact_prefix={kept}/",
            f"-dict={words}",
            "-print_final_stats=1",
        ]
        log, code = _run(target, new, kept, *options)
        _say(target, summary(log, seconds), well=code == 0)
        if keep and code == 0:
            _run(target, kept, new, "-merge=1")
    if code == 0:
        return []
    print(log[-5000:])
    return [again(target, path) for path in sorted(set(kept.iterdir()) - before)] or [again(target)]


def _escaped(word):
    return "".join(f"\\x{byte:02x}" for byte in word)


def _run(target, *arguments):
    command = [sys.executable, "-m", "fuzz.libfuzzer", target, *map(str, arguments), f"-max_len={LONGEST}"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    return done.stdout, done.returncode


def _say(what, did, *, well):
    print(f"{what:10} {did}: {'nothing broke' if well else 'BROKEN'}", flush=True)


def summary(log, seconds):
    """What libFuzzer's log says that was done."""
    inputs = re.findall(r"^(?:stat::number_of_executed_units:\s*|#)(\d+)", log, re.MULTILINE) or [0]
    reached = re.findall(r" cov: (\d+) ", log) or [0]
    return f"{int(inputs[-1]):,} inputs in {seconds} s, {reached[-1]} places reached"


def again(target, *inputs):
    """The command that plays inputs once more, or looks for new ones where there are none."""
    return " ".join(["PYTHONPATH=.:tests .venv/bin/python -m fuzz", target, *map(os.path.relpath, inputs)])


if __name__ == "__main__":
    sys.exit(main())
