"""Whatever is said on a channel of a real Redis, a stream has events and not a line more."""

import asyncio
import json

import redis.asyncio as redis

from servers.sse import Decoder
from sse_edge import Anonymous, Publisher, SSEMiddleware

INJECTED = [
    b"id: 9-9.abcde",
    b"data: x\n\nid: 9-9.abcde",
    b"data: x\nid: 9-9.abcde",
    b"data: x\rid: 9-9.abcde",
    b"data: x\r\n\r\nid: 9-9.abcde\r\n",
    b"id: 9-9.abcde\ndata: x",
    b"retry: 1",
    b"data: x\nretry: 1",
    b"event: edge-close\ndata: x",
    b"event: error\ndata: x",
    b"event: x\revent: edge-close\ndata: x",
    b": x",
    b"data: x\n: x",
    b": except a b\ndata: x",
    b": except u\n: except v\ndata: x",
    b"data: x\n: except u",
    b": except u\nid: 9-9.abcde\ndata: x",
    b"data",
    b"data:x",
    b"\xef\xbb\xbfdata: x",
    b"",
]
"""Bodies that are no single event, each without the blank line at its end."""

PLAIN = [
    {"data": "x\n\nid: 9-9.abcde\n\n"},
    {"data": "x\rid: 9-9.abcde", "id": "9-9.abcde", "retry": 1},
    {"data": {"a\r\nid: 9": "b\n\nid: 9-9.abcde"}},
    {"data": "x", "event": "e\nid: 9-9.abcde"},
    {"data": "x", "event": "e\rdata: y"},
    {"data": "x", "event": "edge-close"},
    {"data": "x", "event_type": "open"},
    {"data": "x", "event": ["edge-close"]},
]


async def test_no_message_adds_a_line(redis_url, asgi):
    """Neither plain JSON nor announcements with the right seal move a cursor or say what the edge says."""
    settings = {"auth": Anonymous(["news"]), "channels": {"/events": "news"}, "hosts": ["testserver"]}
    edge = SSEMiddleware(backend=redis_url, **settings)
    async with edge, Publisher(redis_url) as publisher, redis.from_url(redis_url) as anybody:
        client = asgi(edge, "/events")
        await client.wait_for(b"\nid: ")
        seal = await anybody.hget("sse:clock", "seal")
        for body in INJECTED:
            for head in (seal + b" - -", b"forged - -", seal + b" 9-9 -", seal + b" - -\n"):
                for end in (b"\n\n", b"\r\r", b"\n"):
                    await anybody.publish("sse:news", b"%b\n%b%b" % (head, body, end))
        for message in PLAIN:
            await anybody.publish("sse:news", json.dumps(message))
        end = await publisher.publish("news", "the end")
        await client.wait_for(b"data: the end\n\n")
        decoder = Decoder()
        events = decoder.feed(client.body())
        assert [event.data for event in events] == [
            "x\n\nid: 9-9.abcde\n\n",
            "x\nid: 9-9.abcde",
            '{"a\\r\\nid: 9":"b\\n\\nid: 9-9.abcde"}',
            "the end",
        ]
        assert {event.event for event in events} == {"message"}
        assert decoder.comments == ["stream open"]
        assert decoder.commits == [decoder.commits[0], end]
        assert decoder.retry > 100
        assert edge.figures()["dropped"]["malformed"] > len(INJECTED)
        client.disconnect()
        await asyncio.wait_for(client.ended(), 5)
