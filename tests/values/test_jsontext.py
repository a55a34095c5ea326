"""What an event's ``json`` may be, and that its text is the same with orjson and without."""

import json
import math
from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from ipaddress import ip_address, ip_network
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from uuid import UUID, uuid4

import attrs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass as pydantic_dataclass

from parts.hostile import looking_at
from sse_edge import ConfigError, Event, EventError, Publisher, SyncPublisher, jsontext
from sse_edge.jsontext import HINT

ONE = UUID("00000000-0000-4000-8000-000000000001")
AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


class State(Enum):
    OPEN = "open"
    AT = AT
    NESTED = (1, ONE)


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Flag(IntFlag):
    A = 1
    B = 2


@dataclass
class Line:
    sku: str
    price: Decimal
    when: datetime | None = None
    tags: set[str] = field(default_factory=set)


@dataclass(slots=True, frozen=True)
class Slotted:
    id: UUID


@attrs.define
class Shelf:
    lines: list[Line]
    state: State = State.OPEN


class Order(pydantic.BaseModel):
    id: UUID
    at: datetime
    total: Decimal
    every: timedelta = timedelta(minutes=90)
    code: str = pydantic.Field(default="x", alias="theCode")

    @pydantic.computed_field
    @property
    def is_large(self) -> bool:
        return self.total > 100

    @pydantic.field_serializer("total", when_used="json")
    def _total(self, total: Decimal) -> str:
        return f"{total} EUR"


class Anything(pydantic.BaseModel):
    held: object


@pydantic_dataclass
class Parcel:
    order: Order
    weight: float


Point = namedtuple("Point", "x y")


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "not this"


class Number(int):
    def __repr__(self):
        return "not this"

    __str__ = __repr__


class Half(float):
    def __repr__(self):
        return "not this"


class Doubled(dict):
    def items(self):
        return [(key, 2 * value) for key, value in super().items()]


class Reversed(list):
    def __iter__(self):
        return reversed([*super().__iter__()])


ORDER = Order(id=ONE, at=AT, total=Decimal("9.90"))
ORDER_JSON = (
    f'{{"id":"{ONE}","at":"2026-03-01T12:30:00Z","total":"9.90 EUR",'
    '"every":"PT1H30M","code":"x","is_large":false}'
)

WRITTEN = [
    # what json.dumps takes
    ({"a": [1, None, True, 1.5, "é\n\u2028"]}, '{"a":[1,null,true,1.5,"é\\n\u2028"]}'),
    ("text", '"text"'),
    ([], "[]"),
    ({}, "{}"),
    ((1, (2, 3)), "[1,[2,3]]"),
    (2**70, str(2**70)),
    (-(2**63) - 1, str(-(2**63) - 1)),
    ([1e16, 1e-5, 1e-7, 1.5e300, 5e-324, -0.0, 0.00012], "[1e+16,1e-05,1e-07,1.5e+300,5e-324,-0.0,0.00012]"),
    ({1: "a", 2.5: "b", None: "c", False: "e"}, '{"1":"a","2.5":"b","null":"c","false":"e"}'),
    ("0.0000 null 1e-7", '"0.0000 null 1e-7"'),
    # subclasses of those
    ([Text("a"), Number(5), Half(0.5)], '["a",5,0.5]'),
    ({Text("k"): 1, Number(6): 2}, '{"k":1,"6":2}'),
    (Doubled(a=1), '{"a":2}'),
    (Reversed([1, 2]), "[2,1]"),
    (Point(1, [2]), "[1,[2]]"),
    ([OrderedDict(b=1), defaultdict(int, a=2), Counter("z")], '[{"b":1},{"a":2},{"z":1}]'),
    ([Level.LOW, Word.YES, Flag.A | Flag.B], '[1,"yes",3]'),
    ({Level.LOW: Word.YES, Word.YES: Level.LOW}, '{"1":"yes","yes":1}'),
    # the others
    ([State.OPEN, State.AT, State.NESTED], f'["open","2026-03-01T12:30:00Z",[1,"{ONE}"]]'),
    (AT, '"2026-03-01T12:30:00Z"'),
    (AT.replace(microsecond=1200), '"2026-03-01T12:30:00.001200Z"'),
    (datetime(2026, 3, 1), '"2026-03-01T00:00:00"'),
    (AT.astimezone(timezone(timedelta(hours=-2, minutes=-30))), '"2026-03-01T10:00:00-02:30"'),
    ([date(2026, 3, 1), time(12, 30)], '["2026-03-01","12:30:00"]'),
    (time(1, 2, 3, 4, tzinfo=UTC), '"01:02:03.000004Z"'),
    (timedelta(days=400, seconds=3661, microseconds=500_000), '"P400DT1H1M1.5S"'),
    ([timedelta(0), timedelta(minutes=-1), timedelta(microseconds=1)], '["PT0S","-PT1M","PT0.000001S"]'),
    ([timedelta.min, timedelta.max], '["-P999999999D","P999999999DT23H59M59.999999S"]'),
    ([ONE, Decimal("1.10"), Decimal("1E+5")], f'["{ONE}","1.10","1E+5"]'),
    ([{1}, frozenset("a"), deque([1, 2]), {"k": 1}.keys()], '[[1],["a"],[1,2],["k"]]'),
    ([MappingProxyType({"a": ONE}), UserDict(b=1)], f'[{{"a":"{ONE}"}},{{"b":1}}]'),
    ([Path("/a/b"), PureWindowsPath("c:\\x")], '["/a/b","c:\\\\x"]'),
    ([ip_address("192.0.2.1"), ip_network("2001:db8::/32")], '["192.0.2.1","2001:db8::/32"]'),
    (Slotted(ONE), f'{{"id":"{ONE}"}}'),
    (
        Shelf([Line("a", Decimal("1.5"), AT, {"new"})]),
        '{"lines":[{"sku":"a","price":"1.5","when":"2026-03-01T12:30:00Z","tags":["new"]}],"state":"open"}',
    ),
    (ORDER, ORDER_JSON),
    ({"orders": [ORDER, {"deep": (ORDER,)}]}, f'{{"orders":[{ORDER_JSON},{{"deep":[{ORDER_JSON}]}}]}}'),
    (Parcel(ORDER, 1.5), f'{{"order":{ORDER_JSON},"weight":1.5}}'),
    (pydantic.RootModel[list[date]]([date(2026, 3, 1)]), '["2026-03-01"]'),
    (Anything(held={"a": Point(1, 2)}), '{"held":{"a":[1,2]}}'),
    # keys
    ({ONE: 1, State.OPEN: 2, date(2026, 3, 1): 3}, f'{{"{ONE}":1,"open":2,"2026-03-01":3}}'),
    ({"deep": [{ONE: {State.AT: 1}}]}, f'{{"deep":[{{"{ONE}":{{"2026-03-01T12:30:00Z":1}}}}]}}'),
    ({PurePosixPath("/a"): {1: ORDER}}, f'{{"/a":{{"1":{ORDER_JSON}}}}}'),
]  # fmt: skip


@pytest.fixture(params=["orjson", "json"])
def way(request, monkeypatch):
    """With orjson, and as if there were none."""
    if request.param == "json":
        monkeypatch.setattr(jsontext, "_fast", None)
    else:
        assert jsontext._fast is not None


both_ways = pytest.mark.usefixtures("way")


@both_ways
@pytest.mark.parametrize(("value", "text"), WRITTEN, ids=range(len(WRITTEN)))
def test_written(value, text):
    """These values are this text, at any depth, and as far as Python can read it back it is what it was."""
    assert Event(json=value).data == text
    assert Event(json=[{"in": value}]).data == f'[{{"in":{text}}}]'
    json.loads(text)


class Own:
    def __init__(self, value):
        self.value = value


def encode(value):
    """A ``default`` as the json module wants it."""
    if isinstance(value, Own):
        return value.value
    if isinstance(value, type(iter([]))):
        return list(value)
    raise TypeError(f"no {value!r}")


@both_ways
def test_default_is_for_the_rest():
    """What nobody else knows is given to default, also within a model, and what comes of that is written."""
    value = {
        "own": Own({"at": AT, "own": Own([ORDER])}),
        ONE: Own(1),
        "at": AT,
        "held": Anything(held=Own({ONE: AT})),
    }
    text = (
        f'{{"own":{{"at":"2026-03-01T12:30:00Z","own":[{ORDER_JSON}]}},"{ONE}":1,"at":"2026-03-01T12:30:00Z",'
        f'"held":{{"held":{{"{ONE}":"2026-03-01T12:30:00Z"}}}}}}'
    )
    assert Event(json=value, default=encode).data == text


@both_ways
@pytest.mark.parametrize("beside", [1, None, 1e-7, ONE])
def test_default_is_asked_once(beside):
    """An iterator that it reads is not read again, whatever else is there: nothing of it goes missing."""
    rows = iter([1, 2])
    assert Event(json={"rows": rows, "beside": {ONE: beside}}, default=encode).data.startswith(
        '{"rows":[1,2],'
    )


@both_ways
async def test_publishers_take_default():
    """Both publishers ask the same function for whatever they publish as JSON."""
    url = f"memory://{uuid4().hex}"
    events = Publisher(url, default=encode)
    await events.publish("c", json=Own(1))
    SyncPublisher(url, default=encode).publish("c", json=Own(2))
    await events.finish("c", json=Own(ORDER))
    assert [event.data for event in await events.recent("c", 3)] == ["1", "2", ORDER_JSON]


@pytest.mark.parametrize("make", [Publisher, SyncPublisher])
def test_default_is_a_function(make):
    """Anything else is refused where it is given."""
    with pytest.raises(ConfigError, match="default: must be a function"):
        make("memory://", default="str")
    with pytest.raises(EventError, match="default: must be a function"):
        Event(json=1, default="str")


LOOP = []
LOOP.append({"again": LOOP})
NAMED = {"self": None}
NAMED["self"] = NAMED
DEEP = []
for _ in range(100_000):
    DEEP = [DEEP]

REFUSED = [
    (1j, "it is of type complex"),
    ({"orders": [{"price": 1}, {"price": 1j}]}, "orders[1].price is of type complex"),
    ([Own(1)], "[0] is of type Own"),
    ({"raw": b"x"}, "raw is of type bytes"),
    ({"kind": Own}, "kind is of type type"),
    ({"kind": Line}, "kind is of type type"),
    ({"kind": Order}, "kind is of type ModelMetaclass"),
    ({"rows": (n for n in ())}, "rows is of type generator"),
    (math.nan, "it is no number that JSON has"),
    ({"a": [math.inf]}, "a[0] is no number that JSON has"),
    ({"a": -math.inf, "b": None}, "a is no number that JSON has"),
    ({math.nan: 1}, "[…] is no number that JSON has"),
    (Line("a", Decimal("NaN")), "price is of type Decimal"),
    ({"big": 10**5000}, "big is a number of too many digits"),
    (LOOP, "[0].again contains itself"),
    (NAMED, "self contains itself"),
    (DEEP, "it is nested too deeply"),
    ({(1, 2): 1}, "[…] has a key of type tuple"),
    ({"a": {b"x": 1}}, "a[…] has a key of type bytes"),
    ({"a": {Own(1): 1}}, "a[…] has a key of type Own"),
    ({ONE: 1, str(ONE): 2}, "[…] is there twice, from two keys that are the same as text"),
    ({"anna@example.com": 1j}, "[…] is of type complex"),
    (Anything(held=[Own(1)]), "it is of type Anything"),
]


@both_ways
@pytest.mark.parametrize(("value", "why"), REFUSED, ids=range(len(REFUSED)))
def test_refused(value, why):
    """What cannot be written is refused where it is made, and says where and what it is, not its content."""
    with pytest.raises(EventError) as caught:
        Event(json=value)
    assert caught.value.field == "json"
    kind = type(value).__name__
    said = str(caught.value).replace(HINT, "")
    assert said == f"json: cannot be written as JSON: {why} (got a value of type {kind})"


@both_ways
def test_what_to_do_about_a_type():
    """It is said where a default is given, unless there is one."""
    for default, hinted in ((None, True), (encode, False)):
        with pytest.raises(EventError) as caught:
            Event(json=[1j], default=default)
        assert ("Event(json=…, default=…)" in str(caught.value)) is hinted
    with pytest.raises(EventError) as caught:
        Event(json=math.nan)
    assert HINT not in str(caught.value)


@both_ways
@pytest.mark.parametrize(
    ("default", "why"),
    [
        (encode, "[0] is of type complex"),
        (lambda value: value, "[0] contains itself"),
        (lambda value: [Own(value)], "it is nested too deeply"),
        (lambda value: math.nan, "[0] is no number that JSON has"),
    ],
)
def test_refused_with_default(default, why):
    """A default that does not know it either, or leads nowhere."""
    with pytest.raises(EventError, match="^json: ") as caught:
        Event(json=[1j], default=default)
    assert why in str(caught.value)


@both_ways
def test_what_default_raises_of_itself_is_not_hidden():
    """A fault of it is seen as it is."""
    with pytest.raises(ZeroDivisionError):
        Event(json=[1j], default=lambda value: 1 / 0)


@both_ways
def test_a_lone_surrogate_is_refused_as_ever():
    """UTF-8 cannot carry it, in whatever value or key."""
    for value in ("\ud800", {"\ud800": 1}, [{"a": "\udfff"}], {ONE: "\ud800"}):
        with pytest.raises(EventError, match="^json: has a lone surrogate"):
            Event(json=value)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**65), max_value=2**65)
    | st.floats()
    | st.floats(min_value=-0.001, max_value=0.001)
    | st.text()
    | st.text(st.characters(codec=None))
    | st.builds(Text, st.text())
    | st.builds(Number, st.integers())
    | st.builds(Half, st.floats())
    | st.sampled_from([*State, *Level, *Word, Flag.A, Flag.A | Flag.B])
    | st.uuids()
    | st.decimals()
    | st.dates()
    | st.times(timezones=st.sampled_from([None, UTC]))
    | st.datetimes(timezones=st.none() | st.timezones() | st.just(UTC))
    | st.timedeltas()
    | st.ip_addresses()
    | st.binary(max_size=2)
    | st.just(1j)
    | st.builds(Line, st.text(), st.decimals(), st.none() | st.datetimes(), st.sets(st.text(), max_size=1))
    | st.builds(Slotted, st.uuids())
    | st.builds(Shelf, st.just([]), st.sampled_from(State))
    | st.builds(
        Order,
        id=st.uuids(),
        at=st.datetimes(),
        total=st.decimals(allow_nan=False, allow_infinity=False),
        every=st.timedeltas(),
    )
)
KEYS = (
    st.text()
    | st.builds(Text, st.text())
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.uuids()
)
KEYS |= st.sampled_from([*State, *Level, *Word]) | st.dates() | st.tuples(st.integers())
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.builds(Reversed, st.lists(inner, max_size=3))
        | st.builds(OrderedDict, st.dictionaries(st.text(), inner, max_size=3))
        | st.builds(Anything, held=inner)
        | st.builds(Point, inner, inner)
        | st.builds(deque, st.lists(inner, max_size=2))
    ),
    max_leaves=12,
)


def outcome(value, default=None):
    """The text, or what the refusal says."""
    try:
        return jsontext.dump(value, default)
    except EventError as error:
        return error.why


@looking_at(400)
@given(VALUES, st.sampled_from([None, encode, lambda value: f"<{type(value).__name__}>"]))
def test_orjson_changes_nothing(value, default):
    """Whatever the value, the outcome is the same with orjson and without: text or refusal."""
    fast, jsontext._fast = jsontext._fast, None
    try:
        plain = outcome(value, default)
    finally:
        jsontext._fast = fast
    assert outcome(value, default) == plain


@looking_at(100)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.floats(min_value=-1e-3, max_value=1e-3))
def test_floats_are_written_as_python_writes_them(number):
    """The shortest text that reads back the same, in the one form."""
    assert jsontext.dump([number]) == f"[{number!r}]"


@looking_at(100)
@given(
    st.timedeltas(min_value=timedelta(days=-364), max_value=timedelta(days=364))
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
)
def test_written_as_pydantic_writes_it(value):
    """Beside a model and within it the same value is the same text; durations of years are not."""
    assert jsontext.dump(value) == jsontext.dump(pydantic.TypeAdapter(object).dump_python(value, mode="json"))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@looking_at(100)
@given(PLAIN)
def test_json_is_written_as_ever(value):
    """What the json module writes is written as it writes it."""
    assert jsontext.dump(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
