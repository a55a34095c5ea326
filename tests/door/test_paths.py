import pytest

from sse_edge.admission.routes import Routes
from sse_edge.errors import ConfigError
from sse_edge.paths import Paths

ROUTES = Routes("/events", {"/events/me": "user:{user}", "/events/{name}": "{name}"})


@pytest.mark.parametrize(
    "paths",
    [
        ("/events", None, None),
        ("/events", "/status", "/publish"),
        ("/events", "/events-status", "/eventspublish"),
    ],
)
def test_side_by_side(paths):
    """Paths of which none is below another are taken."""
    Paths(*paths)


@pytest.mark.parametrize(
    ("paths", "field"),
    [
        (("/events", "/events", None), "status_path"),
        (("/events", "/events/status", None), "status_path"),
        (("/status/events", "/status", None), "path"),
        (("/events", None, "/events/publish"), "publish_path"),
        (("/events", "/status", "/status"), "publish_path"),
        (("/events", "/publish/status", "/publish"), "status_path"),
        (("/", "/status", None), "status_path"),
    ],
)
def test_one_below_another(paths, field):
    """Of two paths that are the same, or one below the other, the lower one is refused."""
    with pytest.raises(ConfigError) as caught:
        Paths(*paths)
    assert caught.value.field == field


@pytest.mark.parametrize("at", [None, "/events/sse-edge.js", "/sse-edge.js", "/assets/status.js"])
def test_where_the_client_may_be(at):
    """The client may be apart from all, or where a template's stream would be."""
    Paths("/events", "/status", "/publish").check_client(at, at, ROUTES)


@pytest.mark.parametrize(
    ("at", "why"),
    [
        ("/events/me", "must not be the path of a stream"),
        ("/status/edge.js", "must not be at or below status_path, which is /status"),
        ("/publish", "must not be at or below publish_path, which is /publish"),
    ],
)
def test_where_the_client_may_not_be(at, why):
    """Neither at a stream's own path, nor where something else answers."""
    with pytest.raises(ConfigError, match=rf"^client_path: {why}"):
        Paths("/events", "/status", "/publish").check_client(at, at, ROUTES)
