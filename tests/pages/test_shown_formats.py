"""What pages show in other languages is right by each one's grammar, or is run by a test."""

import html.parser
import json
import subprocess

import pytest
import yaml

from servers.pages import PAGES, ROOT, blocks
from servers.processes import command

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Tags(html.parser.HTMLParser):
    """Which elements are open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Which is not left open."""

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag, f"</{tag}> ends something else"


def of_json(text):
    """JSON, or lines of it."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        for line in text.splitlines():
            json.loads(line)


def of_yaml(text):
    """One document of YAML, or several."""
    assert all(yaml.safe_load_all(text))


def of_js(text):
    """A module, by node."""
    run = [command("node"), "--check", "--input-type=module", "-"]
    done = subprocess.run(run, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def of_html(text):
    """Elements that end, in order."""
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []


GRAMMARS = {"json": of_json, "yaml": of_yaml, "js": of_js, "html": of_html}

SEEN_TO = {
    "python": "test_shown_python.py",
    "": "test_shown_commands.py",
    "sh": "test_shown_commands.py",
    "bash": "test_shown_commands.py",
    "console": "test_shown_commands.py",
    "jsx": "test_recipes.py",
    "go": "test_clients.py",
    "java": "test_clients.py",
    "nginx": "test_http3.py",
    "caddyfile": "test_publishing_live.py",
    "diff": "test_behind.py",
    "vcl": "test_cdn.py",
}
"""Languages whose blocks a file of tests looks at, and most of them runs."""

NOT_RUN = {
    "text": "is no program",
    "php": "wants PHP, which is not among what the tests install",
    "ruby": "wants Ruby, likewise",
}

SHOWN = {str(block): block for page in PAGES for block in blocks(page, *GRAMMARS)}


@pytest.mark.parametrize("where", SHOWN)
def test_what_is_shown_is_right(where):
    """By the grammar of its language."""
    GRAMMARS[SHOWN[where].language](SHOWN[where].text)


def test_every_language_is_seen_to():
    """No block is in a language that nothing looks at, and each file that does so is there."""
    shown = {block.language: str(block) for page in PAGES for block in blocks(page)}
    assert {each: where for each, where in shown.items() if each not in GRAMMARS | SEEN_TO | NOT_RUN} == {}
    assert [file for file in SEEN_TO.values() if not any((ROOT / "tests").glob(f"*/{file}"))] == []
    assert set(NOT_RUN) <= set(shown)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("json", "{'a': 1}"),
        ("yaml", "a: [1"),
        ("js", "onState({state}) { reload() }"),
        ("html", "<p><b>x</p></b>"),
        ("html", "<ul><li>x</ul>"),
    ],
)
def test_what_is_wrong_is_found(language, text):
    """Of each of these languages."""
    with pytest.raises((AssertionError, ValueError, yaml.YAMLError)):
        GRAMMARS[language](text)
