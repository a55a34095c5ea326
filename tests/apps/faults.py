"""A worker of the fault tests in a process of its own: SSEMiddleware on the Redis of ``REDIS_URL``."""

import os

from parts.fleet import Worker
from sse_edge import RedisBackend

worker = Worker(RedisBackend(os.environ["REDIS_URL"], history=10_000, timeout=2.0))
app = worker.edge
