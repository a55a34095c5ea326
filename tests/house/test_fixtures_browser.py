"""The fixture that is a browser."""

import pytest

from servers.browser import wait_for

HELLO = "apps.hello:app"


def test_a_page_in_the_browser(serve_app, page):
    """The browser opens a page of a local server, under any name below .test."""
    process = serve_app(HELLO)
    page.get(process.url + "/")
    assert wait_for(page, "document.body.innerText") == "hello"
    page.add_cookie({"name": "left", "value": "1"})
    page.get(f"http://app.example.test:{process.port}/")
    assert wait_for(page, "location.hostname") == "app.example.test"
    assert page.execute_script("return document.body.innerText") == "hello"


def test_a_page_has_no_cookies_of_another_test(serve_app, page):
    """Cookies are gone with the test that set them; EventSource works."""
    process = serve_app(HELLO)
    page.get(process.url + "/")
    assert page.get_cookies() == []
    page.execute_script(
        "window.ids = []; new EventSource('/stream').onmessage = event => ids.push(event.lastEventId)"
    )
    assert wait_for(page, "ids.length >= 3 && ids.slice(0, 3)") == ["1", "2", "3"]


def test_the_browser_reaches_nothing_but_loopback(page):
    """A name outside is not resolved."""
    with pytest.raises(Exception, match="ERR_NAME_NOT_RESOLVED"):
        page.get("http://example.com/")
