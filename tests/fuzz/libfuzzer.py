"""``python -m fuzz.libfuzzer TARGET …``: one target under atheris; the rest is libFuzzer's."""

import shlex
import sys

import atheris

with atheris.instrument_imports(include=["sse_edge", "itsdangerous", "fuzz", "ipaddress", "urllib"]):
    from fuzz.targets import play

if __name__ == "__main__":
    _, name, *arguments = sys.argv
    # What libFuzzer starts itself with once more, in a shell, to merge.
    program = shlex.join([sys.executable, "-m", "fuzz.libfuzzer", name])
    atheris.Setup([program, *arguments], lambda data: play(name, data))
    atheris.Fuzz()
