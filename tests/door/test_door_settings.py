"""Settings that the door cannot work with are refused when it is made."""

import traceback

import pytest

from parts.door import AUTH, CHANNELS
from sse_edge import Anonymous, ConfigError, Limits, Publisher, SignedCookie, SSEMiddleware, SyncPublisher


def bad(field, shown, **settings):
    return pytest.param(field, shown, settings, id=f"{field}={shown}")


BAD_SETTINGS = [
    bad("app", "5", app=5),
    bad("ipv6_prefix", "129", ipv6_prefix=129),
    bad("auth", "None", auth=None),
    bad("auth", "a value of type str", auth="secret"),
    bad("auth", "SignedCookie", auth=SignedCookie),
    bad("channels", "None", channels=None),
    bad("channels", "{}", channels={}),
    bad("channels", "5", channels=5),
    bad("channels", "'/other/x'", channels={"/other/x": "a"}),
    bad("channels", "'a:{nothing}'", channels={"/events/{x}": "a:{nothing}"}),
    bad("channels", "'/events/{user}'", channels={"/events/{user}": "a"}),
    bad("channels", "5", channels={"/events/x": 5}),
    bad("channels", "[]", channels={"/events/x": []}),
    bad("channels", "'u:{user}'", channels={"/events/x": "u:{user}"}, auth=Anonymous()),
    bad("path", "'events'", path="events"),
    bad("path", "'/events/'", path="/events/"),
    bad("path", "None", path=None),
    bad("backend", "None", backend=None),
    bad("backend", "'kafka://broker'", backend="kafka://broker"),
    bad("backend", "''", backend=""),
    bad("authorize", "True", authorize=True),
    bad("origins", "'app.example.com'", origins=["app.example.com"]),
    bad("origins", "'https://app.example.com/'", origins=["https://app.example.com/"]),
    bad("origins", "'*'", origins=["*"]),
    bad("origins", "'https://app.example.com'", origins="https://app.example.com"),
    bad("hosts", "[]", hosts=[]),
    bad("hosts", "'a:80'", hosts=["a:80"]),
    bad("missing_origin", "'maybe'", missing_origin="maybe"),
    bad("limits", "5", limits=5),
    bad("trusted_proxies", "'10.0.0.0/40'", trusted_proxies=["10.0.0.0/40"]),
    bad("trusted_proxies", "'proxy'", trusted_proxies=["proxy"]),
    bad("trusted_proxies", "'0.0.0.0/0'", trusted_proxies=["0.0.0.0/0"]),
    bad("trusted_proxies", "'10.0.0.1'", trusted_proxies="10.0.0.1"),
    bad("keep_alive", "-1", keep_alive=-1),
    bad("keep_alive", "0", keep_alive=0),
    bad("keep_alive", "True", keep_alive=True),
    bad("keep_alive", "'15'", keep_alive="15"),
    bad("keep_alive", "nan", keep_alive=float("nan")),
    bad("max_duration", "-0.5", max_duration=-0.5),
    bad("max_duration", "False", max_duration=False),
    bad("max_duration", "inf", max_duration=float("inf")),
    bad("retry", "0", retry=0),
    bad("retry", "None", retry=None),
    bad("max_unsent", "0", max_unsent=0),
    bad("max_unsent", "True", max_unsent=True),
    bad("max_unsent", "1.5", max_unsent=1.5),
    bad("max_unsent_age", "0", max_unsent_age=0),
    bad("max_unsent_age", "True", max_unsent_age=True),
    bad("max_unsent_age", "'30'", max_unsent_age="30"),
    bad("max_unsent_age", "inf", max_unsent_age=float("inf")),
    bad("query_cursor", "'yes'", query_cursor="yes"),
    bad("joins", "'yes'", joins="yes"),
    bad("max_event_bytes", "1023", max_event_bytes=1023),
]


@pytest.mark.parametrize(("field", "shown", "settings"), BAD_SETTINGS)
def test_bad_settings(field, shown, settings):
    """A setting it cannot work with raises at construction, naming the field and showing the value."""
    settings = {"auth": AUTH, "channels": CHANNELS, **settings}
    with pytest.raises(ConfigError) as caught:
        SSEMiddleware(settings.pop("app", None), **settings)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")
    assert shown in str(caught.value)


@pytest.mark.parametrize("secret", ["", b"", [], ["good", ""], ["  "], None, 5, "good", ["good" * 4]])
def test_bad_secret(secret):
    """A bad secret is refused without being shown."""
    with pytest.raises(ConfigError) as caught:
        SignedCookie(secret)
    assert (caught.value.field, caught.value.value) == ("secret", None)
    assert "got" not in str(caught.value)
    assert "good" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("per_user", {"per_user": 0}),
        ("per_user", {"per_user": True}),
        ("per_ip", {"per_ip": -1}),
        ("per_worker", {"per_worker": "many"}),
        ("per_worker", {"per_worker": 1.0}),
        ("connects_per_ip", {"connects_per_ip": "often"}),
        ("connects_per_ip", {"connects_per_ip": "0/minute"}),
    ],
)
def test_bad_limits(field, settings):
    """A limit that is none is refused, naming it and showing the value."""
    with pytest.raises(ConfigError) as caught:
        Limits(**settings)
    assert caught.value.field == field
    assert repr(settings[field]) in str(caught.value)


def middleware_on(url):
    return SSEMiddleware(auth=AUTH, channels=CHANNELS, backend=url)


@pytest.mark.parametrize(
    "url",
    [
        "kafka://user:s3cr3t@broker/0",
        "redis://:s3cr3t@127.0.0.1:notaport/0",
        "redis://:s3cr3t/x@127.0.0.1/0",
        "redis://:s3cr3t@127.0.0.1:99999/0",
        "redis://:s3cr3t@127.0.0.1/0?db=x",
        "redis://:s3cr3t@127.0.0.1/0?nonsense=1",
        "redis://127.0.0.1/0?password=s3cr3t&nonsense=1",
        "redis://:s3cr3t@[::1/0",
        "redis://:s3cr3t\u2100@127.0.0.1/0",
        "redis+sentinel://:s3cr3t@127.0.0.1:26379",
        "redis+sentinel://:s3cr3t@127.0.0.1/service",
        "redis+sentinel://127.0.0.1:26379/service?password=s3cr3t&nonsense=1",
        "redis+cluster://:s3cr3t/x@127.0.0.1:7000",
    ],
)
@pytest.mark.parametrize("make", [Publisher, SyncPublisher, middleware_on])
def test_bad_backend_url(url, make):
    """A bad backend URL is refused without its password in the traceback, message and causes included."""
    with pytest.raises(ConfigError) as caught:
        make(url)
    assert caught.value.field == "backend"
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cr3t" not in shown
    assert "s3cr3t" not in repr(caught.value.value)
