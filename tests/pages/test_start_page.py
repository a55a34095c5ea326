"""docs/START.md: whoever follows it gets what it says."""

import pytest

from servers.browser import wait_for
from servers.pages import FOLLOWED
from servers.processes import free_port
from servers.reader import Reader, steps

PAGE = FOLLOWED[0]

SHOWN = "[...document.querySelectorAll('li')].map(each => each.textContent).join()"


@pytest.fixture
def reader(tmp_path, serve, redis_url):
    """Somebody at the beginning of the page."""
    instead = {"8000": str(free_port()), "redis://127.0.0.1:6379/0": redis_url}
    with_hands = Reader(PAGE, tmp_path, serve, instead=instead)
    yield with_hands
    with_hands.close()


@pytest.mark.timeout(240)
def test_whoever_follows_the_page_gets_what_it_says(reader, page):
    """Each file and command as it is written; and a browser shows each event, also after a restart."""
    port = reader.put("8000")
    seen, news, say = [], None, None

    def shows(text):
        wait_for(page, f"{SHOWN} === '{text}'", timeout=20)
        seen.append(text)

    for step in steps(PAGE):
        reader.follow(step)
        if "serve news:app" in step.text:
            news = step
            page.get(f"http://127.0.0.1:{port}/")
        elif "/say/hello" in step.text:
            say = step
            shows("hello")
        elif "/events/news" in step.text and step.language == "sh":
            reader.follow(news)  # stopped, and started again
            reader.follow(say)
            shows("hello,hello")
        elif "ship/ann" in step.text and step.language == "sh":
            page.get(f"http://127.0.0.1:{port}/")
            page.find_element("css selector", "button").click()
            shows("Order 7 is shipped")
        elif "--workers 2" in step.text:
            page.get(f"http://127.0.0.1:{port}/")
            page.find_element("css selector", "button").click()
        elif "sse-edge publish" in step.text:
            shows("Order 9 is shipped")
    assert len(seen) == 4
