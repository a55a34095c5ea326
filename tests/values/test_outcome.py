import json

import pytest

from sse_edge import outcome
from sse_edge.outcome import ENDINGS, REFUSALS, Ending, Refusal


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
def test_body_carries_code_and_detail(refusal):
    """A client reads the code and a sentence."""
    assert json.loads(refusal.body()) == {"error": refusal.code, "detail": refusal.detail}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
def test_retry_after_only_where_waiting_helps(refusal):
    """429 and 503 say when to come back, and nothing else does."""
    assert (refusal.retry_after is not None) == (refusal.status in (429, 503))


def test_because_changes_only_the_detail():
    """A more exact sentence leaves code, status and waiting time alone."""
    refusal = outcome.DRAINING.because("bye")
    assert (refusal.code, refusal.status, refusal.retry_after) == ("draining", 503, 2.0)
    assert refusal.detail == "bye"
    assert outcome.DRAINING.detail != "bye"


def test_more_for_programs():
    """What is said besides is in the body, and changes no code; what is None is left out."""
    refusal = outcome.BAD_REQUEST.telling(field="data", index=None).telling(detail="all of it")
    assert json.loads(refusal.body()) == {"error": "bad-request", "detail": "all of it", "field": "data"}
    assert refusal.detail == outcome.BAD_REQUEST.detail
    assert outcome.BAD_REQUEST.more == ()


def test_body_is_ascii_whatever_the_detail():
    """A detail that repeats what a client sent cannot break out of the JSON."""
    body = outcome.ORIGIN.because('"}\r\n\u2028é').body()
    assert body.isascii()
    assert b"\r" not in body
    assert b"\n" not in body
    assert json.loads(body)["detail"] == '"}\r\n\u2028é'


@pytest.mark.parametrize(
    ("kind", "catalogue"), [(Refusal, REFUSALS), (Ending, ENDINGS)], ids=["refusals", "endings"]
)
def test_catalogue_is_complete(kind, catalogue):
    """Every constant of the module is in its catalogue, once."""
    constants = [value for value in vars(outcome).values() if isinstance(value, kind)]
    assert sorted(map(repr, constants)) == sorted(map(repr, catalogue))


def test_names_are_unique():
    """One word means one thing in log and metric."""
    assert len({refusal.code for refusal in REFUSALS}) == len(REFUSALS)
    assert len({ending.reason for ending in ENDINGS}) == len(ENDINGS)


def test_who_is_told_of_an_ending():
    """Only a client that is gone or does not read gets no goodbye."""
    assert {ending.reason for ending in ENDINGS if not ending.told} == {"client-gone", "slow"}
