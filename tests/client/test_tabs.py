"""The fixture ``tabs``: the same in Chromium and in Firefox."""

import re

import pytest

from servers.browser import wait_for

HELLO = "apps.hello:app"

HEAR = "window.heard = []; new BroadcastChannel('test').onmessage = event => heard.push(event.data)"
SAY = "new BroadcastChannel('test').postMessage(arguments[0])"


def test_tabs_of_one_browser(serve_app, tabs):
    """Tabs share what a browser's tabs share; one is closed, another dies, and the third goes on."""
    url = serve_app(HELLO).url + "/"
    first, second, third = (tabs.open(url) for _ in range(3))
    first.execute_script("document.cookie = 'kept=1'")
    assert third.execute_script("return [document.body.innerText, document.cookie]") == ["hello", "kept=1"]
    first.execute_script(HEAR)
    second.execute_script(SAY, "one")
    third.execute_script(SAY, ["two"])
    wait_for(first, "heard.length === 2")
    second.close()
    third.kill()
    tabs.open(url).execute_script(SAY, None)
    wait_for(first, "heard.length === 3")
    assert first.execute_script("return heard") == ["one", ["two"], None]


def test_nothing_is_left_of_another_test(serve_app, tabs):
    """No cookie is there; what a promise comes to is waited for, and what a script raises is raised."""
    tab = tabs.open(serve_app(HELLO).url + "/")
    assert tab.execute_script("return document.cookie") == ""
    assert tab.execute_script("return fetch('/').then(answer => answer.text())") == "hello"
    with pytest.raises(Exception, match="such is not defined"):
        tab.execute_script("return such.thing")


def test_tabs_reach_nothing_but_loopback(serve_app, tabs):
    """A name outside is not to be reached, and names below .test are this machine."""
    process = serve_app(HELLO)
    tab = tabs.open(f"http://one.test:{process.port}/")
    assert tab.execute_script("return document.body.innerText") == "hello"
    with pytest.raises(Exception, match=r"ERR_NAME_NOT_RESOLVED|NS_ERROR_PROXY_CONNECTION_REFUSED"):
        tab.get("http://example.com/")


def test_what_one_sees(serve_app, tabs, tmp_path):
    """A picture is a PNG of the width that was asked for."""
    tab = tabs.open(serve_app(HELLO).url + "/")
    tab.picture(tmp_path / "page.png", 400, 300)
    picture = (tmp_path / "page.png").read_bytes()
    assert re.match(rb"\x89PNG\r\n\x1a\n.{8}\x00\x00\x01\x90", picture, re.DOTALL)
