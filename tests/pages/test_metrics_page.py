"""deploy/METRICS.md: its table is the catalogue's, and its configurations are Prometheus's."""

import re
import subprocess

import pytest

from servers.processes import TESTS, command
from servers.proxies import Nginx
from sse_edge.figures import FIGURES

DEPLOY = TESTS.parent / "deploy"
PAGE = DEPLOY / "METRICS.md"
CONFIGURATIONS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
KUBERNETES = "kubernetes_sd_configs:\n      - role: pod\n"
OVER = {"sum": "sum", "min": "smallest", "max": "largest"}
MARKS = ("<!-- metrics -->\n", "<!-- /metrics -->")


def row(figure):
    """A metric's line of the table."""
    name = f"sse_edge_{figure.metric}" + ("_total" if figure.kind == "counter" else "")
    values = ", ".join(f"`{value}`" for value in figure.values) if len(figure.values) < 5 else "each"
    label = f"`{figure.label}`: {values or 'of the routes'}" if figure.label else ""
    together = (
        "" if figure.kind != "gauge" else {"sum": "sum", "min": "smallest", "max": "largest"}[figure.over]
    )
    return f"| `{name}` | {figure.kind} | {label} | {together} | {figure.help} |\n"


def table():
    """What is between the marks."""
    head = "| metric | kind | label | of several workers | what it is |\n|---|---|---|---|---|\n"
    return head + "".join(map(row, FIGURES))


def test_the_table_is_the_catalogue_s(pytestconfig):
    """Each metric has its line, with its labels and its help; --tables writes it."""
    before, rest = PAGE.read_text().split(MARKS[0])
    said, after = rest.split(MARKS[1])
    if pytestconfig.getoption("--tables"):
        PAGE.write_text(f"{before}{MARKS[0]}{table()}{MARKS[1]}{after}")
        said = table()
    assert said == table(), (
        "deploy/METRICS.md is not as the catalogue is: "
        "`.venv/bin/pytest --tables tests/pages/test_metrics_page.py` writes it"
    )


@pytest.mark.parametrize("page", ["METRICS.md", "TUNING.md"])
def test_metrics_that_pages_name(page):
    """Whatever a page names is one that is told."""
    known = {f"sse_edge_{each.metric}{'_total' if each.kind == 'counter' else ''}" for each in FIGURES}
    named = set(re.findall(r"`(sse_edge_\w+)`", (DEPLOY / page).read_text()))
    assert named <= known


@pytest.mark.parametrize("text", CONFIGURATIONS, ids=["one machine", "several machines", "kubernetes"])
def test_the_configurations(tmp_path, text):
    """promtool finds nothing wrong with them, and something where one has another word."""
    (tmp_path / "alerts.yaml").write_text((DEPLOY / "alerts.yaml").read_text())
    (tmp_path / "token").write_text("a token")
    text = text.replace("/etc/prometheus/sse-edge.token", str(tmp_path / "token"))
    assert "/status/metrics" in text or "__metrics_path__" in text
    # Debian's Prometheus knows no Kubernetes.
    text = text.replace(KUBERNETES, "static_configs:\n      - targets: []\n")
    for said, code in ((text, 0), (text.replace("job_name", "job"), 1)):
        (tmp_path / "prometheus.yml").write_text(said)
        done = subprocess.run(
            [command("promtool"), "check", "config", tmp_path / "prometheus.yml"],
            capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr


def test_the_line_for_nginx(tmp_path, certificate):
    """nginx takes it in the shipped file."""
    (line,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    proxy = Nginx(tmp_path, certificate, ["127.0.0.1:8001"], {})
    before, page, after = proxy.config.read_text().partition("        location / {\n            proxy_pass")
    proxy.config.write_text(f"{before}{line}{page}{after}")
    assert "successful" in proxy.check()
