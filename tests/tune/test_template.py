"""The marks of the shipped proxy files, and what replaces the values they mark."""

from pathlib import Path

import pytest

from sse_edge import ConfigError
from sse_edge.tune.template import SHIPPED, marked, render, shipped

ROOT = Path(__file__).parents[2]

TEXT = """\
workers auto;                 # tune: workers
zone $key zone=people:10m;    # tune: zone
rate zone=people rate=5r/s; # tune: rate
# tune: upstream {
  server 127.0.0.1:8001 max_fails=1;  # tune: weight
  server 127.0.0.1:8002 max_fails=1;  # tune: weight
# tune: }
example.com {  # tune: site
shop.example {
\t# tune: shop
}
"""

OWN = {
    "workers": "auto",
    "zone": "10m",
    "rate": "5r/s",
    "upstream": ["127.0.0.1:8001", "127.0.0.1:8002"],
    "weight": "1",
    "site": "example.com",
    "shop": "shop.example",
}


def test_marked():
    """A file tells its marked values by name."""
    assert marked(TEXT) == OWN


def test_nothing_replaced():
    """With no values, and with a file's own, the text comes back byte for byte."""
    assert render(TEXT, {}) == TEXT
    assert render(TEXT, OWN) == TEXT


def test_replaced():
    """Only the marked words change; marks stay, in their column where there is room."""
    values = {
        "workers": "4",
        "zone": "64m",
        "rate": "900r/s",
        "upstream": ["unix:/run/1", "b:1", "c:1"],
        "weight": "9",
        "site": "localhost:8443",
        "shop": "s.test",
    }
    text = render(TEXT, values)
    assert marked(text) == values
    assert text == (
        "workers 4;                    # tune: workers\n"
        "zone $key zone=people:64m;    # tune: zone\n"
        "rate zone=people rate=900r/s; # tune: rate\n"
        "# tune: upstream {\n"
        "  server unix:/run/1 max_fails=9;  # tune: weight\n"
        "  server b:1 max_fails=9;  # tune: weight\n"
        "  server c:1 max_fails=9;  # tune: weight\n"
        "# tune: }\n"
        "localhost:8443 {  # tune: site\n"
        "s.test {\n"
        "\t# tune: shop\n"
        "}\n"
    )


@pytest.mark.parametrize(
    "word",
    [
        "",
        "a b",
        "4;",
        "4; daemon on",
        "a{",
        "}",
        "a#b",
        'a"',
        "a'",
        "a`",
        "a\\",
        "$host",
        "a\nb",
        "a\0",
        4,
        None,
    ],
)
def test_a_value_cannot_break_out(word):
    """What would end a directive, begin a comment or name a variable is refused, naming the value's name."""
    with pytest.raises(ConfigError, match=r"^workers: must be one word"):
        render(TEXT, {"workers": word})
    with pytest.raises(ConfigError, match=r"^upstream: must be one word"):
        render(TEXT, {"upstream": ["127.0.0.1:8001", word]})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"worker": "4"}, "worker: is not marked in this file; marked are .*workers"),
        ({"upstream": "127.0.0.1:8001"}, "upstream: must be a list of at least one word"),
        ({"upstream": []}, "upstream: must be a list of at least one word"),
        ({"workers": ["4"]}, "workers: must be one word"),
    ],
)
def test_values_that_do_not_fit(values, message):
    """An unknown name, and a word for a list or a list for a word, are refused."""
    with pytest.raises(ConfigError, match=f"^{message}"):
        render(TEXT, values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# tune: a {\nx 1;\n", "# tune:: a mark names no value, or a block does not end"),
        ("# tune: a {\n# tune: }\n", "# tune:: a mark names no value"),
        ("x 1;\n# tune: }\n", "# tune:: a mark names no value"),
        ("# tune: a {\nx 1;\n# tune: b {\ny 1;\n# tune: }\n", "# tune:: a mark names no value"),
        ("x 1;  # tune: a b\n", "# tune:: a mark names no value"),
        ("# tune: a\n", "# tune:: a mark names no value"),
        (";  # tune: a\n", "a: marks a line that has no value"),
        ("# tune: a {\nx\n# tune: }\n", "a: marks a line that has no value"),
        ("x 1;  # tune: a\ny 2;  # tune: a\n", "a: is marked with different values"),
    ],
)
def test_marks_that_are_wrong(text, message):
    """A file with a mark that means nothing is refused, also when that name is not asked for."""
    with pytest.raises(ConfigError, match=f"^{message}"):
        render(text, {})


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_files(name):
    """The files at the top are the template, and what they say are the defaults."""
    text = shipped(name)
    assert text.encode() == (ROOT / name).read_bytes()
    assert render(text, {}) == text
    assert render(text, marked(text)) == text
    assert marked(text)["upstream"] == [f"127.0.0.1:{port}" for port in (8001, 8002, 8003, 8004)]


def test_an_unknown_file():
    """Only shipped files are found."""
    with pytest.raises(ConfigError, match=r"^name: must be one of nginx\.conf, Caddyfile"):
        shipped("../pyproject.toml")
