"""What answers as it is told, for what no edge of ours says: other versions, other proxies, no answer at all.

``POST /script`` takes a list of answers, each for the next request under /events: ``status``, ``headers``,
``body``, ``open`` (it goes on), ``silent`` (not even a head).  After them each request gets a stream as an
edge begins it, or the same as a poll.  ``POST /say`` is sent on all that are open, ``POST /cut`` ends them,
and ``POST /fresh`` begins anew.  ``GET /asked`` lists the requests.  The client is at /client.js, as it is,
and at /quick.js with a tenth of its patience.
"""

import asyncio
import json

from sse_edge.client.script import SOURCE

CLIENT = SOURCE.read_bytes()
QUICK = CLIENT
for slow, quick in (
    (b"SILENCE = 15e3", b"SILENCE = 700"),
    (b"AGAIN = 180e3", b"AGAIN = 2e3"),
    (b"retry = 3000", b"retry = 100"),
):
    assert slow in QUICK
    QUICK = QUICK.replace(slow, quick)
PAGE = b"<!doctype html><title>page</title>"
PLACE = "5-0.abcde"
POLL = {"events": [], "next": PLACE, "resets": [], "dropped": [], "close": None, "retry": 100}
POLLED = {"headers": {"content-type": "application/json"}, "body": json.dumps(POLL)}
STREAM = {"body": f": stream open\nretry: 100\n\nid: {PLACE}\n\n", "open": True}

script, asked, streams = [], [], []


async def app(scope, receive, send):
    """See above."""
    path = scope["path"]
    if scope["type"] != "http":
        raise ValueError(f"only http is served, and this is {scope['type']}")
    if path.startswith("/events"):
        await answer(scope, receive, send)
        return
    body, kind = PAGE, "text/html"
    headers = {}
    if path.endswith(".js"):
        body, kind = QUICK if "quick" in path else CLIENT, "text/javascript"
    elif path == "/asked":
        body, kind = json.dumps(asked).encode(), "application/json"
    elif path == "/noworkers":
        headers["content-security-policy"] = "worker-src 'none'"
    elif path == "/sandboxed":
        headers["content-security-policy"] = "sandbox allow-scripts"
    elif scope["method"] == "POST":
        told = (await receive())["body"].decode()
        if path == "/script":
            script[:] = json.loads(told)
        elif path == "/fresh":
            script.clear()
            asked.clear()
        for stream in streams:
            stream.put_nowait(told if path == "/say" else "" if path == "/script" else None)
    await begin(send, 200, {"content-type": kind, "access-control-allow-origin": "*", **headers})
    await send({"type": "http.response.body", "body": body})


async def answer(scope, receive, send):
    """As the script says next."""
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    asked.append({"path": scope["path"], "query": scope["query_string"].decode(), "headers": headers})
    said = script.pop(0) if script else POLLED if b"poll" in scope["query_string"] else STREAM
    leaves = asyncio.ensure_future(left(receive))
    if said.get("silent"):
        await leaves
        return
    plain = {"content-type": "text/event-stream", "access-control-allow-origin": headers.get("origin", "*")}
    allowed = {"access-control-allow-credentials": "true", "access-control-allow-headers": "last-event-id"}
    await begin(send, said.get("status", 200), {**plain, **allowed, **said.get("headers", {})})
    await send({"type": "http.response.body", "body": said.get("body", "").encode(), "more_body": True})
    if said.get("open"):
        said = asyncio.Queue()
        streams.append(said)
        while True:
            more = asyncio.ensure_future(said.get())
            await asyncio.wait([more, leaves], return_when=asyncio.FIRST_COMPLETED)
            if leaves.done() or more.result() is None:
                break
            await send({"type": "http.response.body", "body": more.result().encode(), "more_body": True})
        streams.remove(said)
        more.cancel()
    leaves.cancel()
    await send({"type": "http.response.body", "body": b""})


async def left(receive):
    """Wait until the client has."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def begin(send, status, headers):
    """Send the head of an answer."""
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
