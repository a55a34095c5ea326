"""What README.md does not show."""

from sse_edge.testing import client

SECRET = "8d0f4c of the tests"
REDIS = "redis://127.0.0.1:6379/0"
