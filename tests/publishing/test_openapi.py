"""docs/openapi.yaml says what the running edge does, and schemathesis finds nothing that it does not say."""

import json
import subprocess
from itertools import chain

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from apps.publishing import TOKENS
from parts.hostile import looking_at
from servers.processes import TESTS, packaged
from sse_edge import outcome
from sse_edge.event import MAX_EVENT_BYTES
from sse_edge.outcome import Refusal
from sse_edge.posting import posting as publishing
from sse_edge.posting import submission

FILE = TESTS.parent / "docs" / "openapi.yaml"
API = yaml.safe_load(FILE.read_text())
PUBLISH = API["paths"]["/publish"]["post"]
SCHEMAS = API["components"]["schemas"]
EVENT = SCHEMAS["Event"]
BODY = PUBLISH["requestBody"]["content"]["application/json"]
EXAMPLES = [each["value"] for each in BODY["examples"].values()]
VALID = Draft202012Validator({**BODY["schema"], "components": API["components"]})

SAID = {
    outcome.BAD_REQUEST: 400,
    outcome.UNAUTHENTICATED: 401,
    outcome.FORBIDDEN: 403,
    outcome.ORIGIN: 403,
    outcome.METHOD: 405,
    outcome.TOO_SLOW: 408,
    outcome.OVER: 409,
    outcome.TOO_LARGE: 413,
    outcome.MEDIA_TYPE: 415,
    outcome.CONNECT_RATE: 429,
    outcome.BACKEND_DOWN: 503,
}
"""What may be said of a request to publish, and with which status; ``finished`` is 204 of streams."""


def schemathesis(file, server, directory, *options):
    """What it says of ``file`` and a running edge, with all its checks, and its exit code."""
    config = ["--config-file", TESTS / "schemathesis.toml"]
    token = f"Authorization: Bearer {TOKENS.issue(['*'])}"
    run = [packaged("schemathesis"), *config, "run", file, "--url", server.url, "-H", token, *options]
    run += ["--checks", "all", "--no-color"]
    done = subprocess.run(run, cwd=directory, capture_output=True, text=True, timeout=600, check=False)
    said = "\n".join(line[:2000] for line in (done.stdout + done.stderr).splitlines())
    return said, done.returncode


@pytest.mark.timeout(900)
def test_schemathesis(serve_app, redis_url, tmp_path, request):
    """All its checks pass: data that the file allows and that it does not, other methods, no token."""
    server = serve_app("apps.publishing:edge", env={"BACKEND": redis_url})
    if request.config.getoption("--heavy"):
        options = ["--max-examples", "2000", "--generation-database", "none"]
    else:
        options = ["--max-examples", "30", "--generation-deterministic"]
    said, code = schemathesis(FILE, server, tmp_path, *options)
    print(said)
    assert (code, "No issues found" in said) == (0, True)
    assert "Traceback" not in server.log


def test_schemathesis_finds_what_is_wrong(serve_app, tmp_path):
    """It is no formality: where the file says something else than the edge does, it fails."""
    server = serve_app("apps.publishing:edge")
    text = FILE.read_text()
    assert text.count("required: [id]") == 1
    (tmp_path / "openapi.yaml").write_text(text.replace("required: [id]", "required: [place]"))
    said, code = schemathesis("openapi.yaml", server, tmp_path, "--phases", "examples", "--no-shrink")
    assert (code, "Response violates schema" in said) == (1, True), said


def test_the_limits_are_the_codes():
    """Sizes and fields in the file are those of the code."""
    assert set(EVENT["properties"]) == set(submission.FIELDS)
    assert [each.get("maxItems") for each in BODY["schema"]["oneOf"]] == [None, submission.MAX_EVENTS]
    assert EVENT["properties"]["data"]["maxLength"] == MAX_EVENT_BYTES == 256 * 1024
    assert (submission.MAX_BODY, publishing.BODY_TIME) == (1024 * 1024, 10)
    for text in ("1 MiB", "within 10 seconds"):
        assert text in PUBLISH["requestBody"]["description"]


def test_the_codes_are_the_catalogues():
    """Each refusal that there can be is in the file with its status, and no other."""
    statuses = {str(status) for status in SAID.values()}
    assert set(PUBLISH["responses"]) == {"200", *statuses}
    enums = chain(
        SCHEMAS["Refusal"]["properties"]["error"]["enum"],
        SCHEMAS["Unpublished"]["properties"]["error"]["enum"],
    )
    assert set(enums) == {refusal.code for refusal in SAID}
    for refusal, status in SAID.items():
        assert refusal.status == status or refusal is outcome.OVER
        described = PUBLISH["responses"][str(status)]
        if "$ref" in described:
            described = API["components"]["responses"][described["$ref"].rpartition("/")[2]]
        assert f"`{refusal.code}`" in described["description"]


def test_the_page_says_the_same():
    """Every code and field is in the page's tables, and the file is the one that the page names."""
    page = (FILE.parent / "PUBLISHING.md").read_text()
    for name in chain((refusal.code for refusal in SAID), submission.FIELDS):
        assert f"`{name}`" in page, name
    assert "(openapi.yaml)" in page


# ---- What the file allows is what is taken

NAMES = (
    st.sampled_from(["error", "open", "edge-close", "errors", "reopen", "x\n", "\0", "", "a b"]) | st.text()
)
TEXT = st.text(st.characters(exclude_categories=[]), max_size=300) | st.sampled_from(
    ["\ud800", "x" * 257, "\x7f", "a"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = {
    "channel": TEXT | ANYTHING,
    "event": NAMES | ANYTHING,
    "data": TEXT | ANYTHING,
    "json": ANYTHING,
    "dedupe_key": TEXT | ANYTHING,
    "except_user": st.text(max_size=5) | st.text("x", min_size=1023, max_size=1025) | ANYTHING,
    "finish": st.booleans() | ANYTHING,
    "other": ANYTHING,
}
EVENTS = st.fixed_dictionaries({}, optional=FIELDS) | st.fixed_dictionaries(
    {"channel": TEXT}, optional={name: FIELDS[name] for name in submission.FIELDS[1:]}
)


def _has_no_half_of_a_pair(asked):
    """Schemas know nothing of surrogates, and UTF-8 has none; written as escapes they can be in JSON."""
    try:
        json.dumps(asked, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@looking_at(300)
@given(EVENTS | st.lists(EVENTS, max_size=3) | ANYTHING)
@example(EXAMPLES[0])
@example(EXAMPLES[1])
@example(EXAMPLES[2])
@example(EXAMPLES[3])
@example([])
@example({"channel": "news", "data": "x", "event": None})
@example([{"channel": "news", "data": "x"}] * (submission.MAX_EVENTS + 1))
def test_what_is_allowed_is_what_is_taken(asked):
    """Whatever JSON comes is taken if the schema allows it, and refused with a 400 if it does not."""
    body = json.dumps(asked).encode()
    taken = submission.read(body, ("*",))
    asked = json.loads(body)
    allowed = _has_no_half_of_a_pair(asked) and VALID.is_valid(asked)
    assert isinstance(taken, submission.Submission) is allowed, taken
    if isinstance(taken, Refusal):
        assert taken.status == 400
        assert taken.body()


@looking_at(300)
@given(st.binary(max_size=300))
def test_any_bytes(body):
    """Whatever bytes come, they are events or a refusal of the catalogue."""
    taken = submission.read(body, ("*",))
    assert isinstance(taken, submission.Submission) or (taken.status == 400 and json.loads(taken.body()))
