"""Cases of a load test's clients, against servers that are played here, and of what Locust is told."""

import locust  # noqa: F401 - before all else: it has gevent replace sockets
