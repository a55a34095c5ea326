"""What docs/FRAMEWORKS.md does not show."""

from fastapi import FastAPI

from sse_edge import SignedCookie

REDIS = "redis://127.0.0.1:6379/0"
auth = SignedCookie("8d0f4c of the tests")
api = FastAPI()
