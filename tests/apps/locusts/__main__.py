"""Plays cases of these modules.

    PYTHONPATH=tests:. python -m apps.locusts [CASE [ARGUMENT...]]

Without a case it takes one a line, as JSON: its name, arguments and options.  It answers with a line each.
"""

import json
import socket
import sys
import traceback

import gevent
import locust

from . import many, secured, single, told


def patched():
    """Whether this process is what Locust makes of one."""
    return {
        "gevent": socket.socket is not gevent.monkey.get_original("socket", "socket"),
        "by": locust.__name__,
    }


CASES = {
    name: each
    for module in (single, many, secured, told)
    for name, each in vars(module).items()
    if getattr(each, "__module__", None) == module.__name__
} | {"patched": patched}


def play(case, args, options):
    """What a case found, or how it failed."""
    try:
        with gevent.Timeout(20):
            return {"found": CASES[case](*args, **options)}
    except (Exception, gevent.Timeout):  # noqa: BLE001 - the test is told
        return {"error": traceback.format_exc()}


def main():
    """One case, or those that lines name."""
    if len(sys.argv) > 1:
        print(json.dumps(play(sys.argv[1], [json.loads(each) for each in sys.argv[2:]], {}), indent=1))
        return
    for line in sys.stdin:
        print(json.dumps(play(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
