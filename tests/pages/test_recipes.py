"""The recipes of docs/CLIENT.md, run as they are: a plain page, the element, React and Vue."""

import json
import re
import subprocess
import urllib.request

import pytest

from apps.edge import AUTH
from clients.scene import HERE as CLIENTS
from servers.browser import run_module, wait_for
from servers.processes import TESTS
from servers.proxies import wait_until

RECIPES = (TESTS.parent / "docs" / "CLIENT.md").read_text().partition("\n## Recipes\n")[2]

SHOWING = {
    "React": (
        "main.jsx",
        """
import {StrictMode} from "react"
import {createRoot} from "react-dom/client"
import {Order} from "./Order.jsx"

const root = createRoot(document.querySelector("main"))
window.show = id => root.render(<StrictMode>{id && <Order id={id}/>}</StrictMode>)
""",
    ),
    "Vue": (
        "main.js",
        """
import {createApp, h, ref} from "vue"
import Order from "./Order.js"

const id = ref()
createApp(() => id.value && h(Order, {id: id.value})).mount("main")
window.show = value => { id.value = value }
""",
    ),
}
"""Around the recipe's component: a page that shows it for the order of ``show``, or not at all."""


def section(name):
    """What a section of the recipes has in it."""
    return RECIPES.partition(f"\n### {name}\n")[2].partition("\n### ")[0]


def bundled(name, directory):
    """What esbuild makes of a section's files and the page around them; React is the one for development."""
    for code, file in re.findall(r"```jsx?\n(// (\S+)\n.*?)```", section(name), re.DOTALL):
        (directory / file).write_text(code)
    main, text = SHOWING[name]
    (directory / main).write_text(text)
    options = ["--bundle", "--format=esm", "--jsx=automatic", "--log-level=warning"]
    options += ["--external:/events/*", '--define:process.env.NODE_ENV="development"']
    esbuild = CLIENTS / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists():
        pytest.fail(f"{esbuild} is not there: cd {CLIENTS} && npm ci --ignore-scripts", pytrace=False)
    env = {"NODE_PATH": str(CLIENTS / "node_modules")}
    made = subprocess.run(
        [esbuild, main, *options], cwd=directory, env=env, capture_output=True, text=True, check=False
    )
    assert (made.returncode, made.stderr) == (0, "")
    return made.stdout


@pytest.fixture
def site(serve_app, redis_url, tabs):
    """A server, and ``site.tab`` at its page, signed in."""
    process = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "RETRY": "0.2"})
    process.tab = tabs.open(process.url + "/")
    process.tab.execute_script(
        "document.cookie = arguments[0]", f"session={AUTH.issue('u42', ['order:*'])}; path=/"
    )
    return process


def figures(site):
    with urllib.request.urlopen(f"{site.url}/figures") as answer:
        return json.load(answer)


def load(site, html):
    """Have the page show this, and run its module."""
    shown, module = re.search(r"(.*)<script type=\"module\">(.*)</script>", html, re.DOTALL).groups()
    site.tab.execute_script("document.body.innerHTML = arguments[0]", shown)
    run_module(site.tab, module)
    wait_until(lambda: figures(site)["streams"] == 1, "its stream is open")


def html(name):
    """The page of a section."""
    return re.search(r"```html\n(.*?)```", section(name), re.DOTALL)[1]


def test_a_plain_page(site, publisher):
    """It lists what it hears."""
    load(site, html("A plain page"))
    publisher.publish("order:7", "<b>paid</b>", event="status")
    publisher.publish("order:7", "hello")
    wait_for(site.tab, "document.body.innerText.trim() === 'status: <b>paid</b>\\nmessage: hello'")


def test_a_page_with_the_element(site, publisher):
    """The element hears what came after its place, and is heard."""
    place = publisher.publish("order:7", "before", event="status")
    publisher.publish("order:7", "paid", event="status")
    page, count = re.subn(
        r'place="[^"]+"', f'place="{place}"', html("A page without a script of its own: `<sse-edge>`")
    )
    assert count == 1
    load(site, page)
    wait_for(site.tab, "document.title === 'paid'")


@pytest.mark.parametrize("name", SHOWING)
def test_a_framework(site, publisher, tmp_path, name):
    """A component shows its state and what it hears, takes another stream, and lets go when it is gone."""
    tab = site.tab
    tab.execute_script("document.body.append(document.createElement('main'))")
    run_module(tab, bundled(name, tmp_path))
    wait_for(tab, "'show' in window")
    for order in (7, 8):
        tab.execute_script("show(arguments[0])", order)
        wait_for(tab, "document.querySelector('p')?.className === 'live'")
        wait_until(lambda: figures(site)["streams"] == 1, "one stream is open, whatever was mounted before")
        publisher.publish(f"order:{15 - order}", "another's", event="status")
        publisher.publish(f"order:{order}", f"paid {order}", event="status")
        wait_for(tab, f"document.querySelector('p').innerText === 'paid {order}'")
    tab.execute_script("show(null)")
    wait_until(lambda: figures(site)["streams"] == 0, "nothing is listened to")
    assert tab.execute_script("return document.querySelector('p')") is None
