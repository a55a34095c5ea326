"""An app with streams, as ``edge``: settings come from the environment, figures are served at /figures.

``stripped`` is the same behind a proxy that takes ``/app`` off and says so to nobody.

``BACKEND`` is the backend's URL, ``PARTITIONS`` how many it has, ``MAX_DURATION``, ``KEEP_ALIVE``,
``DRAIN_WINDOW`` and ``MAX_UNSENT_AGE`` are seconds, ``MAX_UNSENT`` is in bytes,
``ORIGINS`` and ``TRUSTED`` are separated by commas, ``PER_USER``, ``PER_IP``
and ``PER_WORKER`` are caps, ``CONNECTS`` is a rate, ``REFUSALS`` and ``DOWN`` are the settings ``refusals``
and ``on_backend_down``, and ``COMPRESS``, if it is not empty, compresses all channels;
``APART``, if it is not empty, joins none; ``STATUS`` is the ``status_path``, and ``STATUS_TOKEN`` opens it.
Users are let in by
``AUTH``'s cookies, for ``MAX_AGE`` seconds.
"""

import json
import logging
import os

from sse_edge import Channel, Limits, Publisher, RedisBackend, SignedCookie, SSEMiddleware

AUTH = SignedCookie("a secret of the tests", secure=False, max_age=float(os.environ.get("MAX_AGE", "86400")))
COMPRESS = bool(os.environ.get("COMPRESS"))
CHANNELS = {
    "/events/me": [Channel("user:{user}", COMPRESS), Channel("news", COMPRESS)],
    "/events/orders/{order_id}": Channel("order:{order_id}", COMPRESS),
    "/events/states/{state}": Channel("state:{state}", COMPRESS, first=1),
}
BACKEND = os.environ.get("BACKEND", "memory://")
if "PARTITIONS" in os.environ:
    BACKEND = RedisBackend(BACKEND, partitions=int(os.environ["PARTITIONS"]))
PAGE = b"<!doctype html><title>page</title>"
LARGE = PAGE + b"<p>Nothing new here." * 1000

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
logging.getLogger("hpack").setLevel(logging.INFO)  # at DEBUG it writes every header of HTTP/2, cookies too


async def inner(scope, receive, send):
    """``/figures``, ``POST /publish/<channel>``, and pages for browsers at ``/`` and ``/large``."""
    if scope["type"] != "http":
        raise ValueError(f"only http is served, and this is {scope['type']}")
    path, status = scope["path"], 200
    if path in ("/", "/large"):
        kind, body = b"text/html", PAGE if path == "/" else LARGE
    elif path == "/figures":
        kind, body = b"application/json", json.dumps({**edge.figures(), "pid": os.getpid()}).encode()
    elif path.startswith("/publish/"):
        message = await receive()
        id = await publisher.publish(path.removeprefix("/publish/"), message["body"].decode())
        kind, body = b"text/plain", id.encode()
    else:
        status, kind, body = 404, b"text/plain", b"not found"
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


publisher = Publisher(BACKEND)
edge = SSEMiddleware(
    inner,
    backend=BACKEND,
    auth=AUTH,
    channels=CHANNELS,
    origins=[origin for origin in os.environ.get("ORIGINS", "").split(",") if origin],
    trusted_proxies=[network for network in os.environ.get("TRUSTED", "").split(",") if network],
    limits=Limits(
        per_user=int(os.environ.get("PER_USER", "1000")),
        per_ip=int(os.environ.get("PER_IP", "1000")),
        per_worker=int(os.environ.get("PER_WORKER", "15000")),
        connects_per_ip=os.environ.get("CONNECTS"),
    ),
    refusals=os.environ.get("REFUSALS", "auto"),
    on_backend_down=os.environ.get("DOWN", "refuse"),
    keep_alive=float(os.environ.get("KEEP_ALIVE", "15")),
    max_duration=float(os.environ.get("MAX_DURATION", "1800")),
    retry=float(os.environ.get("RETRY", "3")),
    drain_window=float(os.environ.get("DRAIN_WINDOW", "10")),
    max_unsent=int(os.environ.get("MAX_UNSENT", "1048576")),
    max_unsent_age=float(os.environ.get("MAX_UNSENT_AGE", "30")),
    joins=not os.environ.get("APART"),
    status_path=os.environ.get("STATUS"),
    status_token=os.environ.get("STATUS_TOKEN"),
)


async def stripped(scope, receive, send):
    """See above."""
    if scope["type"] == "http":
        path = scope["path"].removeprefix("/app")
        scope = {**scope, "path": path, "raw_path": path.encode()}
    await edge(scope, receive, send)
