"""Which content coding a client takes, as a table."""

from __future__ import annotations

import pytest

from sse_edge.admission.encoding import takes_gzip


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ([], False),
        ([""], False),
        (["identity"], False),
        (["gzip"], True),
        (["GZIP"], True),
        (["x-gzip"], True),  # RFC 9110, section 8.4.1.3
        (["gzip, deflate, br, zstd"], True),  # Chromium
        (["br;q=1.0, gzip;q=0.5"], True),
        (["br,gzip ; q=0.001"], True),
        (["gzip;q=0"], False),
        (["gzip; q = 0.000, br"], False),
        (["*"], True),
        (["*;q=0"], False),
        (["*;q=0, gzip"], True),
        (["gzip;q=0, *"], False),
        (["br", "gzip"], True),  # said in two headers
        (["notgzip"], False),
        (["gzipped, gz"], False),
        ([";;,,;q=0,"], False),
    ],
)
def test_gzip_is_taken_as_the_client_says(accepted: list[str], takes: bool) -> None:
    """Coding, weight, wildcard and repeated headers."""
    assert takes_gzip(accepted) is takes
