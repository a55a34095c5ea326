"""What deploy/METRICS.md does not show."""

import os

from fastapi import FastAPI

from sse_edge import SignedCookie

api = FastAPI()
auth = SignedCookie("8d0f4c of the tests")
channels = {"/events/me": "user:{user}"}
