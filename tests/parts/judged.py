"""Parts for tests of what the doctor makes of answers: some of them, and which faults were found."""

from sse_edge.doctor.wire import Answer, End

STREAM = ("content-type", "text/event-stream")
GREETING = b": stream open\nretry: 3000\n"


def answer(status=200, headers=(STREAM,), body=((0.1, GREETING),), end=End.OPEN, end_at=0.0, head_at=0.1):
    """An answer as it was seen."""
    return Answer(status, list(headers), head_at, list(body), end, end_at)


def said(*pairs, status=200):
    """An answer with these headers."""
    return answer(status, [STREAM, *pairs])


def codes(findings):
    """The faults among findings, or of one."""
    return [each.code for each in (findings if isinstance(findings, list) else [findings]) if each.code]


HTML = ("content-type", "text/html")
JSON = ("content-type", "application/json")

REFUSED = answer(body=[(0.1, b"event: edge-refused\ndata: {}\n\n")], end=End.CLEAN)

HUNG_UP = answer(0, [], [], End.CUT, head_at=None)
PAGE = [(0.1, b"<html>")]
