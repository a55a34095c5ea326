"""The app that the files here run: streams per user, settings from the environment.

REDIS is the backend's URL, SESSION_SECRET signs the cookies, ORIGIN is the site's, PROXIES and STATUS_ALLOW
are networks, separated by commas, and STATUS_TOKEN, if it is there, opens the status from anywhere.  Put your
own app where None is.
"""

import os

from sse_edge import Limits, SignedCookie, SSEMiddleware

app = SSEMiddleware(
    None,
    backend=os.environ.get("REDIS", "redis://127.0.0.1:6379/0"),
    auth=SignedCookie(os.environ["SESSION_SECRET"], name="__Host-session"),
    channels={"/events/me": ["user:{user}", "news"]},
    origins=[origin for origin in os.environ.get("ORIGIN", "").split(",") if origin],
    trusted_proxies=os.environ.get("PROXIES", "127.0.0.1/32,unix").split(","),
    limits=Limits(per_worker=15_000),
    drain_window=10.0,
    status_path="/status",
    status_allow=os.environ.get("STATUS_ALLOW", "127.0.0.0/8,::1,unix").split(","),
    status_token=os.environ.get("STATUS_TOKEN") or None,
)
