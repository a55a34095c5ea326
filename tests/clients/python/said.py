"""What a driver was asked for, and how it says what it hears; see tests/clients/__init__.py."""

import json
import os
import sys
import threading

asked = json.loads(sys.argv[1])
url, headers, place = asked["url"], asked["headers"], asked["place"]
out, sys.stdout = sys.stdout, sys.stderr  # sseclient prints


def say(**what):
    """One line."""
    print(json.dumps(what), file=out, flush=True)


def opened(*_):
    """A stream is open."""
    say(open=True)


def heard(name, data, id):
    """The client has handed over an event."""
    say(event=name or "message", data=data, id=id or None)


def failed(error):
    """Something went wrong that the client goes on after."""
    say(error=str(error))


def run(plain, lines=None):
    """Listen in one of both ways; some clients can be ended only together with their process."""
    timer = threading.Timer(asked["seconds"], os._exit, [0])
    timer.daemon = True
    timer.start()
    try:
        (lines if asked["lines"] else plain)()
    except Exception as error:  # noqa: BLE001 - whatever the client lets through is what is to be seen
        say(raised=f"{type(error).__name__}: {error}")
    say(closed=True)
