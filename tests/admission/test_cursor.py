import pytest

from sse_edge.admission.cursor import UNTOLD, last_id, place
from sse_edge.asgi import Request
from sse_edge.event import NOWHERE, EventId, Place

FIVE = "5-1.abcde"


def told(headers=(), query="", *, takes_query=True):
    """What a request with these Last-Event-IDs and this query says."""
    pairs = tuple((b"last-event-id", text.encode("latin-1")) for text in headers)
    request = Request("GET", "/events/me", pairs, query_string=query.encode("latin-1"))
    return last_id(request, takes_query=takes_query)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([""], None),
        ([FIVE], FIVE),
        ([FIVE, FIVE], FIVE),
        ([FIVE, ""], FIVE),
        ([FIVE, "5-2.abcde"], UNTOLD),
        ([FIVE, "5-1.abcdf"], UNTOLD),
        ([FIVE, "junk"], UNTOLD),
        (["junk"], "junk"),
        (["\xc3\xa9"], "é"),
        (["\xe9"], "é"),
        (["x" * 256], "x" * 256),
        (["\xc3\xa9" * 256], "é" * 256),
        (["earliest"], None),
        (["earliest", "earliest"], None),
        (["earliest", FIVE], UNTOLD),
        (["Earliest"], "Earliest"),
        *(([foreign], UNTOLD) for foreign in ["x" * 257, "9" * 60_000, f"5-1.{'a' * 253}"]),
        *(([foreign], UNTOLD) for foreign in ["5-1.abcde\n", "5-1.abcde\0", "\t", "a\x1fb", "\x7f"]),
    ],
)
@pytest.mark.parametrize("query", ["", "last_event_id=4-1.abcde", "lastEventId=%00", "lastEventID=earliest"])
@pytest.mark.parametrize("takes_query", [True, False])
def test_the_header_wins(headers, expected, query, takes_query):
    """It is taken as it was given out, whatever the query says; what nobody gave out is UNTOLD."""
    if any(headers):
        assert told(headers, query, takes_query=takes_query) == expected
    else:
        assert told(headers, query, takes_query=takes_query) == told((), query, takes_query=takes_query)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", None),
        ("a=b&last_event_id", None),
        ("last_event_id=", None),
        ("xlast_event_id=5-1.abcde&lasteventid=5-1.abcde&x=last_event_id=5-1.abcde", None),
        *((f"{name}={FIVE}", FIVE) for name in ("last_event_id", "lastEventId", "lastEventID")),
        ("a=1&" * 200 + "lastEventId=5-1.abcde", FIVE),
        ("last%5Fevent%5fid=5%2D1.abcde", FIVE),
        ("last_event_id=any+text%20%3D%26=", "any text =&="),
        ("last_event_id=%C3%A9", "é"),
        ("last_event_id=\xc3\xa9", "é"),
        ("last_event_id=%E9", "é"),
        ("last_event_id=junk", "junk"),
        ("last_event_id=" + "x" * 257, UNTOLD),
        ("last_event_id=5-1.abcde%00", UNTOLD),
        ("last_event_id=5-1.abcde%0Aid:9", UNTOLD),
        ("last_event_id=earliest", None),
        # A page has the place that it was made at in its URL, and a polyfill adds the one it has come to.
        ("last_event_id=5-1.abcde&lastEventId=5-1.abcde", FIVE),
        ("last_event_id=5-1.abcde&lastEventId=", FIVE),
        ("last_event_id=4-9.abcde&lastEventId=5-1.abcde", FIVE),
        ("lastEventId=5-1.abcde&last_event_id=4-9.abcde&lastEventID=5-0.abcde", FIVE),
        ("last_event_id=9-1.abcde&last_event_id=10-1.abcde", "10-1.abcde"),
        ("last_event_id=earliest&lastEventId=5-1.abcde", FIVE),
        # These cannot be compared.
        ("last_event_id=5-1.abcde&lastEventId=6-1.abcdf", UNTOLD),
        ("last_event_id=5-1.abcde&lastEventId=junk", UNTOLD),
        ("last_event_id=5-1.abcde&lastEventId=%00", UNTOLD),
        ("last_event_id=3&lastEventId=4", UNTOLD),
    ],
)
def test_in_the_query(query, expected):
    """By any of three names; the newest of several places counts, if that can be said."""
    assert told((), query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", None),
        ("a=b", None),
        ("last_event_id=", None),
        ("last_event_id=earliest", None),
        ("last_event_id=5-1.abcde", UNTOLD),
        ("lastEventId=junk&a=b", UNTOLD),
        ("last_event_id=earliest&lastEventID=5-1.abcde", UNTOLD),
    ],
)
def test_a_query_that_is_not_taken(query, expected):
    """Who names a place in it has one, and it is not known which."""
    assert told((), query, takes_query=False) == expected


@pytest.mark.parametrize(
    "id",
    [
        UNTOLD,
        "5",
        "5-1",
        "0",
        "-1",
        "null",
        "undefined",
        "NaN",
        "junk",
        "$",
        "*",
        "5-1.",
        "5-1.ABCDE",
        "05-1.abcde",
        "5-1.abcde.abcde",
        " 5-1.abcde",
        "5-1.abcde ",
        "5-1 .abcde",
        " ",
        "a b",
        "\xff",
        "\xb5-1.abcde",
        "1" * 63 + "-1.abcde",
        "5-1." + "a" * 65,
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "https://example.com/events/5?a=b&c",
        '{"id": 5}',
        "x" * 256,
    ],
)
def test_a_place_of_another_kind(id):
    """An id that was never given out here, by another server or an older release, is in no data set."""
    assert place(id) == NOWHERE


def test_a_place():
    """One that looks like ours may be."""
    assert (place(None), place(FIVE)) == (None, Place(EventId(5, 1), "abcde"))
