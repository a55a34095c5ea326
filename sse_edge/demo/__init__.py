"""A small shop that shows what sse_edge does; ``sse-edge demo`` serves it."""
