"""The client's parser in node, beside a decoder from the specification, on whatever there is to read."""

import json
import random

import pytest

from servers.node import module
from servers.sse import Decoder
from sse_edge.client.script import SERVED

READ = """
import {readFileSync} from "node:fs"
const {parser} = await import("data:text/javascript," + encodeURIComponent(readFileSync(process.argv[1])))
for (const pieces of JSON.parse(readFileSync(0))) {
    const events = []
    let id = "", comments = [], retry = null
    const feed = parser({
        block: block => {
            id = block.id ?? id
            if (block.data !== undefined) events.push([block.name || "message", block.data, id])
        },
        comment: text => comments.push(text),
        retry: ms => { retry = ms },
    })
    pieces.forEach(feed)
    console.log(JSON.stringify({events, id, comments, retry}))
}
"""


def parsed(texts):
    """What the client makes of each, in pieces."""
    with module(READ, str(SERVED), input=json.dumps(texts).encode()) as lines:
        return list(lines)


def decoded(pieces):
    """What the specification says."""
    decoder = Decoder()
    events = [list(event) for piece in pieces for event in decoder.feed(piece.encode())]
    return events, decoder.last_event_id, decoder.retry


TEXTS = [
    "data: a\n\ndata:b\r\n\r\ndata:  c\ndata\ndata: \r\n\n",
    'id: 1\nevent: status\ndata: {"a": "\u2028"}\n\nid\ndata: x\n\n',
    "id: a\0b\ndata: nul\n\n: a comment\n:\n:x\nretry: 12\nretry: 1x\nretry: -1\ndata: y\n\n",
    "event: edge-position\nid: 5-1.abcde\n\ndata: after\n\n",
    "unknown: field\nnocolon\ndata: : a: b\n\nevent: gone\n\ndata: a message\n\ndata: never ended\n",
    ": stream open\nretry: 3000\n\nid: 5-1.abcde\n\ndata\n\n",
]


def test_it_reads_as_the_specification_says():
    """However a text is cut into pieces."""
    chance = random.Random(5)
    cut = [list(text) for text in TEXTS] + [[text] for text in TEXTS]
    for _ in range(100):
        text = "".join(
            chance.choice(["\n", "\r\n", "\n\n", "data", ":", " ", "id", "é", "a", "event"])
            for _ in range(60)
        )
        at = sorted(chance.sample(range(len(text)), 3))
        cut.append([text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)])
    for pieces, found in zip(cut, parsed(cut), strict=True):
        assert (found["events"], found["id"], found["retry"]) == decoded(pieces), pieces


@pytest.mark.parametrize("text", ["data: a\r\r", "data: a\r\rdata: b\r\r"])
def test_ends_that_may_be_halves_wait(text):
    """A CR at the end may be half of a line's end: the event is read with what comes next."""
    [found] = parsed([[text, "\n"]])
    assert [[name, data] for name, data, _ in found["events"]] == [
        ["message", each[-1]] for each in text.split("\r\r")[:-1]
    ]


def test_comments_are_told():
    """Strands are told by them."""
    [found] = parsed([[": strand 1\n:strand 2\n:\n"]])
    assert found["comments"] == ["strand 1", "strand 2", ""]
