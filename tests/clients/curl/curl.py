"""curl, whose output is read as a browser would read it."""

import json
import subprocess
import sys

from servers.sse import Decoder

ARGUMENT = json.loads(sys.argv[1])


def say(**line):
    """One line of what is heard."""
    print(json.dumps(line), flush=True)


url = ARGUMENT["url"]
bare = ["curl", "-sN", url]
# lines
retrying = ["curl", "-sN", "--retry", "9", url]
# to here
with subprocess.Popen(retrying if ARGUMENT["lines"] else bare, stdout=subprocess.PIPE) as curl:
    decoder = Decoder()
    while data := curl.stdout.read1(65_536):
        for event in decoder.feed(data):
            say(event=event.event, data=event.data, id=event.id)
if curl.returncode:
    say(error=f"exit code {curl.returncode}")
say(closed=True)
