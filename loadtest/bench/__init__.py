"""What delivering costs, beside a bare loop of ``send()``, sse-starlette and nchan; see ``__main__``."""
