"""What docs/MONITORING.md does not show."""

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

from sse_edge import SignedCookie

auth = SignedCookie("8d0f4c of the tests")
channels = {"/events/me": "user:{user}"}
