r"""For Locust's own page, and for several machines.

    SSE_EDGE_SECRET=... locust -f loadtest/locustfile.py \
        --target https://localhost/events/me --scenario steady

Add ``--headless`` for no page, ``--processes 4`` for more cores, ``--master`` and ``--worker`` for more
machines.  ``python -m loadtest`` does the same with all that is needed around it.
"""

import sys
from pathlib import Path

# Locust puts this file's folder on the path, and not the one that the package is in.
sys.path.insert(0, str(Path(__file__).parents[1]))

from loadtest.run.conductor import Alone, listen
from loadtest.run.member import Listeners

__all__ = ["Alone", "Listeners"]

listen()
