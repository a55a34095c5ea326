"""Which promise holds on which ASGI server, tried, and written down in deploy/servers.json and SERVERS.md.

    python -m survey

``rows`` are the servers, ``promises`` tries each promise on one, ``footprint`` measures what streams take,
and ``page`` is the table that results make.
"""
