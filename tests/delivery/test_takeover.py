"""Which connections are taken over from uvicorn, and how it is said that one is not."""

import asyncio
import logging
import logging.handlers
import socket
from types import SimpleNamespace

import pytest
import uvicorn

from parts.sinks import HEADERS, PATIENCE, eventually, get
from sse_edge import Anonymous, ConfigError, SSEMiddleware
from sse_edge.delivery import transport
from sse_edge.delivery.sink import TaskSink
from sse_edge.delivery.transport import HandoverSink, open_sink, takes_over

pytestmark = pytest.mark.usefixtures("uncomplaining")


# Which sink
class StandIn:
    """What HandoverSink needs of a transport."""

    protocol = None

    def write(self, data):
        """See asyncio."""

    def close(self):
        """See asyncio."""

    def abort(self):
        """See asyncio."""

    def is_closing(self):
        """See asyncio."""
        return False

    def get_write_buffer_size(self):
        """See asyncio."""
        return 0

    def set_write_buffer_limits(self, high=None, low=None):
        """See asyncio."""

    def get_extra_info(self, name):
        """See asyncio."""

    def get_protocol(self):
        """See asyncio."""
        return self.protocol

    def set_protocol(self, protocol):
        """See asyncio."""
        self.protocol = protocol


def cycle(*, module="uvicorn.protocols.http.other", name="Cycle", without=(), blunt=(), **methods):
    """An object with the features of uvicorn's request cycle, some of its parts ``without`` features.

    Its transport is without the ``blunt`` ones, and has other ``methods``.
    """

    async def send(self, message):
        """See ASGI."""

    async def receive(self):
        """See ASGI."""

    made = type(name, (), {"__module__": module, "send": send, "receive": receive})()
    inherited = {key: value for key, value in vars(StandIn).items() if key not in blunt and key[0] != "_"}
    made.transport = type("Transport", (), {**inherited, **methods})()
    made.flow = SimpleNamespace(read_paused=False, write_paused=False, drain=None)
    made.scope = {"http_version": "1.1", "method": "GET"}
    made.chunked_encoding = None
    made.disconnected, made.access_log, made.default_headers = False, False, []
    state = SimpleNamespace(connections=set(), total_requests=0)
    parts = {
        "cycle": made,
        "scope": made.scope,
        "server_state": state,
        "connection_lost": print,
        "loop": None,
    }
    made.transport.protocol = type("Protocol", (), {})()
    vars(made.transport.protocol).update(parts)
    for feature in without:
        part, _, name = feature.rpartition(".")
        delattr(
            {"": made, "flow": made.flow, "protocol": made.transport.protocol, "state": state}[part], name
        )
    return made


@pytest.fixture
def sayings(caplog, monkeypatch):
    """What the edge's log says, none of these kinds being known yet."""
    monkeypatch.setattr(transport, "_judged", {})
    caplog.set_level(logging.INFO, "sse_edge")
    return lambda: [record.getMessage() for record in caplog.records]


LEFT = "the connections of this uvicorn are not taken over (uvicorn.protocols.http.other)"


def test_recognised_by_feature(sayings):
    """Whatever of uvicorn has the features is taken over, by whatever name it goes."""
    for name in ("RequestResponseCycle", "Renamed"):
        one = cycle(name=name)
        assert type(open_sink(one.send, one.receive, HEADERS)) is HandoverSink
        assert type(open_sink(one.send, one.receive, HEADERS, handover=False)) is TaskSink
    assert sayings() == []


FEATURES = [
    *transport._CYCLE,
    *(f"flow.{name}" for name in transport._FLOW),
    *(f"protocol.{name}" for name in transport._PROTOCOL),
    *(f"state.{name}" for name in transport._STATE),
]


@pytest.mark.parametrize("feature", FEATURES)
def test_without_a_feature(sayings, feature):
    """A uvicorn that lacks anything inside keeps its connections, and that is said once."""
    kinds = None
    for _ in range(3):
        one = cycle(without=[feature])
        kinds = kinds or (type(one), type(one.transport), type(one.transport.protocol))
        one.__class__, one.transport.__class__, one.transport.protocol.__class__ = kinds
        assert type(open_sink(one.send, one.receive, HEADERS)) is TaskSink
    assert sayings() == [LEFT]


@pytest.mark.parametrize("feature", transport._TRANSPORT)
def test_transport_without_a_feature(sayings, feature):
    """The same where the connection's transport is another."""
    one = cycle(blunt=[feature])
    for _ in range(3):
        assert type(open_sink(one.send, one.receive, HEADERS)) is TaskSink
    assert sayings() == [LEFT]


def refuses(self, protocol):
    """A ``set_protocol`` that says so."""
    raise NotImplementedError


def ignores(self, protocol):
    """One that does as if."""
    self.protocol = None


@pytest.mark.parametrize("set_protocol", [refuses, ignores])
def test_transport_that_keeps_its_protocol(sayings, set_protocol):
    """The same where it does not take another protocol: found out with the first request, for all."""
    one = cycle(set_protocol=set_protocol)
    protocol = one.transport.protocol
    for _ in range(3):
        one.transport.protocol = protocol
        assert type(open_sink(one.send, one.receive, HEADERS)) is TaskSink
    assert sayings() == [LEFT]


def test_client_that_has_left(sayings):
    """A connection that is gone says nothing about the others of its kind."""
    one = cycle()
    one.transport.protocol = None
    assert type(open_sink(one.send, one.receive, HEADERS)) is TaskSink
    assert sayings() == []


def test_each_kind_is_said_once(sayings):
    """Two that differ are said of separately."""
    ones = [cycle(module=f"uvicorn.{name}", without=["flow"]) for name in ("a", "b")]
    for _ in range(2):
        for one in ones:
            open_sink(one.send, one.receive, HEADERS)
    text = "the connections of this uvicorn are not taken over (uvicorn.{})"
    assert sayings() == [text.format(name) for name in ("a", "b")]


def test_not_uvicorn(sayings):
    """The same features outside uvicorn mean nothing."""
    for module in ("uvicornlike.http", "hypercorn.protocol", "myapp"):
        one = cycle(module=module)
        assert type(open_sink(one.send, one.receive, HEADERS)) is TaskSink
    assert sayings() == []


def test_not_the_servers_own(sayings):
    """A ``send`` or ``receive`` that something wraps, or that belong to two requests, are not bypassed."""
    one, other = cycle(), cycle()

    async def wrapped(*message):
        """Whatever a middleware does."""

    for send, receive in ((wrapped, one.receive), (one.send, wrapped), (one.send, other.receive)):
        assert type(open_sink(send, receive, HEADERS)) is TaskSink
    assert sayings() == []


def test_said_by_the_environment(monkeypatch):
    """SSE_EDGE_SINK is auto, handover or task; anything else is refused when the edge is made, by name."""
    assert takes_over("auto")
    assert takes_over("handover")
    assert not takes_over("task")
    for said in ("", "Task", "uvicorn"):
        monkeypatch.setenv("SSE_EDGE_SINK", said)
        with pytest.raises(ConfigError, match="SSE_EDGE_SINK") as caught:
            SSEMiddleware(auth=Anonymous(), channels={"/events/news": "news"})
        assert repr(said) in str(caught.value)


@pytest.mark.parametrize(
    ("said", "kind"), [("auto", HandoverSink), ("handover", HandoverSink), ("task", TaskSink)]
)
async def test_environment_decides(monkeypatch, said, kind):
    """With SSE_EDGE_SINK=task no connection is taken over."""
    monkeypatch.setenv("SSE_EDGE_SINK", said)
    opened = []
    monkeypatch.setattr(
        "sse_edge.streams.outlet.open_sink",
        lambda *given, **options: opened.append(open_sink(*given, **options)) or opened[-1],
    )
    edge = SSEMiddleware(auth=Anonymous(), channels={"/events/news": "news"})
    config = uvicorn.Config(edge, http="httptools", ws="none", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await eventually(lambda: server.started)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(get("/events/news"))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"retry")
        writer.close()
        await writer.wait_closed()
        server.should_exit = True
        await task
    assert [type(sink) for sink in opened] == [kind]
