"""sseclient: sseclient-py has a package of the same name, so this one is loaded from its file."""

import importlib.util
from importlib.metadata import distribution

from said import headers, heard, opened, run, url

file = distribution("sseclient").locate_file("sseclient.py")
spec = importlib.util.spec_from_file_location("sseclient_alone", file)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
SSEClient = module.SSEClient


def listen(source):
    """Everything it gives."""
    opened()
    for event in source:
        heard(event.event, event.data, event.id)


def plain():
    """With its defaults: it takes no notice of a response's end while the connection stays."""
    listen(SSEClient(url, headers=headers))


def lines():
    """With a connection that ends together with the response."""
    # lines
    source = SSEClient(url, headers={**headers, "Connection": "close"}, timeout=40)
    # to here
    listen(source)


run(plain, lines)
