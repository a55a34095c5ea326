"""The report of a run: every figure of the summary is in it, and what went wrong is at the top."""

import copy
import functools
import json
import re
from xml.etree import ElementTree as ET

import pytest

from loadtest.report.__main__ import main
from loadtest.report.files import RESULTS
from loadtest.report.files import page as page_of
from loadtest.report.plot import BANDS, LINES, MOST, NAME_LINES, PARTS, clock, draw, fitting, placed, thin
from loadtest.report.text import judged, lasting, text

SCRIPT = "<script>alert('1')</script>"

PICTURE = '<svg viewBox="0 0 2 1"></svg>'

SPREAD = {"count": 4321, "p50": 0.166, "p95": 0.251, "p99": 0.282, "longest": 4.123}

SUMMARY = {
    "scenario": "storm",
    "what": "a worker is killed while events go to all",
    "command": "python -m loadtest storm --streams 20000",
    "began": "2026-11-25T13:00:00+01:00",
    "took": 133.2,
    "machine": {"cpu": "AMD EPYC", "cores": "2", "nginx": "1.22.1"},
    "setup": {
        "streams": 20000,
        "users": 400,
        "processes": 2,
        "workers": 4,
        "proxy": "nginx",
        "tls": True,
        "target": "https://localhost:21334/events/me",
    },
    "remarks": ["clients and app share this machine"],
    "interrupted": False,
    "failure": None,
    "thresholds": [
        {"what": "events lost", "value": 0, "limit": "0", "met": True},
        {"what": "busiest by mean", "value": 1.239, "limit": "at most 3", "met": True},
        {"what": "all level again after", "value": "17.4 s", "limit": "at most 120 s", "met": True},
    ],
    "phases": [
        {"name": "open", "from": 0.0, "to": 20.25, "events": 0, "p50": None, "p99": None, "longest": None},
        {
            "name": "idle",
            "from": 21.5,
            "to": 60.0,
            "events": 98765,
            "p50": 0.112,
            "p99": 2.69,
            "longest": 3.228,
        },
    ],
    "verdict": {
        "clients": 19999,
        "published": 123,
        "received": 2459877,
        "lost": 17,
        "repeated": 18,
        "disordered": 19,
        "resets": {"trimmed": 31},
        "stranded": 21,
        "findings": ["client 17, channel news: lost 5"],
    },
    "latency": SPREAD,
    "connect": {**SPREAD, "count": 20011, "p50": 0.0123},
    "first_byte": {**SPREAD, "p95": 0.0456},
    "away": {**SPREAD, "longest": 17.111},
    "endings": {"drain": 5012, "cut": 13},
    "refusals": {"user-limit": 37},
    "errors": {"ECONNREFUSED": 43},
    "reconnects": {"count": 5025, "mean": 310.2, "peak": 702, "seconds": 16.2},
    "memory": {
        "worker": {"empty": 64 << 20, "full": 388 << 20, "per_stream": 17.1 * 1024},
        "proxy": {"empty": 23 << 20, "full": 742 << 20, "per_stream": 36.8 * 1024},
        "Redis": {"empty": 8 << 20, "full": 41 << 20, "per_stream": 1.76 * 1024},
        "kernel": {"empty": 0.0, "full": 488 << 20, "per_stream": 25.3 * 1024},
        "Locust": {"empty": 119 << 20, "full": 647 << 20, "per_stream": 27.4 * 1024},
    },
    "cpu": {"worker": 61.3, "proxy": 55.7, "Redis": 2.22, "Locust": 48.4},
    "timeline": [
        {
            "t": t,
            "streams": min(20000, 1000 * t),
            "attempts": 1000 if t < 20 else 0,
            "opened": 990 if t < 20 else 0,
            "events": 20000 if t > 25 else 0,
            "p50": 0.1 + t / 1000 if t > 25 else None,
            "p99": 0.2 + t / 1000 if t > 25 else None,
            "endings": {"drain": 7, "cut": 1} if t == 40 else {},
            "refusals": {"user-limit": 3} if t == 41 else {},
        }
        for t in range(60)
        if t != 33
    ],
    "samples": [
        {
            "t": t + 0.5,
            "memory": {part: (index + 1.0) * t * 2**20 for index, part in enumerate(PARTS)},
            "cpu": {"worker": 0.83, "proxy": 0.7, "Redis": 0.02, "Locust": 0.5},
        }
        for t in range(60)
    ],
}

FIGURES = [
    "storm", "20,000", "a worker is killed while events go to all", "400 users", "2 processes", "4 workers",
    "nginx", "TLS", "2026-11-25 12:00:00 UTC", "133 s",
    "events lost", "busiest by mean", "1.24", "at most 3", "17.4 s", "at most 120 s",
    "idle", "38.5", "98,765", "112", "2,690", "3,228",
    "19,999", "123", "2,459,877", "17", "18", "19", "trimmed", "31", "21", "client 17, channel news: lost 5",
    "4,321", "166", "251", "282", "4,123", "20,011", "12.3", "45.6", "17,111",
    "drain", "5,012", "cut", "13", "user-limit", "37", "ECONNREFUSED", "43",
    "5,025", "310", "702", "16.2 s",
    "64", "388", "17.1", "23", "742", "36.8", "41", "1.76", "488", "25.3", "119", "647", "27.4",
    "61.3", "0.46", "55.7", "2.22", "48.4",
    "clients and app share this machine", "AMD EPYC", "1.22.1", "python -m loadtest storm --streams 20000",
]  # fmt: skip

NOTHING = {
    **SUMMARY,
    "thresholds": [],
    "phases": [],
    "verdict": None,
    **dict.fromkeys(("latency", "connect", "first_byte", "away", "reconnects")),
    **{name: {} for name in ("endings", "refusals", "errors", "memory", "cpu", "machine")},
    "remarks": [],
    "timeline": [],
    "samples": [],
}


LONG = "a sentence that is longer than a line of the page and of the terminal, " * 3


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """The SVG of a summary, as text; each is drawn once."""
    path = tmp_path_factory.mktemp("picture") / "plot.svg"

    @functools.cache
    def drawn(told):
        draw(json.loads(told), path)
        return path.read_text(encoding="utf-8")

    return lambda summary: drawn(json.dumps(summary))


def whole(figure):
    """A pattern that finds a figure, and not one that it is a part of."""
    return rf"(?<![\w.,]){re.escape(figure)}(?![\w]|[.,]\d)"


def shown(html):
    """What a page says, without its markup, its style and its picture."""
    for what in ("style", "svg", "title"):
        html = re.sub(rf"<{what}\b.*?</{what}>", " ", html, flags=re.S)
    return re.sub(r"<[^>]*>", " ", html)


def words(svg):
    """The texts of a picture."""
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_is_in_the_text_and_on_the_page(figure):
    """What the summary says, both say."""
    assert re.search(whole(figure), text(SUMMARY)), text(SUMMARY)
    assert re.search(whole(figure), shown(page_of(SUMMARY, [PICTURE], {})))


def test_the_text_is_short_and_aligned():
    """A run fits a terminal, and the figures of a column end below its head."""
    lines = text(SUMMARY).splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 112
    at = lines.index("Memory and CPU")
    head, worker = lines[at + 1], lines[at + 2]
    assert worker.index("388") + 3 == head.index("full MiB") + len("full MiB")


def test_the_text_has_the_first_findings_and_says_how_many_more():
    """Twenty findings do not fill the terminal; the page has all."""
    summary = copy.deepcopy(SUMMARY)
    summary["verdict"]["findings"] = [f"finding {number}." for number in range(20)]
    assert text(summary).count("finding ") == 5
    assert "and 15 more" in text(summary)
    assert shown(page_of(summary, [PICTURE], {})).count("finding ") == 20


def test_what_is_in_a_summary_is_no_markup(picture):
    """A script in a finding, a name, a code, a link or a sentence is text."""
    summary = copy.deepcopy(SUMMARY)
    summary["verdict"]["findings"] = summary["remarks"] = [SCRIPT]
    summary["what"] = summary["command"] = summary["scenario"] = summary["failure"] = SCRIPT
    summary["phases"][0]["name"] = SCRIPT
    summary["thresholds"][0].update(what=SCRIPT, value=SCRIPT, limit=SCRIPT, met=False)
    for name in ("endings", "refusals", "errors", "machine"):
        summary[name] = {SCRIPT: 1}
    summary["timeline"][3]["refusals"] = {SCRIPT: 1, "$x$": 2}
    html = page_of(summary, [picture(summary)], {SCRIPT: f'"{SCRIPT}'})
    assert "<script" not in html
    assert '""' not in html
    assert html.count("&lt;script&gt;alert(") >= 14
    assert "$x$" in words(picture(summary))


def test_the_page_needs_nothing_else(picture):
    """No other file is loaded: what looks like an address names a namespace."""
    html = page_of(SUMMARY, [picture(SUMMARY)], {"Locust's own report": "locust.html"})
    assert set(re.findall(r'(\S+)="https?:', html)) <= {"xmlns", "xmlns:xlink"}
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\((?!#)", html)
    assert '<a href="locust.html">Locust&#x27;s own report</a>' in html


def test_the_page_is_well_formed_and_has_its_pictures(picture):
    """Every element is closed, and each picture is there."""
    html = page_of(SUMMARY, [picture(SUMMARY), PICTURE], {"a": "b"})
    root = ET.fromstring(re.sub(r"<!doctype html>|<meta [^>]*>", "", html))
    first, second = (svg.get("viewBox") for svg in root.iter() if svg.tag.endswith("svg"))
    assert first in picture(SUMMARY)
    assert second == "0 0 2 1"


@pytest.mark.parametrize("width", [1000, 1100, 1200])
def test_the_page_in_a_window(page, tmp_path, width):
    """Nothing is cut, nor has to be scrolled to: long sentences and commands go on in the next line."""
    (tmp_path / "index.html").write_text(
        page_of({**SUMMARY, "remarks": [LONG], "command": LONG + "x" * 200}, [PICTURE], {})
    )
    page.get((tmp_path / "index.html").as_uri())
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        cut = page.execute_script(
            "return [...document.querySelectorAll('html, body *')].filter("
            "each => each.clientWidth && each.scrollWidth > each.clientWidth).map(each => each.tagName)"
        )
        lines = page.execute_script("return document.querySelector('pre').clientHeight / 13 / 1.4")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert cut == []
    assert len(text(SUMMARY).splitlines()) < lines < len(text(SUMMARY).splitlines()) + 8  # no table is torn


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [("good", "All thresholds met")]),
        ({"interrupted": True}, [("doubtful", "interrupted")]),
        ({"thresholds": []}, [("doubtful", "No threshold was checked")]),
        ({"failure": "no Redis", "thresholds": []}, [("bad", "The run failed: no Redis")]),
        (
            {"thresholds": [{"what": "events lost", "value": 5, "limit": "0", "met": False}]},
            [("bad", "Missed: events lost: 5 instead of 0")],
        ),
        (
            {
                "interrupted": True,
                "failure": "no Redis",
                "thresholds": [{"what": "p99", "value": "not found", "limit": "at most 3", "met": False}],
            },
            [
                ("bad", "no Redis"),
                ("bad", "p99: not found instead of at most 3"),
                ("doubtful", "interrupted"),
            ],
        ),
    ],
)
def test_how_it_went_is_at_the_top(changed, expected):
    """What was missed is named before anything else, and nobody is told that all is well when it is not."""
    summary = {**SUMMARY, **changed}
    found = judged(summary)
    assert [state for state, _ in found] == [state for state, _ in expected]
    top, _ = page_of(summary, [PICTURE], {}).split("<svg")
    head = text(summary).split("\n\n")[1]
    for (state, said), (_, sentence) in zip(expected, found, strict=True):
        assert said in sentence
        assert f'<p class="{state}">{sentence}</p>' in top
        assert sentence in head


def test_a_missed_threshold_is_marked_in_the_tables():
    """It stands out by its word, and on the page by its colour too."""
    summary = copy.deepcopy(SUMMARY)
    summary["thresholds"][1]["met"] = False
    assert re.search(r"busiest by mean +1\.24 +at most 3 +MISSED\n", text(summary))
    assert page_of(summary, [PICTURE], {}).count("<mark>MISSED</mark>") == 1


def test_nothing_measured(picture):
    """A run that failed at once has a text, a page and a picture, none with a head that has nothing below."""
    said = text(NOTHING)
    svg = picture(NOTHING)
    assert "No threshold was checked" in said
    assert "No threshold was checked" in page_of(NOTHING, [svg], {})
    for title in ("Thresholds", "Verdict", "Delivery", "Times", "Memory", "endings", "machine"):
        assert title not in said
    assert words(svg).count("nothing was measured") == 8


def test_where_there_was_nothing_the_picture_says_so(picture):
    """A panel without refusals says "none"; one with some does not."""
    quiet = {**SUMMARY, "timeline": [{**row, "refusals": {}} for row in SUMMARY["timeline"]]}
    assert words(picture(SUMMARY)).count("none") == 0
    assert words(picture(quiet)).count("none") == 1
    idle = [{**row, "events": 0, "p50": None, "p99": None} for row in SUMMARY["timeline"]]
    assert words(picture({**SUMMARY, "timeline": idle})).count("no event came") == 1


def test_the_picture_names_its_parts_and_phases(picture):
    """Phases, parts with what a stream takes, codes; the proxy by its own name."""
    said = words(picture(SUMMARY))
    for each in ("worker 17.1", "nginx 36.8", "Redis 1.76", "kernel 25.3", "Locust 27.4"):
        assert each in said
    for each in ("drain", "cut", "user-limit", "99 %", "half of all"):
        assert each in said
    assert said.count("open") == said.count("idle") == 2


def test_parts_have_the_colours_of_the_capacity_picture(picture):
    """A part looks the same in both, and no two look alike."""
    assert (PARTS["worker"], PARTS["kernel"]) == ("#0b6e4f", "#8a8f98")
    assert len(set(PARTS.values())) == 5
    svg = picture(SUMMARY)
    assert all(colour in svg for colour in (*PARTS.values(), BANDS[0]))


def leaving(svg):
    """What is drawn beyond its panel, as colour and place."""
    root = ET.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}"
    panels = {
        clip.get("id"): [float(clip[0].get(edge)) for edge in ("x", "y", "width", "height")]
        for clip in root.iter(f"{name}clipPath")
    }
    for path in root.iter(f"{name}path"):
        clip = re.fullmatch(r"url\(#(.+)\)", path.get("clip-path", ""))
        if clip:
            left, top, width, height = panels[clip[1]]
            for x, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.get("d", "")):
                if not (-0.1 <= float(x) - left <= width + 0.1 and -0.1 <= float(y) - top <= height + 0.1):
                    yield path.get("style"), x, y


@pytest.mark.parametrize("name", ["attempts", "opened", "events", "streams", "p50", "p99"])
def test_a_panel_holds_its_highest_line(picture, name):
    """Whichever of a panel's figures is the highest, no line leaves the frame."""
    summary = copy.deepcopy(SUMMARY)
    summary["timeline"][40][name] = 50_000
    assert list(leaving(picture(summary))) == []


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.svg")), ids=lambda path: path.stem)
def test_a_kept_picture_holds_what_it_shows(path):
    """No line of a picture among the results leaves its frame."""
    svg = path.read_text()
    assert "clipPath" in svg
    assert list(leaving(svg)) == []


def test_the_same_summary_gives_the_same_bytes(tmp_path):
    """A picture that is kept changes only with what was measured."""
    draw(SUMMARY, tmp_path / "one.svg")
    draw(copy.deepcopy(SUMMARY), tmp_path / "two.svg")
    draw({**SUMMARY, "timeline": SUMMARY["timeline"][:-1]}, tmp_path / "other.svg")
    one, two, other = ((tmp_path / f"{name}.svg").read_bytes() for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    """Other pictures of the same process do not change by it."""
    import matplotlib as mpl  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "another", "font.size": 7}):
        before = dict(mpl.rcParams)
        draw(SUMMARY, tmp_path / "plot.svg")
        assert dict(mpl.rcParams) == before


def test_a_long_run_is_a_small_picture(picture):
    """Two hours take little more than ten minutes do."""
    row, sample = SUMMARY["timeline"][40], SUMMARY["samples"][40]
    wave = [(t * 7919) % 101 for t in range(7200)]
    long = {
        **SUMMARY,
        "timeline": [{**row, "t": t, "streams": high, "events": high} for t, high in enumerate(wave)],
        "samples": [{**sample, "t": t, "cpu": {"worker": high}} for t, high in enumerate(wave)],
    }
    assert len(picture(long)) < 400_000


@pytest.mark.parametrize("beyond", range(4))
@pytest.mark.parametrize("count", [601, 7200, 86_400])
def test_thinning_keeps_what_stands_out(count, beyond):
    """The highest and the lowest stay, wherever they are, and all stay in their order."""
    points = [(t, 5.0) for t in range(count)]
    points[count // 3 + beyond] = (count // 3 + beyond, 99.0)
    points[count // 2 + beyond] = (count // 2 + beyond, 0.0)
    kept = thin(points)
    assert len(kept) <= MOST
    assert kept == sorted(set(kept) & set(points))
    assert {value for _, value in kept} == {0.0, 5.0, 99.0}


@pytest.mark.parametrize("count", [0, 1, MOST])
def test_few_points_are_all_kept(count):
    """Nothing is left out of a short run."""
    points = [(t, 5.0) for t in range(count)]
    assert thin(points) == points


def test_names_of_phases_do_not_overlap():
    """Short phases have their names below each other; those that find no room are left out."""
    phases = [{"name": f"restart {n}", "from": float(n), "to": n + 0.5} for n in range(9)]
    found = placed([*phases, {"name": "soak", "from": 100.0, "to": 7000.0}], 7200.0)
    assert {line for *_, line in found} == set(range(NAME_LINES))
    assert [line for *_, line in found[:-1]] == list(range(NAME_LINES))
    name, at, line = found[-1]
    assert (name, line) == ("soak", 0)
    assert 0.4 < at < 0.6
    assert placed([], 1.0) == []
    (last,) = placed([{"name": "a long name at the very end", "from": 99.0, "to": 100.0}], 100.0)
    assert 0.5 < last[1] < 0.75


def test_codes_fit_their_key():
    """As many as there are colours, and fewer when their names are long."""
    assert fitting(["cut", "drain"]) == 2
    assert fitting(list("abcdefghij")) == len(LINES) - 1
    assert 1 < fitting(["abuse: connect-rate"] * 6) < 5


def test_many_codes_are_gathered(picture):
    """What has no colour left is one line, and nothing of it is dropped."""
    codes = {f"code-{n}": 1 for n in range(12)}
    timeline = [{**row, "refusals": codes if row["t"] == 5 else {}} for row in SUMMARY["timeline"]]
    said = words(picture({**SUMMARY, "timeline": timeline}))
    named = sum(each.startswith("code-") for each in said)
    assert "others" in said
    assert f"at most {12 - named}" in said


@pytest.mark.parametrize(
    ("seconds", "end", "mark"),
    [
        (0, 30, "0:00"),
        (75, 130, "1:15"),
        (600, 3599, "10:00"),
        (5400, 7200, "1:30"),
        (90_000, 100_000, "25:00"),
    ],
)
def test_marks_of_the_time_axis(seconds, end, mark):
    """Minutes and seconds, or hours and minutes."""
    assert clock(seconds, end) == mark


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3.21, "3.21 s"), (133.2, "133 s"), (600, "10 min"), (3570, "1 h 0 min"), (7285, "2 h 1 min")],
)
def test_lengths_of_time(seconds, said):
    """As one says them."""
    assert lasting(seconds) == said


@pytest.mark.parametrize(
    ("proxy", "said", "unsaid"),
    [
        ("caddy", "through caddy, TLS, 4 workers", "localhost"),
        ("none", "without a proxy, TLS, 4 workers", "localhost"),
        ("target", "to https://localhost:21334/events/me", "workers"),
    ],
)
def test_the_head_says_how_the_streams_went(proxy, said, unsaid):
    """A target by its address, of which nobody knows the workers."""
    head = text({**SUMMARY, "setup": {**SUMMARY["setup"], "proxy": proxy}}).splitlines()[0]
    assert said in head
    assert unsaid not in head


def test_of_a_target_only_the_clients_are_known():
    """A part without CPU or without memory has empty places, and a table without both is none."""

    def used(memory, cpu):
        lines = text({**SUMMARY, "memory": memory, "cpu": cpu}).split("\n\n")
        return next((block.split("\n")[1:] for block in lines if block.startswith("Memory and CPU")), [])

    memory = {"Locust": SUMMARY["memory"]["Locust"]}
    assert used(memory, {})[0].split("  ")[-3:] == ["empty MiB", "full MiB", "KiB per stream"]
    assert used({}, {"Locust": 1.5})[0].split("  ")[-2:] == ["CPU s", "cores on average"]
    assert used({}, {}) == []
    _, *rows = used(SUMMARY["memory"], SUMMARY["cpu"])
    assert [row.split()[0] for row in rows] == ["worker", "nginx", "Redis", "kernel", "Locust"]
    assert rows[3].split() == ["kernel", "0", "488", "25.3"]


# The command


def test_a_picture_is_drawn_anew(tmp_path, capsys):
    """Beside the summary, by the same name."""
    (tmp_path / "run.json").write_text(json.dumps(SUMMARY))
    assert main([str(tmp_path / "run.json")]) == 0
    assert "open streams" in words((tmp_path / "run.svg").read_text())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, ": No such file or directory"),
        (b"", " is no summary of a run: Expecting value"),
        (b"\xff", " is no summary of a run: 'utf-8' codec"),
        (b"[1, 2]", " is no summary of a run"),
        (b"17", " is no summary of a run"),
        (b"{}", " is no summary of a run: no timeline and samples, and no steps"),
        (b'{"timeline": [], "samples": []}', " is no summary of a run: 'phases'"),
    ],
)
def test_what_is_no_summary_is_named(tmp_path, capsys, content, said):
    """The file, and what is wrong with it; the others are drawn all the same."""
    bad, good = tmp_path / "bad.json", tmp_path / "good.json"
    if content is not None:
        bad.write_bytes(content)
    good.write_text(json.dumps(SUMMARY))
    assert main([str(bad), str(good)]) == 2
    assert f"{bad}{said}" in capsys.readouterr().err
    assert (tmp_path / "good.svg").exists()
    assert not (tmp_path / "bad.svg").exists()
