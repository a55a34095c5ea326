"""What docs/PUBLISHING.md does not show."""

from fastapi import FastAPI

from sse_edge import SignedCookie

api = FastAPI()
auth = SignedCookie("8d0f4c of the tests")
