"""uvicorn, as ``sse-edge serve`` and ``sse-edge demo`` run it; for the command line alone."""
