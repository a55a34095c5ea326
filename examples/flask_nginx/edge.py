"""The edge, in processes of its own: it reads the cookie that Flask signs.  Run by run.py."""

import os

from sse_edge import SSEMiddleware
from sse_edge.cookies import FlaskSession

app = SSEMiddleware(
    backend=os.environ["REDIS"],
    auth=FlaskSession(os.environ["SECRET"], name="__Host-session", user="user_id", session="sid"),
    channels={"/events/me": ["user:{user}", "news"]},
    trusted_proxies=["unix"],
)
